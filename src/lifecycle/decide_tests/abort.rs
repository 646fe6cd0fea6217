//! Rules about aborts.

use crate::{
    api::{
        CancellationStatus,
        OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending, Succeeded},
        OperationType::{Delete, Reconcile, Scale, Upgrade},
        PowerState, ProvisioningState, StepPhase,
    },
    lifecycle::{
        action::Action,
        fixtures::{NEW, OLD, World, cluster, pool},
        snapshot::{ObjectId, Stop},
    },
};

use super::{Change, blocked_upgrade};

#[test]
fn an_abort_of_a_pending_operation_ends_it_at_once() {
    let mut world = World::settled();
    world.set_version(NEW).stride();
    let upgrade = world.unfinished().remove(0);
    world.abort(&upgrade, "changed my mind").stride();
    let status = world.status(&upgrade);
    assert_eq!(status.phase, Canceled);
    assert!(status.start_time.is_none() && status.steps.is_empty());
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    assert_eq!(cancellation.reason, "changed my mind");
    world.settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    assert!(world.lock().is_empty());
}

#[test]
fn an_abort_of_a_pending_operation_releases_its_lock() {
    let mut world = World::settled();
    world.set_version(NEW).stride().stride();
    let upgrade = world.lock().remove(0);
    assert_eq!(world.phase(&upgrade), Pending);
    world.abort(&upgrade, "stop").settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    assert!(world.lock().is_empty());
    assert_eq!(
        world.cluster_status().provisioning_state,
        Some(ProvisioningState::Canceled)
    );
}

#[test]
fn an_abort_on_a_target_is_recorded_and_honoured_once() {
    let (mut world, upgrade) = blocked_upgrade();
    world.wait(60).abort_on(&ObjectId::Cluster, "stop");
    assert_eq!(world.decide().stops(), [Stop::AfterStep]);
    world.settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    assert!(world.cluster_status().observed_abort.is_some());
    // The same value doesn't abort anything else.
    world.set_version("1.36.4");
    let again = world.begin(Upgrade);
    world.unguard().settle();
    assert_eq!(world.phase(&again), Succeeded);
}

#[test]
fn canceling_is_written_before_running_work_is_stopped() {
    let (mut world, upgrade) = blocked_upgrade();
    world.wait(60).abort(&upgrade, "stop");
    // After that write no step starts. So before the write nothing new may begin, and what has begun must be known.
    let decided = world.decide();
    assert_eq!(
        (decided.phases(), decided.stops()),
        (vec![], vec![Stop::AfterStep])
    );
    let mut pass = world.pass();
    while world.act(&mut pass).is_some() {}
    let decided = world.decide();
    assert_eq!(
        (decided.phases(), decided.stops()),
        (vec![Canceling], vec![Stop::Now])
    );
    assert_eq!(decided.events(), ["OperationCanceling"]);
    let written = decided.place(|action| matches!(action, Action::WriteOperationStatus { .. }));
    let asked = decided.place(|action| matches!(action, Action::StopWork { .. }));
    assert!(asked > written, "{decided:#?}");
    let status = world.stride().status(&upgrade);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::InProgress);
    assert!(cancellation.accepted_at > status.start_time);
    assert_eq!(world.lock(), [upgrade], "until it has stopped");
}

#[test]
fn no_work_starts_for_a_canceling_operation() {
    for policy in [World::abort, World::abort_after_step] {
        let (mut world, upgrade) = blocked_upgrade();
        policy(&mut world, &upgrade, "stop").stride();
        for _ in 0..3 {
            assert!(!world.restart().decide().starts().contains(&Stop::No));
            world.stride().work();
        }
    }
}

#[test]
fn an_aborted_operation_stops_in_its_current_state() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "not now").settle();
    let status = world.status(&upgrade);
    assert_eq!(status.phase, Canceled);
    assert!(status.end_time.is_some() && status.blocked.is_none());
    assert!(status.percent_complete < 100);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    // The control plane is upgraded, the drain stopped, and the step of the other node never started.
    let expected = [
        StepPhase::Succeeded,
        StepPhase::Canceled,
        StepPhase::Skipped,
    ];
    assert_eq!(world.steps(&upgrade), expected);
    assert_eq!(
        world.cluster_status().kubernetes_version.as_deref(),
        Some(NEW)
    );
    assert_eq!(world.cordoned("np1"), 0);
    assert!(world.lock().is_empty());
    assert_eq!(
        world.cluster_status().provisioning_state,
        Some(ProvisioningState::Canceled)
    );
}

