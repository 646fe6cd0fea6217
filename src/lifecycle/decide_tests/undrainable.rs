//! Nodes that couldn't be drained: what the statuses show, and when Belay takes them up again.

use serde_json::json;

use crate::{
    api::{
        OperationPhase::{Failed, Succeeded},
        OperationType::Upgrade,
    },
    lifecycle::{
        NodeView, Undrainable,
        fixtures::{NEW, OLD, World, cluster, node},
        observed::Observation,
        plan::PoolGoal,
        rules::Rules,
    },
};

fn quarantine(observed: &mut Observation) {
    let undrainable = Undrainable {
        operation: "earlier".into(),
        reason: "PodDisruptionBudget".into(),
        message: "web allows none".into(),
        since: jiff::Timestamp::UNIX_EPOCH,
    };
    let nodes = observed.nodes.entry("np1".into());
    nodes.or_default().push(NodeView {
        cordoned: true,
        quarantined: true,
        undrainable: Some(undrainable),
        ..node("q1", OLD)
    });
}

#[test]
fn a_quarantined_node_is_listed_and_does_not_count_as_one_of_the_pool() {
    let mut world = World::settled();
    world.set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world.observe(quarantine).stride();
    let status = world.pool_status("np1");
    assert_eq!((status.count, status.ready_count), (2, 2));
    let [listed] = &status.quarantined_nodes[..] else {
        panic!("{status:?}");
    };
    assert_eq!((&*listed.name, &*listed.message), ("q1", "web allows none"));
    let nodes: i32 = status.versions.iter().map(|it| it.count).sum();
    assert_eq!(nodes, 3, "its version is listed");
    world.settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
}

#[test]
fn a_quarantined_node_without_a_hold_is_taken_up_by_an_upgrade_of_its_own() {
    let mut world = World::settled();
    world.observe(quarantine).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    assert!(world.pool_status("np1").quarantined_nodes.is_empty());
}

/// An engine that fails at the first node that it can't drain.
#[derive(Debug)]
struct FailsAtUndrainable;

impl Rules for FailsAtUndrainable {
    fn fails_at_undrainable(&self) -> Option<&'static str> {
        Some("it stops there")
    }

    fn outcome(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        nodes.iter().map(|it| goal.node(it.name.clone())).collect()
    }
}

#[test]
fn an_upgrade_is_refused_if_the_engine_cannot_go_on_without_a_node_as_a_pool_wants() {
    for (settings, phase) in [
        (json!({}), Succeeded),
        (json!({"undrainableNodeBehavior": "Schedule"}), Failed),
    ] {
        let mut world = World::settled();
        world.set_rules(&FailsAtUndrainable);
        world.edit_pool("np1", &json!({"upgradeSettings": settings}));
        world.settle();
        world.ask_for_version("up", NEW, &cluster()).settle();
        assert_eq!(world.phase("up"), phase, "{settings}");
        if let Some(error) = world.status("up").error {
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                (
                    "OperationNotSupported",
                    "the provider of this cluster can't go on without a node that can't be drained: it stops there. Remove spec.upgradeSettings.undrainableNodeBehavior from AgentPool np1"
                )
            );
        }
    }
}
