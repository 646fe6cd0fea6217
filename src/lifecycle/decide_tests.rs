//! Rules about where operations come from, and about single operations, one test for each.

mod abort;
mod aspects;
mod autoscaled;
mod engine;
mod force;
mod hold;
mod identity;
mod kept;
mod moments;
mod preflight;
mod queue;
mod refused_aborts;
mod reported;
mod skew;
mod timeout;
mod undrainable;
mod windows;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{
    ConcurrencyPolicy,
    OperationPhase::{Canceled, Failed, InProgress, Pending, Succeeded},
    OperationTarget,
    OperationType::{self, Create, Delete, Reconcile, Rollback, Scale, Start, Upgrade},
    ProvisioningState,
};

use super::{
    action::Action,
    fixtures::{NEW, OLD, World, cluster, pool},
    snapshot::{ObjectId, Stop},
};

fn np1() -> ObjectId {
    ObjectId::Pool("np1".into())
}

/// Returns a world with an upgrade that a disruption budget blocks, and its Operation's name.
fn blocked_upgrade() -> (World, String) {
    let mut world = World::settled();
    world.guard("np1").set_version(NEW);
    let upgrade = world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    assert_eq!(world.cordoned("np1"), 1, "a drain goes on");
    (world, upgrade)
}

/// Returns a world with an upgrade whose work met an error, and its Operation's name.
fn failed_upgrade() -> (World, String) {
    let (mut world, upgrade) = blocked_upgrade();
    world.fail().settle().unguard();
    assert_eq!(world.phase(&upgrade), Failed);
    (world, upgrade)
}

#[test]
fn a_cluster_that_matches_its_spec_needs_no_action() {
    let world = World::settled();
    assert!(world.decide().0.is_empty(), "{:#?}", world.decide());
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    assert!(world.lock().is_empty());
}

type Change = fn(&mut World) -> &mut World;

#[test]
fn each_difference_from_a_spec_creates_the_matching_operation() {
    let settled: Change = |world| world;
    let newer: Change = |world| world.set_version(NEW).settle();
    let left_behind: Change = |world| {
        let world = world.set_pool_version("np1", Some(OLD));
        world.set_version(NEW).settle()
    };
    let table: [(Change, Change, _, OperationTarget); 10] = [
        (settled, |world| world.set_version(NEW), Upgrade, cluster()),
        (newer, |world| world.set_version(OLD), Rollback, cluster()),
        (settled, World::lose_control_plane, Reconcile, cluster()),
        (
            settled,
            |world| world.delete(&ObjectId::Cluster),
            Delete,
            cluster(),
        ),
        (
            settled,
            |world| world.set_count("np1", 3),
            Scale,
            pool("np1"),
        ),
        (
            settled,
            |world| world.create_pool("np2", 1),
            Create,
            pool("np2"),
        ),
        (
            settled,
            |world| world.lose_node("np1"),
            Reconcile,
            pool("np1"),
        ),
        (settled, |world| world.delete(&np1()), Delete, pool("np1")),
        (
            newer,
            |world| world.set_pool_version("np1", Some(OLD)),
            Rollback,
            pool("np1"),
        ),
        (
            left_behind,
            |world| world.set_pool_version("np1", Some(NEW)),
            Upgrade,
            pool("np1"),
        ),
    ];
    for (before, change, type_, target) in table {
        let mut world = World::settled();
        change(before(&mut world));
        assert_eq!(world.decide().created(), [(type_, &target)]);
        world.begin(type_);
        world.settle();
        assert!(world.unfinished().is_empty(), "{type_:?} {target:?} ends");
    }
}

#[test]
fn a_pool_is_created_only_when_its_cluster_has_a_control_plane() {
    let mut world = World::new().with_pool("np1", 2);
    assert_eq!(world.decide().created(), [(Create, &cluster())]);
    let create = world.begin(Create);
    assert!(world.decide().created().is_empty(), "the pool waits");
    world.work().work().stride();
    assert_eq!(world.phase(&create), Succeeded);
    assert_eq!(world.decide().created(), [(Create, &pool("np1"))]);
}

