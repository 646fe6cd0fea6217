//! Holds: a target whose operation was canceled or failed is left alone until someone acts.

use crate::{
    api::{
        Aspect, ConcurrencyPolicy,
        OperationPhase::{Canceled, Canceling, Failed, Pending, Succeeded},
        OperationType::{Create, Delete, Reconcile, Scale, Stop, Update},
        PowerState, ProvisioningState,
    },
    lifecycle::{
        fixtures::{Kind, NEW, OLD, World, cluster, condition},
        snapshot::ObjectId,
    },
};

use super::{blocked_upgrade, failed_upgrade};

/// Returns a world with an upgrade that was aborted during a drain, and its Operation's name.
fn canceled_upgrade() -> (World, String) {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "not now").settle().unguard();
    assert_eq!(world.phase(&upgrade), Canceled);
    (world, upgrade)
}

#[test]
fn a_target_is_on_hold_after_a_cancellation_or_a_failure() {
    for ((mut world, upgrade), reason) in [
        (canceled_upgrade(), "OperationCanceled"),
        (failed_upgrade(), "OperationFailed"),
    ] {
        world.restart().wait(3600);
        assert!(world.decide().0.is_empty(), "{:#?}", world.decide());
        for conditions in [
            world.cluster_status().conditions,
            world.pool_status("np1").conditions,
        ] {
            assert_eq!(condition(&conditions, "Stalled"), ("True", reason));
            for status in &conditions {
                assert!(status.message.contains(&upgrade), "{}", status.message);
            }
        }
    }
}

#[test]
fn a_spec_change_ends_the_hold() {
    for (mut world, _) in [canceled_upgrade(), failed_upgrade()] {
        world.set_version("1.36.4").settle();
        assert_eq!(world.versions("np1"), ["1.36.4", "1.36.4"]);
        let conditions = world.cluster_status().conditions;
        assert_eq!(condition(&conditions, "Stalled").0, "False");
    }
}

#[test]
fn a_reconcile_ends_the_hold() {
    for (mut world, _) in [canceled_upgrade(), failed_upgrade()] {
        world.ask("go-on", Reconcile, &cluster()).settle();
        assert_eq!(world.phase("go-on"), Succeeded);
        assert_eq!(world.versions("np1"), [NEW, NEW]);
        assert_eq!(
            world.cluster_status().provisioning_state,
            Some(ProvisioningState::Succeeded)
        );
    }
}

#[test]
fn an_aborted_reconcile_leaves_its_target_on_hold() {
    let (mut world, _) = canceled_upgrade();
    world.ask("go-on", Reconcile, &cluster());
    world.begin(Reconcile);
    world.abort("go-on", "not yet").settle();
    assert_eq!(world.phase("go-on"), Canceled);
    assert!(world.decide().created().is_empty());
}

#[test]
fn a_target_is_on_hold_after_its_pending_operation_was_aborted() {
    let mut world = World::settled();
    world.set_count("np1", 3).stride();
    let scale = world.unfinished().remove(0);
    world.abort(&scale, "stop").settle();
    assert_eq!(
        (world.versions("np1").len(), world.operations().count()),
        (2, 3)
    );
    let status = world.pool_status("np1");
    assert_eq!(status.provisioning_state, Some(ProvisioningState::Canceled));
    world.set_count("np1", 4).settle();
    assert_eq!(world.versions("np1").len(), 4);
}

#[test]
fn an_abort_of_a_pending_operation_survives_a_crash() {
    for actions in 0..5 {
        let mut world = World::settled();
        world.set_version(NEW).stride();
        let upgrade = world.unfinished().remove(0);
        world.abort(&upgrade, "stop");
        let mut pass = world.pass();
        for _ in 0..actions {
            world.act(&mut pass);
        }
        world.restart().settle();
        assert_eq!(world.versions("np1"), [OLD, OLD], "after {actions} actions");
    }
}

#[test]
fn a_hold_survives_a_crash_at_any_action() {
    let delete: fn(&mut World, &str) = |world, scale| {
        world.delete(&ObjectId::Operation(scale.into()));
    };
    let abort: fn(&mut World, &str) = |world, scale| {
        world.abort(scale, "stop");
    };
    for how in [abort, delete] {
        for (passes, actions) in (0..4).flat_map(|passes| (0..6).map(move |n| (passes, n))) {
            let mut world = World::settled();
            world.set_count("np1", 3);
            let scale = world.begin(Scale);
            how(&mut world, &scale);
            for _ in 0..passes {
                world.stride().work();
            }
            let mut pass = world.pass();
            for _ in 0..actions {
                world.act(&mut pass);
            }
            world.restart().settle();
            let at = format!("after {passes} passes and {actions} actions");
            assert_eq!(world.versions("np1").len(), 2, "{at}");
            let status = world.pool_status("np1");
            let expected = ("True", "OperationCanceled");
            assert_eq!(condition(&status.conditions, "Stalled"), expected, "{at}");
        }
    }
}

