//! What is kept and what comes back: history, copies and backups, lost statuses. Also deletion where no Operation can
//! be created.

use std::cmp::Ordering;

use serde_json::json;

use crate::{
    api::{
        ConcurrencyPolicy,
        OperationPhase::{Canceled, Failed, InProgress, Pending, Succeeded},
        OperationType::{Create, Delete, Reconcile, Scale, Stop, Upgrade},
        PowerState,
    },
    lifecycle::{
        action::Action,
        decide,
        fixtures::{NEW, OLD, World, cluster, condition, pool},
        snapshot::ObjectId,
    },
};

use super::{blocked_upgrade, failed_upgrade, np1};

fn names(world: &World) -> Vec<String> {
    world.operations().collect()
}

#[test]
fn a_node_that_arrives_after_its_operation_is_deleted_without_a_new_operation() {
    let mut world = World::settled();
    world.set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world.settle();
    let before = names(&world);
    world.make_late("np1", OLD, &upgrade).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
    assert_eq!(names(&world), before);
}

#[test]
fn the_history_of_a_busy_pool_does_not_displace_other_histories() {
    let mut world = World::settled();
    world
        .edit_cluster(&json!({"operationHistoryLimit": 2}))
        .settle();
    for count in 3..8 {
        world
            .wait(1)
            .ask_for_count(&format!("to-{count}"), count, &pool("np1"))
            .settle();
    }
    let mut kept = names(&world);
    kept.retain(|name| !name.starts_with("demo-create"));
    assert_eq!(kept, ["to-6", "to-7"]);
    assert_eq!(world.operations().count(), 3, "the cluster's own is kept");
}

#[test]
fn operations_that_never_ran_do_not_displace_those_that_ran() {
    let mut world = World::settled();
    world
        .edit_cluster(&json!({"operationHistoryLimit": 2}))
        .settle();
    for count in 3..5 {
        world
            .wait(1)
            .ask_for_count(&format!("to-{count}"), count, &pool("np1"))
            .settle();
    }
    for number in 0..4 {
        world
            .wait(1)
            .ask_for_count(&format!("refused-{number}"), 4, &pool("np1"))
            .settle();
    }
    let kept = names(&world);
    assert!(kept.contains(&"to-3".to_owned()) && kept.contains(&"to-4".to_owned()));
    let refused = kept.iter().filter(|name| name.starts_with("refused"));
    assert_eq!(refused.count(), 2);
}

#[test]
fn the_first_ended_operations_are_pruned_first_whatever_their_names() {
    let mut world = World::settled();
    for (name, count) in [("z", 3), ("y", 4), ("x", 5)] {
        // All of them end in the same second.
        world.ask_for_count(name, count, &pool("np1"));
        for _ in 0..12 {
            world.stride().work();
        }
        assert_eq!(world.phase(name), Succeeded);
    }
    world
        .edit_cluster(&json!({"operationHistoryLimit": 1}))
        .settle();
    let kept = names(&world);
    assert!(kept.contains(&"x".to_owned()), "{kept:?}");
    assert!(!kept.contains(&"z".to_owned()), "{kept:?}");
}

#[test]
fn operations_over_the_limit_are_pruned_before_new_ones_are_created() {
    let mut world = World::settled();
    world.edit_cluster(&json!({"operationHistoryLimit": 0}));
    world.set_count("np1", 3);
    let decided = world.decide();
    let deletes = decided.place(|action| matches!(action, Action::DeleteOperation(_)));
    let creates = decided.place(|action| matches!(action, Action::CreateOperation(_)));
    assert!(deletes.is_some() && deletes < creates, "{decided:#?}");
}

#[test]
fn an_operation_applied_by_a_tool_is_not_pruned() {
    let mut world = World::settled();
    world.ask_for_count("from-git", 3, &pool("np1")).settle();
    let applied = "kubectl.kubernetes.io/last-applied-configuration";
    world.annotate_operation("from-git", applied, "{}");
    world
        .edit_cluster(&json!({"operationHistoryLimit": 0}))
        .settle();
    assert_eq!(names(&world), ["from-git"]);
}