#[test]
fn a_pool_is_not_upgraded_beyond_its_control_plane() {
    let mut world = World::settled();
    world.set_pool_version("np1", Some("1.99.0")).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
}

#[test]
fn an_operation_on_a_cluster_waits_for_operations_on_its_pools() {
    let mut world = World::settled();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.set_version(NEW).stride().stride();
    assert_eq!(world.lock(), [scale.as_str()]);
    assert_eq!(world.unfinished(), [scale.as_str()]);
    world.settle();
    assert_eq!(world.versions("np1"), [NEW, NEW, NEW]);
}

#[test]
fn operations_on_different_pools_run_side_by_side() {
    let mut world = World::settled().with_pool("np2", 1).at_rest();
    world.set_count("np1", 3).set_count("np2", 2);
    world.stride().stride().stride();
    assert_eq!(world.lock().len(), 2);
    assert_eq!(world.working().count(), 2);
}

#[test]
fn an_operation_requested_during_another_one_is_refused() {
    let (mut world, upgrade) = blocked_upgrade();
    world.ask("mine", Reconcile, &pool("np1")).stride();
    let status = world.status("mine");
    assert_eq!(status.phase, Failed);
    let error = status.error.expect("an error");
    assert_eq!(error.code, "OperationNotAllowed");
    let expected = format!("Another operation ({upgrade}) is in progress");
    assert!(error.message.contains(&expected), "{}", error.message);
}

#[test]
fn a_requested_operation_is_written_into_the_spec_before_it_runs() {
    let mut world = World::settled();
    world.ask_for_version("up", NEW, &cluster()).stride();
    let decided = world.stride().decide();
    let changes = |action: &Action| matches!(action, Action::ChangeSpec { .. });
    assert!(decided.place(changes).is_some() && decided.starts().is_empty());
    assert_eq!(world.stride().wanted_version(), NEW);
    assert_eq!(world.at_rest().versions("np1"), [NEW, NEW]);
}

#[test]
fn a_requested_operation_creates_no_second_one_with_any_policy() {
    for policy in [
        ConcurrencyPolicy::Forbid,
        ConcurrencyPolicy::Queue,
        ConcurrencyPolicy::Replace,
    ] {
        let mut world = World::settled();
        world.set_policy(policy).settle();
        let before = world.operations().count();
        world.ask_for_count("more", 5, &pool("np1")).settle();
        world.ask("off", OperationType::Stop, &cluster()).settle();
        assert_eq!(world.phase("more"), Succeeded, "{policy:?}");
        assert_eq!(world.phase("off"), Succeeded, "{policy:?}");
        assert_eq!(world.operations().count(), before + 2, "{policy:?}");
    }
}

#[test]
fn an_impossible_operation_fails_and_changes_no_spec() {
    let mut world = World::settled();
    world.ask_for_version("too far", "1.39.0", &cluster());
    world.ask_to_go_back("back to what is newer", NEW, &cluster());
    world.ask_for_count("as it is", 2, &pool("np1"));
    world.ask("start what runs", Start, &cluster());
    world.ask("make what is there", Create, &pool("np1"));
    world.ask("on nothing", Reconcile, &pool("np9")).stride();
    for (name, code) in [
        ("too far", "InvalidParameter"),
        ("back to what is newer", "InvalidParameter"),
        ("as it is", "OperationNotAllowed"),
        ("start what runs", "OperationNotAllowed"),
        ("make what is there", "OperationNotAllowed"),
        ("on nothing", "NotFound"),
    ] {
        let error = world.status(name).error.expect("an error");
        assert_eq!(
            (world.phase(name), error.code.as_str()),
            (Failed, code),
            "{name}"
        );
    }
    assert_eq!(world.wanted_version(), OLD);
    let settled = world.at_rest().pool_status("np1");
    assert_eq!(
        settled.provisioning_state,
        Some(ProvisioningState::Succeeded)
    );
}

