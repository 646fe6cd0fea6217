//! The forecast equals what then happens.

use crate::{
    api::{ConcurrencyPolicy, OperationPhase, OperationType, PowerState, StepAction},
    lifecycle::fixtures::{NEW, World, cluster, pool},
};

use serde_json::json;

use super::*;

/// The type of an Operation, its target, how it ends, and its number of steps.
type Seen = (OperationType, String, OperationPhase, usize);

fn foreseen(world: &World) -> Vec<Seen> {
    let seen = forecast(world.snapshot(), world.now());
    let mut seen_as: Vec<Seen> = seen
        .iter()
        .map(|seen| {
            let steps = seen.parts.iter().map(|part| part.steps.len()).sum();
            seen_as(&seen.operation, steps)
        })
        .collect();
    seen_as.sort_by_key(|seen_as| format!("{seen_as:?}"));
    seen_as
}

fn seen_as(operation: &Operation, steps: usize) -> Seen {
    let (spec, status) = (&operation.spec, operation.status.as_ref());
    let phase = status.map(|status| status.phase).unwrap_or_default();
    (spec.type_, spec.target.name.clone(), phase, steps)
}

/// Returns what happens to the Operations that haven't ended and to those that are created.
fn what_happens(mut world: World) -> Vec<Seen> {
    let ended = |world: &World| -> Vec<String> {
        let unfinished = world.unfinished();
        let all = world.operations();
        all.filter(|name| !unfinished.contains(name)).collect()
    };
    let before = ended(&world);
    world.settle();
    let snapshot = world.snapshot();
    let new = snapshot.operations.iter();
    let new = new.filter(|operation| !before.contains(&operation.name_any()));
    let mut happened: Vec<Seen> = new
        .map(|operation| {
            let status = operation.status.as_ref();
            seen_as(operation, status.map_or(0, |status| status.steps.len()))
        })
        .collect();
    happened.sort_by_key(|seen_as| format!("{seen_as:?}"));
    happened
}

fn two_pools() -> World {
    World::settled().with_pool("np2", 3).at_rest()
}

#[test]
fn the_forecast_matches_the_operations_that_then_run() {
    let mut worlds = vec![World::new().with_pool("np1", 2).with_pool("np2", 3)];
    let mut change = |make: &dyn Fn(&mut World) -> &mut World| {
        let mut world = two_pools();
        make(&mut world);
        worlds.push(world);
    };
    change(&|world| world);
    change(&|world| world.set_version(NEW));
    change(&|world| world.set_version(NEW).set_count("np1", 5));
    change(&|world| world.set_count("np1", 0).set_count("np2", 4));
    change(&|world| world.set_label("np1", "a").set_power(PowerState::Stopped));
    change(&|world| world.lose_node("np2"));
    change(&|world| world.ask_for_version("go", NEW, &cluster()));
    change(&|world| world.ask_for_count("more", 7, &pool("np1")));
    change(&|world| world.ask_for_count("the-same", 2, &pool("np1")));
    change(&|world| world.ask("away", OperationType::Delete, &pool("np1")));
    change(&|world| {
        let world = world.set_policy(ConcurrencyPolicy::Queue).settle();
        world.ask_for_count("more", 7, &pool("np1"))
    });
    for world in worlds {
        let foreseen = foreseen(&world);
        assert_eq!(foreseen, what_happens(world));
    }
}

#[test]
fn pools_are_created_in_parallel_after_their_cluster() {
    let world = World::new().with_pool("np1", 2).with_pool("np2", 3);
    let seen = forecast(world.snapshot(), world.now());
    let turns: Vec<_> = seen
        .iter()
        .map(|seen| (seen.operation.spec.target.name.as_str(), seen.turn))
        .collect();
    assert_eq!(
        turns,
        [("demo", Some(1)), ("np1", Some(2)), ("np2", Some(2))]
    );
}

#[test]
fn an_upgrade_covers_the_control_plane_and_each_pool() {
    let mut world = two_pools();
    world.set_version(NEW);
    let seen = forecast(world.snapshot(), world.now());
    let parts: Vec<_> = seen[0]
        .parts
        .iter()
        .map(|part| {
            let actions: Vec<_> = part.steps.iter().map(|step| step.action).collect();
            (part.pool.as_deref(), actions)
        })
        .collect();
    assert_eq!(
        parts,
        [
            (None, vec![StepAction::Upgrade]),
            (Some("np1"), vec![StepAction::Replace; 2]),
            (Some("np2"), vec![StepAction::Replace; 3]),
        ]
    );
}

#[test]
fn with_queue_a_new_change_starts_after_the_operation_in_flight() {
    let mut world = two_pools();
    world.set_policy(ConcurrencyPolicy::Queue).settle();
    world.set_version(NEW).begin(OperationType::Upgrade);
    world.set_count("np1", 4);
    let seen = forecast(world.snapshot(), world.now());
    let turns: Vec<_> = seen
        .iter()
        .map(|seen| (seen.operation.spec.type_, seen.turn, seen.is_new))
        .collect();
    assert_eq!(
        turns,
        [
            (OperationType::Upgrade, Some(0), false),
            (OperationType::Scale, Some(1), true)
        ]
    );
}

#[test]
fn what_waits_for_a_window_begins_when_it_opens_after_everything_else() {
    let mut world = two_pools();
    world.edit_cluster(&json!({"maintenanceWindows": [{"start": "22:00", "duration": "2h"}]}));
    world.settle();
    world.set_version(NEW).set_count("np1", 4);
    let opens = "2026-01-01T22:00:00Z".parse().ok();
    let expected = [
        (OperationType::Scale, Some(1), None),
        (OperationType::Upgrade, Some(2), opens),
    ];
    for _ in 0..2 {
        let seen = forecast(world.snapshot(), world.now());
        let turns: Vec<_> = seen
            .iter()
            .map(|seen| (seen.operation.spec.type_, seen.turn, seen.window))
            .collect();
        assert_eq!(turns, expected);
        // The same holds once the Operation that waits exists.
        world.stride();
    }
}

#[test]
fn what_runs_past_the_end_of_its_window_is_not_foreseen_again() {
    let mut world = two_pools();
    world.edit_cluster(&json!({"maintenanceWindows": [{"start": "22:00", "duration": "2h"}]}));
    assert!(forecast(world.snapshot(), world.now()).is_empty());
}

#[test]
fn with_replace_a_new_change_aborts_the_operation_in_flight() {
    let mut world = two_pools();
    world.set_policy(ConcurrencyPolicy::Replace).settle();
    world.set_version(NEW).begin(OperationType::Upgrade);
    world.set_count("np1", 4);
    let seen = forecast(world.snapshot(), world.now());
    let first = seen[0].operation.status.as_ref().expect("a status");
    assert_eq!(
        (seen[0].operation.spec.type_, first.phase),
        (OperationType::Upgrade, OperationPhase::Canceled)
    );
    assert!(
        seen.iter().any(|seen| {
            seen.operation.spec.type_ == OperationType::Scale && seen.turn == Some(1)
        })
    );
}