#[test]
fn an_abort_after_step_finishes_the_current_drain_and_starts_no_other() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort_after_step(&upgrade, "tonight");
    assert!(!world.decide().stops().contains(&Stop::Now));
    for _ in 0..5 {
        world.stride().work();
    }
    assert_eq!(
        world.phase(&upgrade),
        Canceling,
        "the drain is blocked still"
    );
    world.unguard().settle();
    let expected = [
        StepPhase::Succeeded,
        StepPhase::Succeeded,
        StepPhase::Skipped,
    ];
    assert_eq!(
        (world.phase(&upgrade), world.steps(&upgrade)),
        (Canceled, expected.into())
    );
    let mut versions = world.versions("np1");
    versions.sort();
    assert_eq!(versions, [OLD, NEW]);
}

#[test]
fn an_abort_after_step_can_be_changed_to_now() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort_after_step(&upgrade, "tonight").stride();
    world.abort_now(&upgrade, "at once").settle();
    assert_eq!(
        (world.phase(&upgrade), world.cordoned("np1")),
        (Canceled, 0)
    );
}

#[test]
fn an_abort_that_comes_too_late_is_reported_as_failed() {
    let ends: [(Change, _); 2] = [(World::finish, Succeeded), (World::fail, Failed)];
    for (end, phase) in ends {
        for was_accepted in [false, true] {
            let (mut world, upgrade) = blocked_upgrade();
            if was_accepted {
                world.abort_after_step(&upgrade, "stop").stride();
                assert_eq!(world.phase(&upgrade), Canceling);
            }
            end(world.unguard()).abort(&upgrade, "stop").settle();
            let status = world.status(&upgrade);
            assert_eq!(status.phase, phase);
            let cancellation = status.cancellation.expect("a cancellation");
            assert_eq!(cancellation.status, CancellationStatus::Failed);
            assert_eq!(
                cancellation.reason,
                "the operation ended before the abort took effect"
            );
        }
    }
}

#[test]
fn removing_an_accepted_abort_changes_nothing() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort_after_step(&upgrade, "stop").stride();
    world.take_abort_back(&upgrade).stride().work().stride();
    assert_eq!(
        world.phase(&upgrade),
        Canceling,
        "and as mildly as it was asked for"
    );
    assert_eq!(world.cordoned("np1"), 1, "the drain goes on");
    world.unguard().settle();
    assert_eq!(world.phase(&upgrade), Canceled);
}

#[test]
fn an_abort_removed_before_it_was_accepted_does_not_stop_the_work() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "stop");
    let mut pass = world.pass();
    let held = |action: &Action| matches!(action, Action::StopWork { .. });
    assert!(world.act(&mut pass).as_ref().is_some_and(held));
    world.take_abort_back(&upgrade).unguard();
    assert!(
        world.act(&mut pass).is_none(),
        "it was decided on an old view"
    );
    world.settle();
    assert_eq!(
        (world.phase(&upgrade), world.versions("np1")),
        (Succeeded, vec![NEW.into(); 2])
    );
}

#[test]
fn a_deleted_operation_is_aborted_and_removed_after_it_has_stopped() {
    let (mut world, upgrade) = blocked_upgrade();
    let id = ObjectId::Operation(upgrade.clone());
    world.delete(&id).stride();
    assert_eq!(world.phase(&upgrade), Canceling);
    world.settle();
    assert!(!world.exists(&id));
    assert_eq!(
        world.cluster_status().provisioning_state,
        Some(ProvisioningState::Canceled)
    );
}

#[test]
fn a_deletion_of_a_target_first_aborts_the_operation_in_flight() {
    let (mut world, upgrade) = blocked_upgrade();
    world.delete(&ObjectId::Cluster).stride();
    assert_eq!(world.phase(&upgrade), Canceling);
    let reason = world
        .status(&upgrade)
        .cancellation
        .expect("a cancellation")
        .reason;
    assert_eq!(reason, "deletion was issued on 'demo'");
    world.settle();
    assert!(world.is_gone());
    assert_eq!(world.pools().count() + world.versions("np1").len(), 0);
    let mut world = World::settled();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.delete(&ObjectId::Pool("np1".into())).stride();
    assert_eq!(world.phase(&scale), Canceling);
    world.settle();
    assert_eq!(world.pools().count() + world.versions("np1").len(), 0);
    assert!(!world.is_gone());
}

