//! Changes of a version that a spec asks for wait for a maintenance window; everything else goes on.

mod ends;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{
        ConcurrencyPolicy,
        OperationPhase::{Canceled, InProgress, Pending, Succeeded},
        OperationType::{Reconcile, Rollback, Scale, Start, Stop, Update, Upgrade},
        PowerState,
    },
    lifecycle::{
        due_at,
        fixtures::{NEW, OLD, World, cluster, condition, pool},
    },
};

const HOUR: i64 = 3600;
/// The moment at which the window of these tests opens for the first time.
const OPENING: &str = "2026-01-01T22:00:00Z";
const WAITS: &str = "waits for the window that opens at 2026-01-01T22:00:00Z";

fn nightly(at_end: &str) -> Value {
    json!({"maintenanceWindows": [{"start": "22:00", "duration": "2h", "atEnd": at_end}]})
}

/// Returns a settled world at midnight, with a window from 22:00 to 24:00.
fn with_window() -> World {
    let mut world = World::settled();
    world.edit_cluster(&nightly("Continue")).settle();
    world
}

/// Lets time pass until that moment.
fn go_to<'w>(world: &'w mut World, moment: &str) -> &'w mut World {
    let moment: Timestamp = moment.parse().expect("a time");
    let seconds = moment.duration_since(world.now()).as_secs();
    assert!(seconds >= 0, "it is later already");
    world.wait(seconds)
}

fn only_unfinished(world: &World) -> String {
    let unfinished = world.unfinished();
    assert_eq!(unfinished.len(), 1, "{unfinished:?}");
    unfinished[0].clone()
}

fn ready(world: &World) -> (String, String, String) {
    let conditions = world.cluster_status().conditions;
    let message = conditions.iter().find(|it| it.type_ == "Ready");
    let message = message.map(|it| it.message.clone()).unwrap_or_default();
    let (status, reason) = condition(&conditions, "Ready");
    (status.into(), reason.into(), message)
}

/// Returns a cluster whose pool np1 has a version of its own, and the Operation that waits to upgrade the pool.
fn pool_waits() -> (World, String) {
    let mut world = World::settled();
    world
        .set_pool_version("np1", Some(OLD))
        .set_version(NEW)
        .settle();
    world.edit_cluster(&nightly("Continue")).settle();
    world.set_pool_version("np1", Some(NEW)).settle();
    let upgrade = only_unfinished(&world);
    (world, upgrade)
}

#[test]
fn a_new_version_in_a_spec_waits_for_the_window_without_the_lock() {
    let mut world = with_window();
    world.set_version(NEW).settle();
    let upgrade = only_unfinished(&world);
    let status = world.status(&upgrade);
    assert_eq!(status.phase, Pending);
    let (reconciling, reason) = condition(&status.conditions, "Reconciling");
    assert_eq!((reconciling, reason), ("True", "WaitsForWindow"));
    assert_eq!(status.conditions[0].message, WAITS);
    assert!(world.lock().is_empty());
    go_to(&mut world, "2026-01-01T21:59:59Z");
    assert!(world.decide().0.is_empty(), "one second is left");
    go_to(&mut world, OPENING).settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn a_cluster_whose_change_waits_is_ready_and_says_what_waits() {
    let mut world = with_window();
    world.set_version(NEW).settle();
    let (status, reason, message) = ready(&world);
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "WaitsForWindow")
    );
    assert_eq!(
        message,
        format!("the control plane runs {OLD}; the change to {NEW} {WAITS}")
    );
    let conditions = world.cluster_status().conditions;
    assert_eq!(condition(&conditions, "Reconciling").0, "False");
    assert_eq!(condition(&conditions, "Stalled").0, "False");
}

#[test]
fn a_rollback_and_the_upgrade_of_a_pool_wait_too() {
    let (mut world, upgrade) = pool_waits();
    assert_eq!(
        (world.spec(&upgrade).type_, world.phase(&upgrade)),
        (Upgrade, Pending)
    );
    let conditions = world.pool_status("np1").conditions;
    assert_eq!(condition(&conditions, "Ready"), ("True", "WaitsForWindow"));
    world
        .set_pool_version("np1", Some(OLD))
        .set_version(OLD)
        .settle();
    let rollback = only_unfinished(&world);
    assert_eq!(
        (world.spec(&rollback).type_, world.phase(&rollback)),
        (Rollback, Pending)
    );
    world.wait(22 * HOUR).settle();
    assert_eq!(world.phase(&rollback), Succeeded);
}