#[test]
fn a_hold_of_one_pool_does_not_affect_another_pool() {
    let mut world = World::settled().with_pool("np2", 1).at_rest();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.abort(&scale, "stop").settle();
    world.set_count("np2", 2).settle();
    assert_eq!(
        (world.versions("np1").len(), world.versions("np2").len()),
        (2, 2)
    );
}

#[test]
fn a_pool_on_hold_follows_its_clusters_version_and_keeps_its_size() {
    let mut world = World::settled();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.abort(&scale, "stop").settle();
    world.set_version(NEW).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
    let status = world.pool_status("np1");
    assert_eq!(
        condition(&status.conditions, "Stalled"),
        ("True", "OperationCanceled")
    );
}

#[test]
fn pools_can_be_scaled_and_created_while_their_cluster_is_on_hold() {
    let (mut world, _) = canceled_upgrade();
    world.set_count("np1", 3).create_pool("np2", 1).settle();
    assert_eq!(
        (world.versions("np1").len(), world.versions("np2")),
        (3, vec![NEW.into()])
    );
    assert!(
        world.versions("np1").contains(&OLD.into()),
        "and nothing else"
    );
}

#[test]
fn an_aborted_create_continues_by_a_reconcile() {
    let mut world = World::new().with_pool("np1", 2);
    let create = world.begin(Create);
    world.abort(&create, "stop").settle();
    assert!(world.versions("np1").is_empty());
    world.ask("go-on", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
}

#[test]
fn a_hold_is_reported_after_its_operation_was_deleted() {
    let (mut world, upgrade) = failed_upgrade();
    world.delete(&ObjectId::Operation(upgrade.clone())).settle();
    let conditions = world.cluster_status().conditions;
    let stalled = conditions
        .iter()
        .find(|condition| condition.type_ == "Stalled");
    let message = &stalled.expect("a condition").message;
    assert!(
        message.starts_with(&format!("Operation {upgrade} failed (QuotaExceeded: ")),
        "{message}"
    );
}

#[test]
fn a_change_aborted_while_it_waited_stays_on_hold_when_the_lock_is_free() {
    let mut world = World::settled();
    world.set_policy(ConcurrencyPolicy::Queue).settle();
    world.set_count("np1", 3).guard("np1");
    let scale = world.begin(Scale);
    world.wait(1).set_count("np1", 4).stride();
    let waiting = world.unfinished().pop().expect("a change that waits");
    assert_ne!(waiting, scale);
    world.abort(&waiting, "not needed").settle();
    assert_eq!(world.phase(&scale), Succeeded);
    assert_eq!(world.versions("np1").len(), 3, "the change is left alone");
}

#[test]
fn a_deletion_aborted_while_another_operation_is_pending_stays_on_hold() {
    let mut world = World::settled();
    world.set_version(NEW).stride();
    world.delete(&ObjectId::Pool("np1".into())).stride();
    let is_delete = |name: &String| world.spec(name).type_ == Delete;
    let delete = world.unfinished().into_iter().find(is_delete);
    let delete = delete.expect("a deletion that waits");
    world.abort(&delete, "keep it").settle();
    assert_eq!(world.phase(&delete), Canceled);
    let hold = world.pool_status("np1").hold.expect("it is held");
    assert_eq!(hold.aspects, [Aspect::Deletion]);
}

#[test]
fn an_operation_keeps_its_plan_after_a_restart() {
    let mut world = World::settled();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.set_count("np1", 5).restart();
    while !world.phase(&scale).is_finished() {
        world.stride().work();
    }
    assert_eq!(world.versions("np1").len(), 3);
    world.settle();
    assert_eq!(world.versions("np1").len(), 5, "the rest is the next one's");
}

#[test]
fn a_crash_before_the_hold_is_written_does_not_widen_the_hold() {
    let mut world = World::settled();
    world.set_label("np1", "blue");
    let update = world.begin(Update);
    world.abort_now(&update, "not now").stride().work();
    assert_eq!(world.phase(&update), Canceling);
    // The operator crashes after it writes the Operation's end, and before it writes the pool's status.
    let mut pass = world.pass();
    world.act(&mut pass);
    assert_eq!(world.phase(&update), Canceled);
    world.restart().settle();
    let hold = world.pool_status("np1").hold.expect("a hold");
    assert_eq!(hold.aspects, [Aspect::Settings]);
    world.set_count("np1", 0).settle();
    assert_eq!(world.versions("np1"), Vec::<String>::new());
}

#[test]
fn a_pool_created_by_a_cluster_reconcile_follows_the_clusters_version() {
    let mut world = World::new().with_pool("np1", 2);
    world.set_pool_version("np1", Some(OLD)).set_version(NEW);
    let create = world.until(Create, Pending);
    world.abort(&create, "not like that").settle();
    world.ask("go-on", Reconcile, &cluster());
    world.begin(Reconcile);
    world.set_pool_version("np1", None).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn an_edit_before_the_failure_is_recorded_on_the_target_ends_the_hold() {
    let mut world = World::settled();
    world.set_label("np1", "blue");
    let update = world.begin(Update);
    world.fail();
    // The Operation's end is written but not yet recorded on its pool when somebody edits the spec to fix the
    // failure.
    let mut pass = world.pass();
    world.act(&mut pass);
    assert_eq!(world.phase(&update), Failed);
    world.set_label("np1", "green").settle();
    assert_eq!(world.pool_status("np1").hold, None);
    assert!(world.decide().0.is_empty());
    let state = world.pool_status("np1").provisioning_state;
    assert_eq!(state, Some(ProvisioningState::Succeeded));
}

#[test]
fn fixing_a_failure_does_not_restart_an_earlier_aborted_change() {
    let mut world = World::settled();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.abort(&scale, "not now").settle();
    world.set_label("np1", "gold");
    let update = world.begin(Update);
    world.fail().settle();
    assert_eq!(world.phase(&update), Failed);
    world.set_label("np1", "silver").settle();
    assert_eq!(world.versions("np1").len(), 2, "the scale was aborted");
    let hold = world.pool_status("np1").hold;
    assert_eq!(hold.map(|hold| hold.aspects), Some(vec![Aspect::Count]));
}

#[test]
fn an_old_cache_does_not_replace_a_later_hold() {
    let mut world = World::settled();
    world.set_count("np1", 3);
    world.begin(Scale);
    world.remember().fail().settle();
    world.set_count("np1", 4).stride();
    let aborted = world.unfinished().remove(0);
    world.abort(&aborted, "not now").settle();
    let hold = world.pool_status("np1").hold.expect("a hold");
    assert_eq!(hold.operation.name, aborted);
    // In the stale cache the first Scale still runs, so its place in the lock seems to be lost.
    let mut old = world.pass_on_old(Kind::Operations);
    while world.act(&mut old).is_some() {}
    world.settle();
    assert_eq!(world.pool_status("np1").hold, Some(hold));
    assert_eq!(world.unfinished(), Vec::<String>::new());
}

#[test]
fn a_pool_emptied_by_a_cluster_stop_stays_empty_if_the_stop_fails_or_is_aborted() {
    type Ending = fn(&mut World, &str);
    let fails: Ending = |world, _| _ = world.fail();
    let is_aborted: Ending = |world, stop| _ = world.abort(stop, "not now");
    for end in [fails, is_aborted] {
        let mut world = World::settled();
        world.set_power(PowerState::Stopped);
        let stop = world.begin(Stop);
        while !world.versions("np1").is_empty() {
            world.work().stride();
        }
        end(&mut world, &stop);
        world.settle();
        assert!([Failed, Canceled].contains(&world.phase(&stop)));
        let hold = world.pool_status("np1").cluster_hold.expect("a hold");
        assert_eq!(hold.aspects, [Aspect::Count, Aspect::Power]);
        assert!(world.versions("np1").is_empty());
        world.ask("go-on", Reconcile, &cluster()).settle();
        assert!(!world.snapshot().is_running());
    }
}

#[test]
fn a_change_aborted_while_it_waited_stays_on_hold_when_the_operation_in_flight_fails() {
    let mut world = World::new().with_pool("np1", 2);
    world.set_policy(ConcurrencyPolicy::Queue);
    let create = world.begin(Create);
    world.work().set_power(PowerState::Stopped);
    world.stride().stride();
    let unfinished = world.unfinished();
    let stop = unfinished.iter().find(|name| name.contains("stop"));
    let stop = stop.expect("a Stop");
    world.abort(stop, "not now").stride();
    world.fail().settle();
    assert_eq!(
        (world.phase(&create), world.phase(stop)),
        (Failed, Canceled)
    );
    assert!(world.snapshot().is_running());
    let hold = world.cluster_status().hold.expect("a hold");
    assert!(hold.aspects.contains(&Aspect::Power), "{hold:?}");
}