#[test]
fn no_work_begins_before_the_lock_is_written() {
    let mut world = World::settled();
    world.set_version(NEW).stride();
    assert_eq!(world.phase(&world.unfinished()[0]), Pending);
    let taking = world.decide();
    let takes = |action: &Action| matches!(action, Action::WriteClusterStatus(status) if !status.operations.is_empty());
    assert!(taking.place(takes).is_some() && taking.starts().is_empty());
    let begins = world.stride().decide();
    assert_eq!(
        (begins.phases(), begins.starts()),
        (vec![InProgress], vec![Stop::No])
    );
    let written = begins.place(|action| matches!(action, Action::WriteOperationStatus { .. }));
    let started = begins.place(|action| matches!(action, Action::StartWork { .. }));
    assert!(written < started, "{begins:#?}");
}

type End = for<'a> fn(&'a mut World, &str) -> &'a mut World;

#[test]
fn the_lock_is_free_when_its_holder_has_ended_or_was_deleted() {
    let ends: [End; 4] = [
        |world, _| world.unguard().settle(),
        |world, _| world.fail().settle(),
        |world, upgrade| world.abort(upgrade, "stop").settle(),
        |world, upgrade| {
            let operation = ObjectId::Operation(upgrade.into());
            // Belay first asks the API server.
            world.delete_by_force(&operation).stride().stride()
        },
    ];
    for end in ends {
        let (mut world, upgrade) = blocked_upgrade();
        assert_eq!(world.lock(), [upgrade.as_str()]);
        end(&mut world, &upgrade);
        assert!(!world.lock().contains(&upgrade));
    }
}

#[test]
fn an_operation_that_the_spec_no_longer_needs_is_replaced_before_it_starts() {
    let mut world = World::settled();
    world.set_version("1.36.4").stride().set_version(NEW);
    let first = world.unfinished().remove(0);
    world.settle();
    assert_eq!(world.phase(&first), Canceled);
    assert_eq!(world.versions("np1"), [NEW, NEW], "and holds nothing back");
}

#[test]
fn work_lost_in_a_restart_is_started_again() {
    let (mut world, upgrade) = blocked_upgrade();
    world.restart();
    assert_eq!(world.decide().starts(), [Stop::No]);
    world.stride().unguard().settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn an_impossible_version_in_the_spec_fails_once_and_is_not_retried() {
    let mut world = World::settled();
    world.set_version("1.39.0").settle();
    let last = world.cluster_status().last_operation.expect("an operation");
    assert_eq!(last.phase, Failed);
    assert!(
        last.message.contains("one minor version at a time"),
        "{}",
        last.message
    );
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    world.set_version(NEW).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn if_all_system_pools_are_deleted_one_stays_until_there_is_another() {
    let pool_id = |name: &str| ObjectId::Pool(name.into());
    let mut world = World::settled().with_pool("sys1", 1).with_pool("sys2", 1);
    world.make_system("sys1").make_system("sys2").settle();
    world
        .delete(&pool_id("sys1"))
        .delete(&pool_id("sys2"))
        .settle();
    assert_eq!(world.pools().collect::<Vec<_>>(), ["np1", "sys2"]);
    assert_eq!(world.versions("sys2"), [OLD], "its node is there");
    let conditions = world.pool_status("sys2").conditions;
    let is_reported = |condition: &Condition| {
        condition
            .message
            .starts_with("AgentPool sys2 is the last System pool")
    };
    assert!(conditions.iter().any(is_reported), "{conditions:?}");
    world.create_pool("sys3", 1).make_system("sys3").settle();
    assert_eq!(world.pools().collect::<Vec<_>>(), ["np1", "sys3"]);
    // The last one may be deleted together with its cluster.
    world.delete(&pool_id("sys3")).settle();
    world.delete(&ObjectId::Cluster).settle();
    assert!(world.is_gone());
}
