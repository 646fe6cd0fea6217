//! An operation that takes too long is aborted by Belay.

use serde_json::json;

use crate::{
    api::{
        AbortPolicy,
        OperationPhase::{Canceled, Canceling, InProgress, Succeeded},
        OperationType::Upgrade,
    },
    lifecycle::{
        due_at,
        fixtures::{NEW, World, cluster},
        snapshot::Stop,
    },
};

const HOUR: i64 = 3600;

/// Returns a world with an upgrade that a budget blocks, and that may take two hours, and the upgrade's name.
fn limited_upgrade() -> (World, String) {
    let mut world = World::settled();
    world.edit_cluster(&json!({"operationTimeout": "2h"}));
    world.guard("np1").set_version(NEW);
    let upgrade = world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    (world, upgrade)
}

#[test]
fn an_operation_that_takes_too_long_is_aborted_after_its_step_and_then_at_once() {
    let (mut world, upgrade) = limited_upgrade();
    world.wait(HOUR).stride();
    assert_eq!(world.phase(&upgrade), InProgress, "one hour is allowed");
    world.wait(HOUR).stride();
    let status = world.status(&upgrade);
    assert_eq!(status.phase, Canceling);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "timed out after 2h");
    assert_eq!(cancellation.requested_by, "belay");
    assert_eq!(cancellation.policy, AbortPolicy::AfterStep);
    // The drain in progress has the pool's drain timeout.
    world.wait(HOUR / 2 - 60).stride();
    assert_eq!(world.phase(&upgrade), Canceling);
    world.wait(60);
    assert_eq!(world.decide().stops(), [Stop::Now]);
    world.settle();
    let status = world.status(&upgrade);
    assert_eq!(status.phase, Canceled);
    let policy = status.cancellation.map(|it| it.policy);
    assert_eq!(policy, Some(AbortPolicy::Now));
    assert_eq!(world.cordoned("np1"), 0, "the node takes pods again");
}

#[test]
fn an_operations_own_timeout_takes_precedence() {
    let mut world = World::settled();
    world.edit_cluster(&json!({"operationTimeout": "2h"}));
    world.guard("np1");
    world.ask_with(
        "mine",
        json!({"type": "Upgrade", "target": cluster(), "kubernetesVersion": NEW, "timeout": "3h"}),
    );
    for _ in 0..6 {
        world.work().stride();
    }
    world.wait(2 * HOUR).stride();
    assert_eq!(world.phase("mine"), InProgress);
    world.wait(HOUR).stride();
    let reason = world.status("mine").cancellation.map(|it| it.reason);
    assert_eq!(reason.as_deref(), Some("timed out after 3h"));
}

#[test]
fn an_operation_that_ends_in_time_is_not_aborted() {
    let (mut world, upgrade) = limited_upgrade();
    world.unguard().settle();
    world.wait(3 * HOUR).settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
}

#[test]
fn the_controller_learns_when_the_next_timeout_is_over() {
    let (mut world, upgrade) = limited_upgrade();
    let started = world.status(&upgrade).start_time.expect("a time").0;
    let snapshot = world.snapshot();
    let due = due_at(&snapshot, started).expect("a timeout");
    assert_eq!(due.duration_since(started).as_secs(), 2 * HOUR);
    world.unguard().settle();
    assert_eq!(due_at(&world.snapshot(), due), None);
}