#[test]
fn changes_that_replace_no_node_do_not_wait() {
    type Change = fn(&mut World) -> &mut World;
    let table: [(Change, _); 6] = [
        (|world| world.set_count("np1", 3), Scale),
        (|world| world.set_label("np1", "gold"), Update),
        (
            |world| world.set_pool_power("np1", PowerState::Stopped),
            Stop,
        ),
        (|world| world.set_power(PowerState::Stopped), Stop),
        (|world| world.lose_node("np1"), Scale),
        (World::lose_control_plane, Reconcile),
    ];
    for (change, type_) in table {
        let mut world = with_window();
        // Beside each of them, a change of the version waits.
        world.set_version(NEW).settle();
        let waiting = only_unfinished(&world);
        change(&mut world).settle();
        let ended: Vec<_> = world
            .operations()
            .filter(|it| world.phase(it) == Succeeded)
            .collect();
        let types: Vec<_> = ended.iter().map(|it| world.spec(it).type_).collect();
        assert!(
            types.contains(&type_) || types.contains(&Reconcile),
            "{type_:?}: {types:?}"
        );
        assert!(
            world.versions("np1").iter().all(|runs| runs == OLD),
            "{type_:?} replaces no node"
        );
        if type_ != Reconcile {
            assert_eq!(world.phase(&waiting), Pending, "{type_:?}");
        }
    }
}

#[test]
fn a_pool_is_scaled_while_its_own_new_version_waits() {
    let (mut world, upgrade) = pool_waits();
    for count in [3, 4] {
        world.set_count("np1", count).settle();
    }
    assert_eq!(world.phase(&upgrade), Pending, "the same Operation waits");
    let versions = world.versions("np1");
    assert_eq!(
        versions.iter().filter(|runs| *runs == OLD).count(),
        2,
        "no node was replaced"
    );
    assert_eq!(versions.len(), 4);
    world.wait(22 * HOUR).settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
    assert_eq!(world.versions("np1"), [NEW; 4]);
}