#[test]
fn a_restored_operation_does_not_run_again() {
    let mut world = World::settled();
    world.ask_for_count("more", 5, &pool("np1")).settle();
    world.set_count("np1", 2).settle();
    let before: Vec<_> = world.snapshot().operations.clone();
    let nodes = world.snapshot().observed;
    for operation in &before {
        world.wait(1).restore(operation);
    }
    world.settle();
    assert_eq!(world.snapshot().observed, nodes);
    assert_eq!(world.wanted_nodes("np1").0, 2);
    for operation in &before {
        let name = operation.metadata.name.clone().unwrap_or_default();
        assert_eq!(world.phase(&name), Canceled, "{name}");
    }
    let reason = world.status("more").cancellation.expect("a reason").reason;
    assert!(reason.contains("a copy of an Operation"), "{reason}");
    let conditions = world.pool_status("np1").conditions;
    assert_eq!(
        condition(&conditions, "Ready").0,
        "True",
        "and nothing is held"
    );
}

#[test]
fn a_restored_delete_operation_deletes_nothing() {
    let mut world = World::settled().with_pool("np2", 1).at_rest();
    world.delete(&ObjectId::Pool("np2".into()));
    let delete = world.begin(Delete);
    let snapshot = world.snapshot();
    let operation = snapshot.operation(&delete).expect("the Operation").clone();
    world.settle().create_pool("np2", 1).settle();
    world.restore(&operation).settle();
    assert_eq!(world.phase(&delete), Canceled);
    assert_eq!(world.versions("np2").len(), 1);
}

#[test]
fn a_lost_status_creates_no_operation_and_no_node() {
    let mut world = World::settled();
    let nodes = world.snapshot().observed;
    let before = world.operations().count();
    world.lose_statuses().settle();
    assert_eq!(
        (world.snapshot().observed, world.operations().count()),
        (nodes, before)
    );
    for conditions in [
        world.cluster_status().conditions,
        world.pool_status("np1").conditions,
    ] {
        assert_eq!(condition(&conditions, "Ready").0, "True");
    }
}

