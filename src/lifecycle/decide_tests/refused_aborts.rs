//! Aborts that are accepted, hurried and refused.

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{
        ABORT_ANNOTATION, AbortPolicy, CancellationStatus, LONGEST_TEXT, Operation,
        OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending, Succeeded},
        OperationType::{Reconcile, Rollback, Upgrade},
    },
    lifecycle::{
        action::Action,
        decide::decide,
        failed_without_target,
        fixtures::{NEW, OLD, World, cluster},
        snapshot::{ObjectId, Stop, Work},
    },
};

use super::blocked_upgrade;

fn policy(world: &World, operation: &str) -> Option<AbortPolicy> {
    let cancellation = world.status(operation).cancellation;
    cancellation.map(|cancellation| cancellation.policy)
}

/// Returns a world with an upgrade that was asked to stop after its step, by an annotation on itself or on its
/// target.
fn stopping_after_the_step(on_target: bool) -> (World, String, ObjectId) {
    let (mut world, upgrade) = blocked_upgrade();
    let id = if on_target {
        ObjectId::Cluster
    } else {
        ObjectId::Operation(upgrade.clone())
    };
    world.set_abort_policy(&id, Some("AfterStep"));
    world.abort_on(&id, "tonight").stride();
    assert_eq!(world.phase(&upgrade), Canceling);
    (world, upgrade, id)
}

#[test]
fn removing_annotations_never_makes_an_accepted_abort_stop_sooner() {
    type Change = fn(&mut World, &ObjectId);
    let changes: [Change; 4] = [
        |world, id| {
            world.take_abort_from(id);
        },
        |world, id| {
            world.set_abort_policy(id, None);
        },
        |world, id| {
            world.take_abort_from(id).set_abort_policy(id, None);
        },
        // Another reason, with the same policy.
        |world, id| {
            world.abort_on(id, "tonight, I said");
        },
    ];
    for on_target in [false, true] {
        for change in changes {
            let (mut world, upgrade, id) = stopping_after_the_step(on_target);
            change(&mut world, &id);
            for _ in 0..4 {
                world.stride().work();
                assert!(!world.decide().stops().contains(&Stop::Now));
            }
            assert_eq!(
                world.phase(&upgrade),
                Canceling,
                "its drain is blocked still"
            );
            assert_eq!(policy(&world, &upgrade), Some(AbortPolicy::AfterStep));
            world.restart();
            assert_eq!(world.decide().starts(), [Stop::AfterStep]);
            world.unguard().settle();
            assert_eq!(world.phase(&upgrade), Canceled);
        }
    }
}

#[test]
fn a_later_policy_now_ends_an_abort_after_step_at_once() {
    for on_target in [false, true] {
        let (mut world, upgrade, id) = stopping_after_the_step(on_target);
        world.set_abort_policy(&id, Some("Now")).settle();
        assert_eq!(
            (world.phase(&upgrade), policy(&world, &upgrade)),
            (Canceled, Some(AbortPolicy::Now))
        );
    }
}

#[test]
fn an_old_policy_now_on_the_target_has_no_effect_on_a_later_abort() {
    let (mut world, upgrade) = blocked_upgrade();
    world.set_abort_policy(&ObjectId::Cluster, Some("Now"));
    world.abort_on(&ObjectId::Cluster, "first").settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    world.set_version("1.36.4");
    let again = world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    world
        .abort_after_step(&again, "tonight")
        .stride()
        .work()
        .stride();
    assert_eq!(policy(&world, &again), Some(AbortPolicy::AfterStep));
    assert_eq!(world.phase(&again), Canceling);
}

#[test]
fn an_unknown_abort_policy_is_refused_and_never_taken_as_now() {
    for on_target in [false, true] {
        let (mut world, upgrade) = blocked_upgrade();
        let id = if on_target {
            ObjectId::Cluster
        } else {
            ObjectId::Operation(upgrade.clone())
        };
        world.set_abort_policy(&id, Some("Afterstep"));
        world.abort_on(&id, "tonight");
        assert_eq!(world.decide().events(), ["OperationAbortRefused"]);
        for _ in 0..3 {
            world.stride().work();
        }
        let cancellation = world.status(&upgrade).cancellation.expect("a cancellation");
        assert_eq!(world.phase(&upgrade), InProgress);
        assert_eq!(cancellation.status, CancellationStatus::Failed);
        assert!(cancellation.reason.contains("write Now or AfterStep"));
        assert!(world.decide().events().is_empty(), "it is published once");
        // Once corrected, it is a new request.
        world.set_abort_policy(&id, Some("AfterStep"));
        if on_target {
            world.abort_on(&id, "tonight, please");
        }
        world.stride();
        assert_eq!(
            world.phase(&upgrade),
            Canceling,
            "on its target: {on_target}"
        );
        world.unguard().settle();
        assert_eq!(world.phase(&upgrade), Canceled);
    }
}

#[test]
fn a_pending_operation_is_not_canceled_by_an_unknown_abort_policy() {
    let mut world = World::settled();
    world.set_version(NEW).stride();
    let upgrade = world.unfinished().remove(0);
    let id = ObjectId::Operation(upgrade.clone());
    world
        .set_abort_policy(&id, Some("now"))
        .abort(&upgrade, "stop");
    world.stride();
    assert_eq!(world.phase(&upgrade), Pending);
    world.settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
}

