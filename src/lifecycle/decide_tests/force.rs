//! A force: the permission to delete pods that a budget protects.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{
        Force, ForceStatus,
        OperationPhase::{Canceled, Canceling, InProgress, Pending},
    },
    lifecycle::{due_at, fixtures::World, forced_until, rules::Rules, snapshot::Stop},
    provider::azure::ByAks,
};

use super::blocked_upgrade;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

fn in_seconds(world: &World, seconds: i64) -> Timestamp {
    world.now() + SignedDuration::from_secs(seconds)
}

fn force_of(world: &World, operation: &str) -> Force {
    world.status(operation).force.expect("a force")
}

/// Returns a world with a blocked upgrade that is forced for half an hour, its name, and the end of the force.
fn forced_upgrade() -> (World, String, Timestamp) {
    let (mut world, upgrade) = blocked_upgrade();
    let until = in_seconds(&world, 30 * MINUTE);
    world.force(&upgrade, &until.to_string());
    assert_eq!(world.decide().events(), ["ForceAccepted"]);
    world.stride();
    (world, upgrade, until)
}

fn is_in_effect(world: &World, operation: &str) -> bool {
    let snapshot = world.snapshot();
    let object = snapshot.operation(operation).expect("the Operation");
    forced_until(object).is_some()
}

#[test]
fn an_accepted_force_is_recorded_with_who_asked_and_until_when() {
    let (world, upgrade, until) = forced_upgrade();
    let force = force_of(&world, &upgrade);
    assert_eq!(force.status, ForceStatus::InEffect);
    assert_eq!(force.until.map(|it| it.0), Some(until));
    assert_eq!(force.requested_by, "alice");
    assert_eq!(force.accepted_at.map(|it| it.0), Some(world.now()));
    assert_eq!(force.message, "");
    assert!(is_in_effect(&world, &upgrade));
    assert!(world.decide().events().is_empty(), "it is reported once");
}

#[test]
fn an_operation_that_waits_for_its_turn_can_be_forced_already() {
    let mut world = World::settled();
    world.set_version("1.36.3").stride();
    let upgrade = world.unfinished().remove(0);
    assert_eq!(world.phase(&upgrade), Pending);
    let until = in_seconds(&world, HOUR);
    world.force(&upgrade, &until.to_string()).stride();
    assert_eq!(force_of(&world, &upgrade).status, ForceStatus::InEffect);
}

#[test]
fn a_force_ends_when_its_time_has_passed() {
    let (mut world, upgrade, until) = forced_upgrade();
    assert_eq!(due_at(&world.snapshot(), world.now()), Some(until));
    world.wait(30 * MINUTE);
    assert_eq!(world.decide().events(), ["ForceEnded"]);
    world.stride();
    let force = force_of(&world, &upgrade);
    assert_eq!(force.status, ForceStatus::Ended);
    assert_eq!(force.ended_at.map(|it| it.0), Some(until));
    assert_eq!(force.message, "its time has passed");
    assert!(!is_in_effect(&world, &upgrade));
    assert_eq!(world.phase(&upgrade), InProgress);
    // The annotation that stays has no further effect.
    world.wait(HOUR).stride();
    assert_eq!(force_of(&world, &upgrade).status, ForceStatus::Ended);
}

#[test]
fn removing_the_annotation_ends_the_force_even_before_that_is_written() {
    let (mut world, upgrade, _) = forced_upgrade();
    world.take_force_back(&upgrade);
    assert!(!is_in_effect(&world, &upgrade));
    assert_eq!(world.decide().events(), ["ForceEnded"]);
    world.stride();
    let force = force_of(&world, &upgrade);
    assert_eq!(force.message, "the annotation was removed");
    assert_eq!(force.requested_by, "alice", "the record stays");
    // The same value is a new request then.
    let until = in_seconds(&world, HOUR);
    world.force(&upgrade, &until.to_string()).stride();
    assert_eq!(force_of(&world, &upgrade).status, ForceStatus::InEffect);
}

#[test]
fn a_new_value_replaces_the_force_before() {
    let (mut world, upgrade, _) = forced_upgrade();
    let later = in_seconds(&world, 2 * HOUR);
    world.force(&upgrade, &later.to_string());
    assert!(!is_in_effect(&world, &upgrade), "until it is accepted");
    assert_eq!(world.decide().events(), ["ForceAccepted"]);
    world.stride();
    let force = force_of(&world, &upgrade);
    assert_eq!(force.until.map(|it| it.0), Some(later));
}