#[test]
fn an_operation_gets_its_lock_back_if_the_status_is_lost() {
    let (mut world, upgrade) = blocked_upgrade();
    world.lose_statuses().ask("other", Reconcile, &pool("np1"));
    world.stride().stride();
    assert_eq!(world.lock(), [upgrade.as_str()]);
    world.unguard().settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn a_cluster_without_any_state_gets_a_create() {
    let mut world = World::new().with_pool("np1", 2);
    world.lose_statuses().settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    assert!(
        names(&world)
            .iter()
            .any(|name| name.starts_with("demo-create"))
    );
    world.until(Create, Succeeded);
}

#[test]
fn a_delete_of_a_pool_is_canceled_if_its_cluster_is_being_deleted() {
    let mut world = World::settled();
    world.guard("np1").delete(&ObjectId::Cluster).wait(5);
    world.ask("away", Delete, &pool("np1")).stride();
    assert_eq!(world.phase("away"), Canceled);
    let reason = world.status("away").cancellation.expect("a reason").reason;
    assert_eq!(
        reason,
        "deletion was issued on 'demo', which also deletes 'np1'"
    );
    world.settle();
    assert!(world.is_gone());
}

#[test]
fn a_cluster_in_a_terminating_namespace_is_deleted_without_an_operation() {
    for mut world in [World::settled(), blocked_upgrade().0, failed_upgrade().0] {
        world.delete_namespace().settle();
        assert!(world.is_gone());
        assert_eq!(world.snapshot().observed.nodes["np1"].len(), 0);
        assert_eq!(world.snapshot().observed.control_plane, None);
        assert_eq!(world.pools().count() + world.operations().count(), 0);
    }
}

#[test]
fn a_deletion_without_an_operation_continues_after_a_crash_and_a_failure() {
    let mut world = World::settled();
    world.delete_namespace();
    for _ in 0..3 {
        world.stride();
    }
    assert!(world.is_working());
    world.restart().stride().fail().settle();
    assert!(world.is_gone());
}

#[test]
fn a_failed_delete_continues_if_the_namespace_is_deleted() {
    let mut world = World::settled();
    world.delete(&ObjectId::Cluster);
    let delete = world.begin(Delete);
    world.fail().settle();
    assert_eq!(world.phase(&delete), Failed);
    world.delete_namespace().settle();
    assert!(world.is_gone());
}

#[test]
fn a_waiting_operation_holds_no_lock_after_the_pool_it_waited_for_is_gone() {
    let mut world = World::settled().with_pool("np2", 1).at_rest();
    world.guard("np1").set_count("np1", 1);
    world.begin(Scale);
    world.ask("mine", Reconcile, &cluster()).stride();
    world.delete_by_force(&np1()).unguard().settle();
    assert_eq!(world.lock(), Vec::<String>::new());
    assert_eq!(world.versions("np2"), [OLD]);
    world.set_version(NEW);
    world.begin(Upgrade);
    world.settle();
    assert_eq!(world.versions("np2"), [NEW]);
}

#[test]
fn nodes_of_a_force_deleted_pool_are_reported_and_deleted_with_the_cluster() {
    let mut world = World::settled().with_pool("np2", 1).at_rest();
    world.delete_by_force(&np1()).settle();
    assert_eq!(world.snapshot().observed.nodes["np1"].len(), 2);
    let conditions = world.cluster_status().conditions;
    let ready = conditions.iter().find(|found| found.type_ == "Ready");
    let message = &ready.expect("a condition").message;
    assert!(message.contains("2 of AgentPool np1"), "{message}");
    world
        .delete(&ObjectId::Pool("np2".into()))
        .delete(&ObjectId::Cluster)
        .settle();
    assert!(world.is_gone());
    assert!(world.snapshot().observed.nodes["np1"].is_empty());
}

#[test]
fn a_cluster_is_kept_while_an_unreadable_pool_may_belong_to_it() {
    let mut world = World::settled();
    world.delete(&np1()).settle();
    world.delete(&ObjectId::Cluster);
    world.begin(Delete);
    for _ in 0..9 {
        let mut snapshot = world.snapshot();
        snapshot.has_unreadable_pools = true;
        let let_go = Action::RemoveFinalizer(ObjectId::Cluster);
        assert!(!decide(&snapshot, world.now()).contains(&let_go));
        if world.is_gone() {
            return;
        }
        world.work().stride();
    }
    panic!("it never goes, though all can be read");
}

#[test]
fn a_pool_status_of_a_lock_that_was_never_taken_refuses_nothing() {
    let mut world = World::settled();
    world.ask("one", Stop, &pool("np1"));
    world.ask("other", Stop, &pool("np1"));
    while world.lock().is_empty() {
        world.stride();
    }
    let shown = world.pool_status("np1").power_state.map(|power| power.code);
    assert_eq!(shown, Some(PowerState::Stopped));
    world.lose_lock().settle();
    let phases = [world.phase("one"), world.phase("other")];
    assert!(phases.contains(&Succeeded), "{phases:?}");
    assert!(phases.contains(&Failed), "{phases:?}");
}

#[test]
fn a_pools_status_is_written_after_the_lock_is_taken_and_before_it_is_released() {
    let mut world = World::settled();
    let pool_comes = |world: &World| {
        let decided = world.decide();
        let lock = decided.place(|action| matches!(action, Action::WriteClusterStatus(_)));
        let shown = decided.place(|action| matches!(action, Action::WritePoolStatus { .. }));
        shown.cmp(&lock)
    };
    world.set_count("np1", 3);
    world.until(Scale, Pending);
    assert_eq!(pool_comes(&world), Ordering::Greater);
    world.begin(Scale);
    world.finish();
    assert_eq!(pool_comes(&world), Ordering::Less);
}

#[test]
fn an_operation_that_started_before_the_lock_was_written_does_not_count_as_an_edit() {
    let mut world = World::settled();
    world.ask_for_count("more", 3, &pool("np1"));
    while world.phase("more") != InProgress {
        let mut pass = world.pass();
        // The operator crashes after it writes that the Operation runs, and before the lock shows it.
        while world.phase("more") != InProgress && world.act(&mut pass).is_some() {}
    }
    world.restart().settle();
    let last = world
        .pool_status("np1")
        .last_operation
        .expect("the last operation");
    assert_eq!(last.name, "more");
    assert_eq!(world.phase("more"), Succeeded);
}

#[test]
fn a_cluster_operation_creates_no_node_for_a_deleted_pool_after_a_crash_at_any_action() {
    for actions in 0..8 {
        let mut world = World::settled();
        world.set_policy(ConcurrencyPolicy::Queue);
        world.delete(&np1());
        let delete = world.begin(Delete);
        world.ask("all", Reconcile, &cluster());
        while world.phase(&delete) != Succeeded {
            world.work().stride();
        }
        let mut pass = world.pass();
        for _ in 0..actions {
            world.act(&mut pass);
        }
        world.restart().settle();
        assert_eq!(world.phase("all"), Succeeded, "after {actions} actions");
        let left = world.nodes_of_no_pool();
        assert!(left.is_empty(), "after {actions} actions: {left:?}");
        assert!(!world.exists(&np1()), "after {actions} actions");
    }
}
