//! Objects are identified by uid, because a name can be used again.

use crate::{
    api::{
        CancellationStatus,
        OperationPhase::{Canceled, InProgress, Succeeded},
        OperationType::{Reconcile, Scale, Upgrade},
    },
    lifecycle::{
        fixtures::{NEW, OLD, World, cluster, pool},
        snapshot::ObjectId,
    },
};

use super::blocked_upgrade;

fn op(name: &str) -> ObjectId {
    ObjectId::Operation(name.into())
}

#[test]
fn the_name_of_an_aborted_operation_can_be_used_again() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "not now").settle();
    world.ask("go-on", Reconcile, &cluster());
    world.begin(Reconcile);
    world.abort("go-on", "not yet").settle();
    assert_eq!(world.phase("go-on"), Canceled);
    world.delete(&op("go-on")).settle();
    assert!(!world.exists(&op("go-on")));
    world.unguard().ask("go-on", Reconcile, &cluster()).settle();
    assert_eq!(world.phase("go-on"), Succeeded);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn the_lock_is_bound_to_its_holders_uid_and_not_to_its_name() {
    let mut world = World::settled();
    world.guard("np1").ask_for_count("mine", 1, &pool("np1"));
    world.begin(Scale);
    let first = world.uid("mine");
    world.delete_by_force(&op("mine"));
    world.ask_for_count("mine", 1, &pool("np1")).stride();
    world.stride();
    assert_ne!(world.uid("mine"), first);
    let held: Vec<_> = world.cluster_status().operations;
    assert!(
        held.iter().all(|held| held.uid == world.uid("mine")),
        "{held:?}"
    );
    world.unguard().settle();
    assert_eq!(world.versions("np1").len(), 1);
}

#[test]
fn a_recorded_abort_does_not_affect_a_new_operation_with_the_same_name() {
    let mut world = World::settled();
    world.ask_for_count("mine", 3, &pool("np1"));
    world.begin(Scale);
    world.abort("mine", "stop").settle();
    world.delete(&op("mine")).settle();
    world.ask_for_count("mine", 4, &pool("np1")).settle();
    assert_eq!(world.phase("mine"), Succeeded);
}

#[test]
fn a_recorded_success_does_not_cancel_an_operation_that_lost_its_status() {
    let mut world = World::settled();
    world.set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world.settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
    let last = world.cluster_status().last_operation.expect("an operation");
    assert_eq!((last.uid, last.phase), (world.uid(&upgrade), Succeeded));
    // Its own status is lost, but its target's isn't. Belay must not conclude that it was aborted.
    let mut snapshot = world.snapshot();
    let object = snapshot.operation_mut(&upgrade).expect("the Operation");
    object.status = None;
    let decided = crate::lifecycle::decide(&snapshot, world.now());
    let canceled = decided.iter().any(|action| {
        matches!(action, crate::lifecycle::Action::WriteOperationStatus { status, .. }
            if status.cancellation.as_ref().is_some_and(|it| it.accepted_at.is_some()))
    });
    assert!(!canceled, "{decided:#?}");
}

#[test]
fn an_abort_annotation_set_at_creation_aborts_nothing() {
    let mut world = World::new();
    world.abort_on(&ObjectId::Cluster, "left in Git");
    world.create_pool("np1", 2);
    world.abort_on(&ObjectId::Pool("np1".into()), "left in Git");
    world.ask("first", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    let canceled = world
        .operations()
        .find(|name| world.phase(name) == Canceled);
    assert_eq!(canceled, None);
    // Another value is a new request.
    world.guard("np1").set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world
        .abort_on(&ObjectId::Cluster, "now it is meant")
        .settle();
    assert_eq!(world.phase(&upgrade), Canceled);
}

#[test]
fn an_unreadable_plan_fails_the_operation_and_is_not_replaced() {
    let (mut world, upgrade) = blocked_upgrade();
    assert_eq!(world.phase(&upgrade), InProgress);
    world
        .set_count("np1", 5)
        .corrupt_plan(&upgrade)
        .restart()
        .stride();
    let error = world.status(&upgrade).error.expect("an error");
    assert_eq!(error.code, "PlanUnreadable");
    world.settle();
    let hold = world.cluster_status().hold.expect("a hold");
    assert_eq!(hold.operation.name, upgrade);
    assert!(world.status(&upgrade).cancellation.is_none());
    world.unguard().ask("go-on", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1"), [NEW; 5]);
    assert_eq!(world.cordoned("np1"), 0, "what was left begun is mended");
}

#[test]
fn a_failed_cancellation_still_has_a_finished_condition() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort_after_step(&upgrade, "stop").stride();
    world.unguard().finish().settle();
    let status = world.status(&upgrade);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Failed);
    let finished = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Finished");
    assert_eq!(finished.map(|it| it.status.as_str()), Some("True"));
}