#[test]
fn a_value_that_cannot_be_accepted_is_reported_and_forces_nothing() {
    for (value, says) in [
        ("tomorrow", "write a time as in RFC 3339, for example"),
        ("2020-01-01T00:00:00Z", "which has passed"),
    ] {
        let (mut world, upgrade) = blocked_upgrade();
        world.force(&upgrade, value);
        assert_eq!(world.decide().events(), ["ForceRefused"]);
        world.stride();
        let force = force_of(&world, &upgrade);
        assert_eq!(force.status, ForceStatus::Refused);
        assert!(force.message.contains(says), "{}", force.message);
        assert!(!is_in_effect(&world, &upgrade));
        assert!(world.decide().events().is_empty(), "it is reported once");
        assert_eq!(world.phase(&upgrade), InProgress);
    }
}

#[test]
fn a_force_of_more_than_a_day_is_shortened_to_a_day() {
    let (mut world, upgrade) = blocked_upgrade();
    let asked = in_seconds(&world, 72 * HOUR);
    world.force(&upgrade, &asked.to_string()).stride();
    let force = force_of(&world, &upgrade);
    let day = in_seconds(&world, 24 * HOUR);
    assert_eq!(force.until.map(|it| it.0), Some(day));
    assert!(
        force.message.contains("a force lasts at most 24 hours"),
        "{}",
        force.message
    );
}

#[test]
fn a_pod_is_recorded_before_it_is_deleted_and_counted_once() {
    let (mut world, upgrade, _) = forced_upgrade();
    world.begin_to_force("web-0");
    let decided = world.decide();
    assert_eq!(decided.events(), ["PodForced"]);
    world.stride();
    let force = force_of(&world, &upgrade);
    assert_eq!(force.pod_count, 1);
    assert_eq!(force.pods[0].name, "team-a/web-0");
    assert_eq!(force.pods[0].budget, "team-a/web");
    assert!(world.stride().decide().events().is_empty());
    assert_eq!(force_of(&world, &upgrade).pod_count, 1);
    for number in 1..=60 {
        world.begin_to_force(&format!("web-{number}")).stride();
    }
    let force = force_of(&world, &upgrade);
    assert_eq!((force.pod_count, force.pods.len()), (61, 50));
    assert_eq!(force.pods[49].name, "team-a/web-60");
}

#[test]
fn no_pod_is_recorded_without_a_force_or_after_an_abort() {
    let (mut world, upgrade) = blocked_upgrade();
    world.begin_to_force("web-0").stride();
    assert_eq!(world.status(&upgrade).force, None);

    let (mut world, upgrade, _) = forced_upgrade();
    world.abort(&upgrade, "stop").begin_to_force("web-0");
    assert!(!is_in_effect(&world, &upgrade));
    world.stride();
    assert_eq!(force_of(&world, &upgrade).pod_count, 0);
    world.settle();
    let force = force_of(&world, &upgrade);
    assert_eq!(world.phase(&upgrade), Canceled);
    assert_eq!(force.status, ForceStatus::Ended);
    assert_eq!(force.pod_count, 0);
}

#[test]
fn an_abort_after_the_step_leaves_the_force_to_the_step() {
    let (mut world, upgrade, _) = forced_upgrade();
    world.abort_after_step(&upgrade, "later");
    for _ in 0..3 {
        world.stride();
    }
    assert_eq!(world.phase(&upgrade), Canceling);
    assert!(is_in_effect(&world, &upgrade));
    world.abort_now(&upgrade, "now");
    assert!(!is_in_effect(&world, &upgrade));
    assert_eq!(world.decide().stops(), [Stop::Now]);
}

#[test]
fn a_provider_that_evicts_pods_itself_refuses_a_force_and_says_what_to_do() {
    let (mut world, upgrade) = blocked_upgrade();
    world.set_rules(&ByAks);
    let until = in_seconds(&world, HOUR);
    world.force(&upgrade, &until.to_string());
    assert_eq!(world.decide().events(), ["ForceRefused"]);
    world.stride();
    let force = force_of(&world, &upgrade);
    assert_eq!(force.status, ForceStatus::Refused);
    let instead = ByAks.instead_of_force().expect("advice");
    assert_eq!(force.message, format!("OperationNotSupported: {instead}"));
}
