//! A pool that something other than Belay scales at the engine, such as an autoscaler.

use crate::{
    api::{
        OperationPhase::Succeeded,
        OperationType::{Start, Stop, Update, Upgrade},
        PowerState,
    },
    lifecycle::fixtures::{NEW, World, cluster, condition, pool},
};

/// Returns a world in which an autoscaler scales np1 and has removed one of its two nodes.
fn scaled_down() -> World {
    let mut world = World::settled();
    world.observe(|observed| {
        let by = "the cluster autoscaler (1 to 5 nodes)".to_owned();
        observed.scaled_by_others.insert("np1".into(), by);
    });
    world.lose_node("np1").settle();
    world
}

#[test]
fn an_autoscalers_change_is_not_reverted() {
    let mut world = scaled_down();
    assert_eq!(world.versions("np1").len(), 1);
    assert_eq!(world.unfinished().len(), 0);
    let status = world.pool_status("np1");
    assert_eq!(condition(&status.conditions, "Ready").0, "True");
    assert_eq!(
        condition(&status.conditions, "Autoscaled"),
        ("True", "ScaledByOthers")
    );
    // Once the autoscaler is gone, the spec counts again.
    world.observe(|observed| observed.scaled_by_others.clear());
    world.settle();
    assert_eq!(world.versions("np1").len(), 2);
    let status = world.pool_status("np1");
    assert_eq!(condition(&status.conditions, "Autoscaled"), ("", ""));
}

#[test]
fn an_upgrade_keeps_an_autoscalers_count() {
    for of_cluster in [true, false] {
        let mut world = scaled_down();
        world.set_version(NEW);
        if !of_cluster {
            world.set_pool_version("np1", Some(NEW));
        }
        world.settle();
        assert_eq!(world.versions("np1"), [NEW]);
    }
}

#[test]
fn a_reconcile_keeps_an_autoscalers_count() {
    for target in [cluster(), pool("np1")] {
        let mut world = scaled_down();
        let reconcile = crate::api::OperationType::Reconcile;
        world.ask("again", reconcile, &target).settle();
        assert_eq!(world.phase("again"), Succeeded);
        assert_eq!(world.versions("np1").len(), 1, "{target:?}");
    }
}

#[test]
fn an_autoscaled_pool_cannot_be_scaled_by_others() {
    let mut world = scaled_down();
    let why = "AgentPool np1 is scaled by the cluster autoscaler (1 to 5 nodes): change the limits there, or turn off that scaling first";
    let refusal = world.pool_status("np1").scale_refusal;
    assert_eq!(refusal.as_deref(), Some(why));
    world.ask_for_count("more", 4, &pool("np1")).settle();
    let error = world.status("more").error.expect("an error");
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("OperationNotSupported", why)
    );
    // An edit of the spec is accepted, and changes no node.
    let operations = world.operations().count();
    world.set_count("np1", 4).settle();
    assert_eq!(world.versions("np1").len(), 1);
    let edited: Vec<_> = world.operations().skip(operations).collect();
    let types = edited.iter().map(|name| world.spec(name).type_);
    assert!(types.into_iter().all(|type_| type_ == Update), "{edited:?}");
}

#[test]
fn an_autoscaled_pool_stops_and_starts_with_the_count_of_its_spec() {
    let mut world = scaled_down();
    world.set_pool_power("np1", PowerState::Stopped).settle();
    assert_eq!(world.versions("np1").len(), 0);
    world.set_pool_power("np1", PowerState::Running).settle();
    assert_eq!(world.versions("np1").len(), 2);
    let types: Vec<_> = world
        .operations()
        .map(|name| world.spec(&name).type_)
        .collect();
    assert!(types.contains(&Stop) && types.contains(&Start), "{types:?}");
    assert!(!types.contains(&Upgrade), "{types:?}");
}