/// Returns a world with a rollback whose control plane has begun to go back, and its Operation's name.
fn past_return() -> (World, String) {
    let mut world = World::settled();
    world.set_version(NEW).settle();
    world.set_version(OLD);
    let rollback = world.begin(Rollback);
    for _ in 0..40 {
        let control_plane = world.snapshot().observed.control_plane;
        if control_plane.is_some_and(|it| it.changing_to.is_some()) {
            return (world, rollback);
        }
        world.stride().work();
    }
    panic!("the control plane never goes back");
}

#[test]
fn an_abort_past_the_point_of_no_return_is_refused_and_the_rollback_succeeds() {
    for restarts in [false, true] {
        let (mut world, rollback) = past_return();
        if restarts {
            world.restart();
        }
        world.abort(&rollback, "too late").stride();
        assert_eq!(world.phase(&rollback), InProgress);
        let cancellation = world
            .status(&rollback)
            .cancellation
            .expect("a cancellation");
        assert_eq!(cancellation.status, CancellationStatus::Failed);
        world.settle();
        assert_eq!(world.phase(&rollback), Succeeded);
        assert_eq!(
            world.cluster_status().kubernetes_version.as_deref(),
            Some(OLD)
        );
    }
}

#[test]
fn a_reconcile_that_rolls_back_the_control_plane_cannot_be_aborted_either() {
    let mut world = World::settled();
    world.set_version(NEW).settle();
    world.guard("np1").set_version(OLD);
    let rollback = world.begin(Rollback);
    world.abort(&rollback, "first").settle();
    world.unguard().ask("back", Reconcile, &cluster()).stride();
    for _ in 0..40 {
        let control_plane = world.snapshot().observed.control_plane;
        if control_plane.is_some_and(|it| it.changing_to.is_some()) {
            break;
        }
        world.stride().work();
    }
    world.abort("back", "too late").stride();
    assert_eq!(world.phase("back"), InProgress);
    world.settle();
    assert_eq!(world.phase("back"), Succeeded);
}

/// Returns what Belay decides on a rollback past its point of no return, in that phase, if its work reports that it
/// stopped.
fn decided_on_stopped(phase: crate::api::OperationPhase) -> Vec<Action> {
    let (mut world, rollback) = past_return();
    world.abort(&rollback, "stop");
    let mut snapshot = world.snapshot();
    let uid = world.uid(&rollback);
    let progress = snapshot.work[&uid].progress().clone();
    snapshot.work.insert(uid, Work::Stopped(progress));
    let operation = snapshot.operation_mut(&rollback).expect("the Operation");
    let status = operation.status.as_mut().expect("a status");
    status.phase = phase;
    if phase == Canceling {
        let now: Timestamp = world.now();
        status.cancellation = serde_json::from_value(serde_json::json!({
            "status": "InProgress", "reason": "stop", "requestedAt": now, "acceptedAt": now,
        }))
        .ok();
    }
    decide(&snapshot, world.now())
}

#[test]
fn work_stopped_past_the_point_of_no_return_is_started_again_and_never_canceled() {
    for phase in [InProgress, Canceling] {
        let decided = decided_on_stopped(phase);
        let phases: Vec<_> = decided
            .iter()
            .filter_map(|action| match action {
                Action::WriteOperationStatus { status, .. } => Some(status.phase),
                _ => None,
            })
            .collect();
        assert_eq!(phases, [InProgress], "{phase:?}");
        let starts = decided
            .iter()
            .any(|action| matches!(action, Action::StartWork { stop: Stop::No, .. }));
        assert!(starts, "{phase:?}: {decided:#?}");
        let refused = decided.iter().any(|action| {
            matches!(action, Action::Publish(note) if note.reason == "OperationAbortRefused")
        });
        assert!(refused, "{phase:?}");
    }
}

#[test]
fn an_abort_reason_of_any_length_fits_into_the_status() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, &"ä".repeat(60_000)).settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    let status = world.status(&upgrade);
    let reason = status.cancellation.expect("a cancellation").reason;
    assert_eq!(reason.chars().count(), LONGEST_TEXT);
    for conditions in [
        status.conditions,
        world.cluster_status().conditions,
        world.pool_status("np1").conditions,
    ] {
        for condition in conditions {
            assert!(condition.message.len() < 4 * LONGEST_TEXT);
        }
    }
    assert!(world.lock().is_empty());
}

#[test]
fn an_abort_ends_although_the_block_stays() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "stuck").settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    assert!(world.lock().is_empty());
}

#[test]
fn an_abort_on_a_pool_aborts_the_operation_in_flight_on_it() {
    let mut world = World::settled();
    world.guard("np1").set_count("np1", 1);
    let scale = world.begin(crate::api::OperationType::Scale);
    for _ in 0..4 {
        world.work().stride();
    }
    world
        .abort_on(&ObjectId::Pool("np1".into()), "enough")
        .settle();
    assert_eq!(world.phase(&scale), Canceled);
    assert_eq!(world.versions("np1").len(), 2);
}

#[test]
fn an_abort_of_an_operation_without_a_target_is_reported_as_failed() {
    let spec = json!({"type": "Reconcile", "target": {"kind": "AgentPool", "name": "np9"}});
    let mut operation = Operation::new("on-nothing", serde_json::from_value(spec).expect("a spec"));
    operation
        .annotations_mut()
        .insert(ABORT_ANNOTATION.into(), "never mind".into());
    let status = failed_without_target(&operation, &operation.spec.target, Timestamp::UNIX_EPOCH);
    assert_eq!(status.phase, Failed);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Failed);
}
