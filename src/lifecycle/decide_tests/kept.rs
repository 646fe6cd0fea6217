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
fn a_node_that_comes_after_its_operation_has_ended_goes_and_begins_none() {
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
fn one_busy_pool_pushes_out_no_other_history() {
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
fn what_never_ran_pushes_out_nothing_that_did() {
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
fn those_that_ended_first_go_first_whatever_they_are_called() {
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
fn what_is_over_the_limit_goes_before_anything_is_created() {
    let mut world = World::settled();
    world.edit_cluster(&json!({"operationHistoryLimit": 0}));
    world.set_count("np1", 3);
    let decided = world.decide();
    let deletes = decided.place(|action| matches!(action, Action::DeleteOperation(_)));
    let creates = decided.place(|action| matches!(action, Action::CreateOperation(_)));
    assert!(deletes.is_some() && deletes < creates, "{decided:#?}");
}

#[test]
fn an_operation_that_a_tool_applies_is_not_deleted_for_the_tool_would_make_it_again() {
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
fn what_a_backup_brings_back_is_not_run_again() {
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
fn a_deletion_that_a_backup_brings_back_deletes_nothing() {
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
fn a_status_that_is_lost_makes_nothing_anew() {
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
fn a_status_that_is_lost_in_the_middle_of_an_operation_gives_the_lock_back_to_it() {
    let (mut world, upgrade) = blocked_upgrade();
    world.lose_statuses().ask("other", Reconcile, &pool("np1"));
    world.stride().stride();
    assert_eq!(world.lock(), [upgrade.as_str()]);
    world.unguard().settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn an_operation_of_a_cluster_that_has_nothing_yet_is_a_create_and_no_other() {
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
fn a_pool_whose_cluster_goes_says_that_it_goes_with_it() {
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
fn where_nothing_can_be_created_a_cluster_is_deleted_without_an_operation() {
    for mut world in [World::settled(), blocked_upgrade().0, failed_upgrade().0] {
        world.delete_namespace().settle();
        assert!(world.is_gone());
        assert_eq!(world.snapshot().observed.nodes["np1"].len(), 0);
        assert_eq!(world.snapshot().observed.control_plane, None);
        assert_eq!(world.pools().count() + world.operations().count(), 0);
    }
}

#[test]
fn a_deletion_without_an_operation_goes_on_after_a_crash_and_after_a_failure() {
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
fn a_delete_that_failed_is_gone_on_with_where_the_namespace_goes() {
    let mut world = World::settled();
    world.delete(&ObjectId::Cluster);
    let delete = world.begin(Delete);
    world.fail().settle();
    assert_eq!(world.phase(&delete), Failed);
    world.delete_namespace().settle();
    assert!(world.is_gone());
}

#[test]
fn an_operation_that_waits_for_a_pool_which_is_gone_holds_nothing() {
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
fn nodes_whose_pool_was_removed_by_force_are_reported_and_go_with_the_cluster() {
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
fn a_cluster_stays_while_a_pool_that_can_not_be_read_may_be_its_own() {
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
fn what_a_pool_shows_of_a_lock_that_was_never_taken_refuses_nothing() {
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
fn a_pool_shows_what_takes_the_lock_after_the_lock_and_keeps_what_ended_before_it() {
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
fn what_began_before_the_lock_was_written_is_no_edit_of_the_spec_when_it_ends() {
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
fn an_operation_on_the_cluster_makes_no_node_of_a_pool_that_is_deleted_wherever_a_crash_comes() {
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
