//! What the end of a maintenance window does to the operations that it let begin.

use crate::{
    api::{
        AbortPolicy,
        OperationPhase::{Canceled, Canceling, InProgress, Succeeded},
        OperationType::{self, Reconcile, Rollback, Upgrade},
        TargetKind,
    },
    lifecycle::{
        fixtures::{NEW, OLD, World, cluster, condition},
        messages::WINDOW_CLOSED,
        observed::NodeView,
        plan::PoolGoal,
        rules::Rules,
    },
};

use super::{HOUR, go_to, nightly, ready, with_window};

/// Returns a world with an upgrade that runs in a window that pauses at its end, and the upgrade's name.
fn upgrade_in_window() -> (World, String) {
    let mut world = World::settled();
    world.edit_cluster(&nightly("Pause")).settle();
    world.wait(22 * HOUR);
    world.set_version(NEW);
    let upgrade = world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    (world, upgrade)
}

/// Returns a world with an upgrade that was paused halfway, because its window closed, and the upgrade's name.
fn paused_upgrade() -> (World, String) {
    let (mut world, upgrade) = upgrade_in_window();
    world.wait(2 * HOUR).settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    (world, upgrade)
}

#[test]
fn without_a_pause_an_operation_goes_on_after_its_window() {
    let mut world = with_window();
    world.wait(22 * HOUR);
    world.set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world.wait(4 * HOUR).settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
}

#[test]
fn a_window_that_closes_pauses_its_operation_after_the_step_and_the_next_one_resumes_it() {
    let (mut world, upgrade) = upgrade_in_window();
    go_to(&mut world, "2026-01-01T23:59:59Z").stride();
    assert_eq!(world.phase(&upgrade), InProgress);
    go_to(&mut world, "2026-01-02T00:00:00Z");
    for _ in 0..3 {
        world.stride();
    }
    let status = world.status(&upgrade);
    assert!(
        [Canceling, Canceled].contains(&status.phase),
        "{:?}",
        status.phase
    );
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, WINDOW_CLOSED);
    assert_eq!(cancellation.requested_by, "belay");
    assert_eq!(cancellation.policy, AbortPolicy::AfterStep);
    world.settle();
    assert_eq!(world.cordoned("np1"), 0);
    let (status, reason, message) = ready(&world);
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "WaitsForWindow")
    );
    assert!(message.ends_with(&format!(
        "Operation {upgrade} was paused when its maintenance window closed, and the rest of it waits for the window that opens at 2026-01-02T22:00:00Z"
    )), "{message}");
    assert!(world.unfinished().is_empty());
    assert_ne!(world.versions("np1"), [NEW, NEW], "something is left");
    world.wait(22 * HOUR);
    let resumed = world.begin(Upgrade);
    assert_ne!(resumed, upgrade);
    world.settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
    assert_eq!(world.cluster_status().hold, None);
}

#[test]
fn a_rollback_that_its_window_paused_goes_on_and_is_not_undone() {
    let mut world = World::settled();
    world.set_version(NEW).settle();
    world.edit_cluster(&nightly("Pause")).settle();
    world.wait(22 * HOUR);
    world.set_version(OLD);
    let rollback = world.begin(Rollback);
    for _ in 0..6 {
        world.work().stride();
    }
    world.wait(2 * HOUR).settle();
    assert_eq!(world.phase(&rollback), Canceled);
    let paused = world.versions("np1");
    assert!(world.unfinished().is_empty(), "{:?}", world.unfinished());
    world.wait(20 * HOUR).settle();
    assert_eq!(world.versions("np1"), paused, "no pool converges");
    let conditions = world.pool_status("np1").conditions;
    assert_eq!(condition(&conditions, "Ready"), ("True", "WaitsForWindow"));
    world.wait(2 * HOUR).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
}

#[test]
fn a_person_who_aborts_what_a_window_pauses_ends_it_for_good() {
    let (mut world, upgrade) = upgrade_in_window();
    world.guard("np1");
    for _ in 0..4 {
        world.work().stride();
    }
    world.wait(2 * HOUR).stride().stride();
    assert_eq!(world.phase(&upgrade), Canceling, "a step is in progress");
    world.abort(&upgrade, "give up").settle();
    let cancellation = world.status(&upgrade).cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "give up");
    assert_eq!(cancellation.policy, AbortPolicy::Now);
    let versions = world.versions("np1");
    world.unguard().wait(22 * HOUR).settle();
    assert_eq!(world.versions("np1"), versions, "no window resumes it");
}

#[test]
fn a_persons_pause_is_not_ended_by_a_window() {
    let (mut world, upgrade) = upgrade_in_window();
    world.abort_after_step(&upgrade, "paused: lunch").settle();
    let versions = world.versions("np1");
    world.wait(24 * HOUR).settle();
    world.wait(HOUR).settle();
    assert_eq!(world.versions("np1"), versions);
    let conditions = world.cluster_status().conditions;
    assert_eq!(
        condition(&conditions, "Stalled"),
        ("True", "OperationCanceled")
    );
}

#[test]
fn a_paused_operation_can_be_resumed_by_hand_or_by_removing_the_windows() {
    let (mut world, _) = paused_upgrade();
    world.ask("resume", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
    let (mut world, _) = paused_upgrade();
    world
        .edit_cluster(&serde_json::json!({"maintenanceWindows": []}))
        .settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

/// A provider that can't stop what has begun.
#[derive(Debug)]
struct NeverStops;

impl Rules for NeverStops {
    fn why_unstoppable(&self, _: OperationType, _: TargetKind) -> Option<&'static str> {
        Some("it can't be stopped")
    }

    fn outcome(&self, _: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        nodes.to_vec()
    }
}

#[test]
fn a_provider_that_cannot_pause_reports_it_once_and_the_operation_goes_on() {
    let (mut world, upgrade) = upgrade_in_window();
    world.guard("np1").set_rules(&NeverStops);
    world.wait(2 * HOUR);
    for _ in 0..8 {
        world.work().stride();
    }
    let status = world.status(&upgrade);
    assert_eq!(status.phase, InProgress);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.requested_by, "belay");
    assert_eq!(cancellation.reason, "it can't be stopped");
    assert!(world.decide().0.is_empty(), "{:#?}", world.decide());
    world.unguard().settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
}

#[test]
fn the_event_of_the_start_names_the_window_and_what_it_goes_on_with() {
    let goes_on = |change: fn(&mut World) -> &mut World, expected: &str| {
        let (mut world, upgrade) = paused_upgrade();
        change(&mut world);
        let mut notes = Vec::new();
        for _ in 0..6 {
            notes.extend(world.decide().notes());
            world.stride();
        }
        let expected = format!("{expected}, and goes on with what Operation {upgrade} left");
        assert!(
            notes.iter().any(|note| note.ends_with(&expected)),
            "{notes:?}"
        );
    };
    goes_on(
        |world| world.wait(22 * HOUR),
        "started in the maintenance window that closes at 2026-01-03T00:00:00Z",
    );
    goes_on(
        |world| world.edit_cluster(&serde_json::json!({"maintenanceWindows": []})),
        "(Upgrade): started",
    );
}