#[test]
fn a_target_that_is_being_deleted_accepts_no_other_operation() {
    let refusal = |world: &World, operation: &str| {
        assert_eq!(world.phase(operation), Failed);
        let error = world.status(operation).error.expect("an error");
        assert_eq!(error.code, "OperationNotAllowed");
        let (refusal, since) = error
            .message
            .split_once(". The only allowed")
            .expect("a sentence");
        assert!(
            since.ends_with("elapsed time is: '00:00:05' (RFC3339 format)"),
            "{since}"
        );
        refusal.to_owned()
    };
    let mut world = World::settled();
    world
        .guard("np1")
        .delete(&ObjectId::Pool("np1".into()))
        .wait(5);
    world.ask_for_count("more", 5, &pool("np1")).stride();
    assert_eq!(
        refusal(&world, "more"),
        "Unable to perform 'Scaling' operation on 'np1' since deletion was issued on 'np1'"
    );
    let mut world = World::settled();
    world
        .delete(&ObjectId::Cluster)
        .wait(5)
        .ask("mine", Reconcile, &pool("np1"))
        .stride();
    assert_eq!(
        refusal(&world, "mine"),
        "Unable to perform 'Updating' operation on 'np1' since deletion was issued on 'demo'"
    );
    assert!(world.at_rest().is_gone());
}

#[test]
fn a_deletion_continues_after_a_crash_at_any_action() {
    for (deleted, target) in [
        (ObjectId::Cluster, cluster()),
        (ObjectId::Pool("np1".into()), pool("np1")),
    ] {
        for actions in 0..6 {
            let mut world = World::settled();
            world.ask("mine", Reconcile, &target).stride();
            world.wait(1).delete(&deleted);
            let mut pass = world.pass();
            for _ in 0..actions {
                world.act(&mut pass);
            }
            world.restart().settle();
            assert!(!world.exists(&deleted), "after {actions} actions");
        }
    }
}

#[test]
fn an_aborted_deletion_is_on_hold_until_a_reconcile() {
    let mut world = World::settled();
    world.guard("np1").delete(&ObjectId::Pool("np1".into()));
    let delete = world.begin(Delete);
    world.work().work().stride();
    world.abort(&delete, "keep it for now").settle();
    assert_eq!(
        (world.phase(&delete), world.versions("np1").len()),
        (Canceled, 2)
    );
    world
        .unguard()
        .wait(1)
        .ask("go", Reconcile, &pool("np1"))
        .settle();
    assert_eq!(world.pools().count(), 0);
}

#[test]
fn a_canceling_operation_ends_even_if_its_target_vanishes() {
    let mut world = World::settled();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.abort(&scale, "stop").stride();
    world
        .delete_by_force(&ObjectId::Pool("np1".into()))
        .restart()
        .settle();
    let status = world.status(&scale);
    assert_eq!(status.phase, Canceled);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    assert!(world.lock().is_empty());
}

#[test]
fn canceling_work_lost_in_a_restart_is_only_stopped() {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "stop").stride().restart();
    assert_eq!(world.decide().starts(), [Stop::Now]);
    world.settle();
    assert_eq!(
        (world.phase(&upgrade), world.cordoned("np1")),
        (Canceled, 0)
    );
    let (mut world, upgrade) = blocked_upgrade();
    world.abort_after_step(&upgrade, "stop").stride().restart();
    assert_eq!(world.decide().starts(), [Stop::AfterStep]);
}

#[test]
fn a_refused_abort_does_not_block_a_later_abort() {
    let mut world = World::settled();
    world.set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world.refuse_to_stop(true).abort(&upgrade, "stop");
    world.stride().stride().work();
    // An edit makes the pass end after the refusal is written, and before the work goes on.
    let mut pass = world.pass();
    world.set_power(PowerState::Running);
    while world.act(&mut pass).is_some() {}
    assert_eq!(world.phase(&upgrade), InProgress);
    world.refuse_to_stop(false).abort(&upgrade, "once more");
    for _ in 0..4 {
        world.stride().work();
    }
    assert_eq!(world.phase(&upgrade), Canceled);
}
