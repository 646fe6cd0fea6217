//! Changes that wait: the newest wins, whether it came by a spec or by an Operation, and nothing is lost.

use serde_json::json;

use crate::{
    api::{
        ConcurrencyPolicy::{Forbid, Queue},
        OperationPhase::{Canceled, Failed, Pending, Succeeded},
        OperationType::{self, Delete, Reconcile, Scale, Stop, Update, Upgrade},
        TargetKind,
    },
    lifecycle::{
        fixtures::{NEW, World, cluster, condition, pool},
        observed::NodeView,
        plan::PoolGoal,
        rules::Rules,
        snapshot::ObjectId,
    },
};

/// Returns a world whose upgrade is blocked by a disruption budget while changes wait in a queue.
fn hanging() -> World {
    let mut world = World::settled();
    world.set_policy(Queue).settle();
    world.guard("np1").set_version(NEW);
    world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    world
}

fn reason(world: &World, operation: &str) -> String {
    let cancellation = world.status(operation).cancellation;
    cancellation.expect("a cancellation").reason
}

/// Returns the name of the Operation that waits.
fn made(world: &World) -> String {
    let mut waiting = world.unfinished().into_iter();
    let name = waiting.find(|name| world.phase(name) == Pending);
    name.expect("an Operation that waits")
}

#[test]
fn a_spec_change_replaced_by_an_operation_is_made_if_that_operation_fails() {
    let mut world = hanging();
    world.set_count("np1", 4).stride();
    let first = made(&world);
    world.stride().ask_for_count("mine", 6, &pool("np1"));
    world.stride();
    assert_eq!(world.phase(&first), Canceled);
    assert_eq!(
        reason(&world, &first),
        "replaced by Operation mine: only the newest waiting change is kept"
    );
    world.refuse_specs(true).unguard().settle();
    assert_eq!(world.phase("mine"), Failed);
    assert_eq!(
        world.versions("np1"),
        [NEW; 4],
        "what the spec asks for is made"
    );
    let scales = world.operations().filter(|name| name.contains("scale"));
    assert_eq!(scales.count(), 2);
}

#[test]
fn a_spec_edit_made_after_an_operation_was_requested_is_not_overwritten() {
    let mut world = hanging();
    world.ask_for_count("mine", 5, &pool("np1")).stride();
    world.stride().set_count("np1", 7).unguard().settle();
    assert_eq!(world.phase("mine"), Canceled);
    assert_eq!(
        reason(&world, "mine"),
        "replaced: the spec was changed after this Operation was created"
    );
    assert_eq!(world.versions("np1"), [NEW; 7]);
}

#[test]
fn with_forbid_a_later_edit_of_the_same_field_replaces_a_pending_operation() {
    for passes in 0..2 {
        let mut world = World::settled();
        world.set_policy(Forbid).settle();
        world.ask_for_count("mine", 5, &pool("np1")).stride();
        for _ in 0..passes {
            // It holds the lock now, and the edit was admitted before that.
            let mut pass = world.pass();
            world.act(&mut pass);
        }
        world.set_count("np1", 7).settle();
        assert_eq!(world.versions("np1").len(), 7, "after {passes} passes");
    }
}

#[test]
fn with_forbid_an_edit_of_another_field_replaces_no_operation() {
    let mut world = World::settled();
    world.ask_for_count("mine", 5, &pool("np1")).stride();
    world.set_label("np1", "gold").settle();
    assert_eq!(world.phase("mine"), Succeeded);
    assert_eq!(world.versions("np1").len(), 5);
}

#[test]
fn a_replaced_operation_is_requested_again_if_the_newer_one_is_impossible() {
    let mut world = hanging();
    world.ask_for_count("first", 5, &pool("np1")).stride();
    world.wait(1).ask_for_count("second", 6, &pool("np1"));
    world.stride().stride();
    assert_eq!(world.phase("first"), Canceled);
    world.refuse_specs(true).unguard();
    world.until(Upgrade, Succeeded);
    for _ in 0..20 {
        if world.phase("second") == Failed {
            break;
        }
        world.stride().work();
    }
    assert_eq!(world.phase("second"), Failed);
    let again = world
        .operations()
        .find(|name| name.starts_with("first-"))
        .expect("the first is asked for again");
    world.refuse_specs(false).settle();
    assert_eq!(world.phase(&again), Succeeded);
    assert_eq!(world.versions("np1"), [NEW; 5]);
}