#[test]
fn a_start_outside_a_window_leaves_the_version_to_the_window() {
    let mut world = with_window();
    world.set_power(PowerState::Stopped).settle();
    world
        .set_version(NEW)
        .set_power(PowerState::Running)
        .settle();
    let start = world.operations().find(|it| world.spec(it).type_ == Start);
    assert_eq!(world.phase(&start.expect("a Start")), Succeeded);
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    world.wait(22 * HOUR).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn a_new_cluster_and_a_new_pool_are_made_at_once() {
    let mut world = World::new().with_pool("np1", 2);
    world.edit_cluster(&nightly("Continue")).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    world.create_pool("np2", 1).settle();
    assert_eq!(world.versions("np2"), [OLD]);
}

#[test]
fn what_a_person_asks_for_runs_at_once_and_is_not_paused() {
    let mut world = World::settled();
    world.edit_cluster(&nightly("Pause")).settle();
    world.set_version(NEW).settle();
    let waiting = only_unfinished(&world);
    world.ask_for_version("now", NEW, &cluster()).settle();
    assert_eq!(world.phase("now"), Succeeded);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
    assert_eq!(world.phase(&waiting), Canceled, "nothing is left to do");
    // A Reconcile brings everything to its spec, the version too.
    world.set_version("1.36.4").settle();
    world.ask("all", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1"), ["1.36.4", "1.36.4"]);
    // It isn't paused when a window closes.
    world.guard("np1").ask_to_go_back("back", NEW, &cluster());
    world.stride();
    world.wait(24 * HOUR);
    for _ in 0..6 {
        world.work().stride();
    }
    assert_eq!(world.phase("back"), InProgress);
}

#[test]
fn a_persons_scale_outside_a_window_replaces_no_node() {
    let mut world = with_window();
    world.set_version(NEW).settle();
    world.ask_for_count("more", 3, &pool("np1")).settle();
    assert_eq!(world.phase("more"), Succeeded);
    assert_eq!(world.versions("np1"), [OLD, OLD, OLD]);
}

#[test]
fn the_newest_version_waits_and_the_old_one_leaves_nothing_to_wait_for() {
    let mut world = with_window();
    world.set_version(NEW).settle();
    let first = only_unfinished(&world);
    world.set_version("1.36.4").settle();
    let second = only_unfinished(&world);
    assert_ne!(first, second);
    assert_eq!(world.phase(&first), Canceled);
    world.set_version(OLD).settle();
    assert_eq!(world.phase(&second), Canceled);
    assert!(world.unfinished().is_empty());
    let (status, reason, _) = ready(&world);
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Succeeded"));
}

#[test]
fn an_abort_of_what_waits_is_not_undone_by_a_window() {
    let mut world = with_window();
    world.set_version(NEW).settle();
    let upgrade = only_unfinished(&world);
    world.abort(&upgrade, "never").settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    world.wait(22 * HOUR).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    let conditions = world.cluster_status().conditions;
    assert_eq!(
        condition(&conditions, "Stalled"),
        ("True", "OperationCanceled")
    );
}

#[test]
fn in_a_queue_what_waits_for_a_window_neither_replaces_nor_is_replaced() {
    for policy in [ConcurrencyPolicy::Queue, ConcurrencyPolicy::Replace] {
        let mut world = World::settled().with_pool("np2", 1).at_rest();
        world.edit_cluster(&nightly("Continue"));
        world.set_policy(policy).settle();
        world.set_version(NEW).settle();
        let upgrade = only_unfinished(&world);
        world.ask_for_count("first", 3, &pool("np1"));
        world.stride().stride();
        world.ask_for_count("second", 2, &pool("np2")).settle();
        assert_eq!(world.phase("first"), Succeeded, "{policy:?}");
        assert_eq!(world.phase("second"), Succeeded, "{policy:?}");
        assert_eq!(world.phase(&upgrade), Pending, "{policy:?}");
    }
}

#[test]
fn when_a_window_opens_what_waited_does_not_abort_newer_operations() {
    let mut world = with_window();
    world.set_policy(ConcurrencyPolicy::Replace).settle();
    world.set_version(NEW).settle();
    let upgrade = only_unfinished(&world);
    world.stall(true).ask_for_count("more", 3, &pool("np1"));
    for _ in 0..4 {
        world.stride();
    }
    assert_eq!(world.phase("more"), InProgress);
    world.wait(22 * HOUR).stride().stride();
    assert_eq!(world.phase("more"), InProgress);
    assert_eq!(world.phase(&upgrade), Pending);
    world.stall(false).settle();
    assert_eq!(world.phase("more"), Succeeded);
    assert_eq!(world.versions("np1"), [NEW; 3]);
}

#[test]
fn an_operation_that_did_not_begin_in_time_gives_the_lock_back() {
    let mut world = with_window();
    world.wait(22 * HOUR);
    let upgrade = world.set_version(NEW).until(Upgrade, Pending);
    while !world.lock().contains(&upgrade) {
        world.stride();
    }
    assert_eq!(world.phase(&upgrade), Pending);
    // The operator was away until the window had closed.
    world.wait(3 * HOUR).restart().settle();
    assert_eq!(world.phase(&upgrade), Pending);
    assert!(world.lock().is_empty());
    assert_eq!(world.versions("np1"), [OLD, OLD]);
}

#[test]
fn after_an_aborted_rollback_the_pools_converge_in_a_window() {
    let mut world = World::settled();
    world.set_version(NEW).settle();
    world.edit_cluster(&nightly("Continue")).settle();
    world.ask_to_go_back("back", OLD, &cluster());
    world.begin(Rollback);
    for _ in 0..6 {
        world.work().stride();
    }
    world.abort("back", "stop").settle();
    let mixed = world.versions("np1");
    assert_ne!(mixed, [NEW, NEW], "nodes went back");
    let waiting = only_unfinished(&world);
    assert_eq!(world.spec(&waiting).target, pool("np1"));
    assert_eq!(world.phase(&waiting), Pending);
    world.wait(22 * HOUR).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn the_wait_does_not_count_as_the_operations_time() {
    let mut world = World::settled();
    let mut spec = nightly("Continue");
    spec["operationTimeout"] = json!("1h");
    world.edit_cluster(&spec).settle();
    world.set_version(NEW).settle();
    let upgrade = only_unfinished(&world);
    world.wait(22 * HOUR).settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
}

#[test]
fn a_window_whose_time_zone_is_unknown_lets_nothing_begin_and_is_named() {
    let mut world = World::settled();
    world.edit_cluster(&json!({"maintenanceWindows": [
        {"start": "00:00", "duration": "24h", "timeZone": "Europe/Berln"},
    ]}));
    world.settle();
    let conditions = world.cluster_status().conditions;
    assert_eq!(
        condition(&conditions, "Stalled"),
        ("True", "InvalidMaintenanceWindow")
    );
    let (_, _, message) = ready(&world);
    assert!(
        message.contains("timeZone of the ManagedCluster is \"Europe/Berln\""),
        "{message}"
    );
    world.set_version(NEW).settle();
    assert_eq!(world.phase(&only_unfinished(&world)), Pending);
    assert!(world.lock().is_empty());
    assert_eq!(due_at(&world.snapshot(), world.now()), None);
    world.set_count("np1", 3).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD, OLD]);
    world.edit_cluster(&nightly("Continue")).settle();
    assert_eq!(
        condition(&world.cluster_status().conditions, "Stalled").0,
        "False"
    );
}

#[test]
fn the_controller_learns_when_the_next_window_opens_or_closes() {
    let world = with_window();
    let due = |world: &World| due_at(&world.snapshot(), world.now()).map(|at| at.to_string());
    assert_eq!(due(&world).as_deref(), Some(OPENING));
    let mut world = world;
    world.wait(22 * HOUR).settle();
    assert_eq!(due(&world).as_deref(), Some("2026-01-02T00:00:00Z"));
}