#[test]
fn an_impossible_operation_replaces_nothing() {
    let mut world = hanging();
    world.ask_for_version("mine", "1.36.4", &cluster()).stride();
    world.ask_for_version("too-far", "1.39.0", &cluster());
    world.stride().stride();
    assert_eq!(
        (world.phase("mine"), world.phase("too-far")),
        (Pending, Failed)
    );
    world.unguard().settle();
    assert_eq!(world.versions("np1"), ["1.36.4", "1.36.4"]);
}

#[test]
fn of_two_operations_of_the_same_second_the_later_one_counts_as_newer() {
    let mut world = hanging();
    // Sorted by name, the order would be the opposite.
    world.ask_for_count("z", 5, &pool("np1"));
    world.ask_for_count("a", 6, &pool("np1")).stride();
    assert_eq!((world.phase("z"), world.phase("a")), (Canceled, Pending));
}

#[test]
fn the_later_operation_counts_as_newer_after_a_crash_at_any_action() {
    for actions in 0..8 {
        let mut world = hanging();
        world.ask_for_count("z", 5, &pool("np1"));
        let mut pass = world.pass();
        world.ask_for_count("a", 6, &pool("np1"));
        for _ in 0..actions {
            world.act(&mut pass);
        }
        world.restart().stride().stride();
        let phases = (world.phase("z"), world.phase("a"));
        assert_eq!(phases, (Canceled, Pending), "after {actions} actions");
    }
}

#[test]
fn a_waiting_change_has_the_type_of_its_edit_whatever_nodes_exist() {
    let mut world = hanging();
    assert_eq!(
        world.versions("np1").len(),
        3,
        "a node too many, for the upgrade"
    );
    world.set_label("np1", "gold").stride().stride();
    let waiting = made(&world);
    assert!(waiting.contains("-update-"), "{waiting}");
    world.unguard().settle();
    assert_eq!(world.phase(&waiting), Succeeded);
}

#[test]
fn a_waiting_change_that_is_reverted_is_not_made() {
    let mut world = hanging();
    world.set_count("np1", 4).stride().stride();
    let waiting = made(&world);
    world.set_count("np1", 2).stride();
    assert_eq!(world.phase(&waiting), Canceled);
    world.stride().unguard().settle();
    let scales = world.operations().filter(|name| name.contains("-scale-"));
    assert_eq!(scales.count(), 1);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn deletions_run_first_and_other_waiting_changes_in_their_order() {
    let mut world = hanging();
    world.ask("all", Reconcile, &cluster()).stride();
    world
        .wait(1)
        .ask("np1-again", Update, &pool("np1"))
        .stride();
    world.wait(1).ask("away", Delete, &pool("np1")).stride();
    assert_eq!(world.phase("away"), Pending);
    world.unguard();
    world.until(Upgrade, Succeeded);
    for _ in 0..6 {
        world.stride();
    }
    assert_eq!(
        world.lock(),
        ["away"],
        "and nothing passes what waits for the cluster"
    );
    world.settle();
    assert!(!world.exists(&ObjectId::Pool("np1".into())));
    let start = |name: &str| world.status(name).start_time;
    assert!(start("away") <= start("all"));
}

#[test]
fn a_later_change_does_not_overtake_a_waiting_one_that_it_would_block() {
    let mut world = World::settled().with_pool("np2", 2).at_rest();
    world.set_policy(Queue).settle();
    world
        .guard("np1")
        .ask_for_count("np1-down", 1, &pool("np1"));
    world.begin(Scale);
    world.ask("whole", Reconcile, &cluster()).stride();
    world.wait(1).ask_for_count("np2-up", 3, &pool("np2"));
    world.stride().stride();
    assert_eq!(
        world.phase("np2-up"),
        Pending,
        "the cluster's turn is before it"
    );
    world.unguard().settle();
    let (whole, later) = (world.status("whole"), world.status("np2-up"));
    assert!(whole.end_time <= later.start_time);
}

#[test]
fn an_edit_that_needs_no_operation_replaces_none() {
    let mut world = hanging();
    world.ask_for_version("mine", "1.36.4", &cluster()).stride();
    world
        .edit_cluster(&json!({"operationHistoryLimit": 20}))
        .unguard()
        .settle();
    assert_eq!(world.phase("mine"), Succeeded);
}

#[test]
fn a_second_waiting_edit_of_the_cluster_replaces_the_first() {
    let mut world = World::settled();
    world.set_policy(Queue).settle();
    world.guard("np1").set_count("np1", 1);
    world.begin(Scale);
    world.set_version("1.36.2").stride().stride();
    let first = made(&world);
    world.set_version(NEW).stride().stride();
    assert_eq!(world.phase(&first), Canceled);
    assert_ne!(made(&world), first);
    let updates = world.operations().filter(|name| name.contains("-update-"));
    assert_eq!(updates.count(), 0, "nobody edited the pool");
    world.unguard().settle();
    assert_eq!(world.versions("np1"), [NEW]);
}

#[test]
fn an_edit_of_the_cluster_creates_no_operation_on_its_pools() {
    let mut world = World::settled();
    world.set_policy(Queue).settle();
    world.guard("np1").set_count("np1", 1);
    world.begin(Scale);
    world
        .edit_cluster(&json!({"provider": {"kwok": {"maxNodes": 50}}}))
        .stride()
        .stride();
    assert_eq!(world.unfinished().len(), 1);
}

#[test]
fn a_refused_stop_shows_the_state_only_for_an_operation_on_the_same_target() {
    let (mut world, upgrade) = super::blocked_upgrade();
    let stop = crate::api::OperationType::Stop;
    world.ask("whole", stop, &cluster());
    world.ask("pool", stop, &pool("np1")).stride();
    let message = |name: &str| world.status(name).error.expect("an error").message;
    assert!(message("whole").starts_with("managed cluster is in Provisioning State(Upgrading)"));
    let expected = format!("Operation is not allowed: Another operation ({upgrade})");
    assert!(
        message("pool").starts_with(&expected),
        "{}",
        message("pool")
    );
}

/// A provider whose machines can't be turned off.
#[derive(Debug)]
struct NeverOff;

impl Rules for NeverOff {
    fn instead_of(&self, type_: OperationType, _: TargetKind) -> Option<&'static str> {
        (type_ == Stop).then_some("set the pool's count to 0")
    }

    fn outcome(&self, _: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        nodes.to_vec()
    }
}

#[test]
fn an_operation_that_the_provider_does_not_support_is_refused_with_an_alternative() {
    let mut world = World::settled();
    world.set_rules(&NeverOff).ask("off", Stop, &pool("np1"));
    world.settle();
    let error = world.status("off").error.expect("an error");
    assert_eq!(error.code, "OperationNotSupported");
    assert!(
        error.message.ends_with("set the pool's count to 0"),
        "{error:?}"
    );
    world.ask_for_count("more", 3, &pool("np1")).settle();
    assert_eq!(world.phase("more"), Succeeded);
}

#[test]
fn a_spec_that_the_provider_does_not_support_fails_only_once() {
    let mut world = World::settled();
    world.set_rules(&NeverOff);
    world
        .set_pool_power("np1", crate::api::PowerState::Stopped)
        .settle();
    let stops = world
        .operations()
        .filter(|name| world.spec(name).type_ == Stop);
    assert_eq!(stops.count(), 1);
    let conditions = world.pool_status("np1").conditions;
    assert_eq!(condition(&conditions, "Stalled").0, "True");
}

#[test]
fn a_spec_change_by_the_operation_in_flight_replaces_no_other_operation() {
    let mut world = World::settled();
    world.ask("first", Stop, &pool("np1"));
    world.ask("second", Stop, &pool("np1"));
    // The refusal of the second isn't written before the first has changed the spec.
    while world.phase("first") == Pending {
        let mut pass = world.pass();
        pass.lose_end_of("second");
        while world.act(&mut pass).is_some() {}
    }
    assert_eq!(world.phase("second"), Pending);
    world.stride();
    let status = world.status("second");
    assert_eq!(status.phase, Failed, "{status:#?}");
}
