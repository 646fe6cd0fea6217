//! `undrainableNodeBehavior`: an upgrade goes on without a node that can't be drained, and fails at its end.

use std::sync::Arc;

use belay::api::{OperationError, OperationPhase, OperationType, StepPhase, TargetKind};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World, is_cordoned, version},
    plugin,
};

/// Runs an upgrade of three nodes to its failure. A pod on one of them can't be evicted. Returns the error.
async fn upgrade_past_one_node(belay: &Belay, settings: Value) -> (String, OperationError) {
    belay.ready_cluster(0, 3).await;
    belay.create_workload(1, 1).await;
    let upgrade = belay.upgrade_with(settings).await;
    let error = belay.fails(&upgrade).await;
    belay.lock_is_free().await;
    (upgrade, error)
}

/// Returns the nodes that still run the old version.
async fn old_nodes(belay: &Belay) -> Vec<Node> {
    let mut nodes = belay.nodes().await;
    nodes.retain(|node| version(node) == "v1.35.7");
    nodes
}

async fn why(belay: &Belay) -> String {
    let output = plugin::run(belay, &["why", "demo"]).await;
    plugin::text(&output.stdout)
}

fn quarantine(node: &Node) -> Option<&str> {
    let label = node.labels().get("belay.dev/upgrade-status");
    label.map(String::as_str)
}

pub async fn with_cordon_an_upgrade_quarantines_the_node_and_replaces_the_others(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    // Long enough for a pod that may be evicted to end.
    let settings = json!({"drainTimeout": "10s", "undrainableNodeBehavior": "Cordon"});
    let (upgrade, error) = upgrade_past_one_node(&belay, settings).await;
    let [left] = &old_nodes(&belay).await[..] else {
        panic!("one node is left: {:?}", belay.nodes().await);
    };
    assert!(is_cordoned(left), "it stays cordoned");
    assert_eq!(quarantine(left), Some("Quarantined"));
    assert_eq!(belay.nodes().await.len(), 4, "its replacement stays too");
    let name = left.name_any();
    assert_eq!(
        (error.code.as_str(), error.subcode.as_str()),
        ("PodDrainFailure", "PodDisruptionBudget")
    );
    let expected = format!("node {name} could not be drained and is quarantined: eviction of ");
    assert!(error.message.starts_with(&expected), "{}", error.message);
    let steps = belay.status(&upgrade).await.steps;
    let failed = steps.iter().filter(|step| step.phase == StepPhase::Failed);
    let failed: Vec<_> = failed.map(|step| step.name.clone()).collect();
    assert_eq!(failed, [format!("node/{name}")]);
    let status = belay.pool_status("np1").await;
    assert_eq!((status.count, status.ready_count), (3, 3));
    let quarantined: Vec<_> = status.quarantined_nodes.iter().map(|it| &it.name).collect();
    assert_eq!(quarantined, [&name]);
    assert!(
        why(&belay).await.contains(&name),
        "the plugin names the node"
    );

    // An autoscaler goes on meanwhile, and leaves the node alone.
    belay.set_count("np1", 4).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&scale).await;
    assert_eq!(old_nodes(&belay).await.len(), 1);

    // Once the pod can be evicted, a Reconcile takes the node.
    belay.set_min_available(0).await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    let versions: Vec<_> = belay.nodes().await.iter().map(version).collect();
    assert_eq!(versions, ["v1.36.3"; 4]);
    belay.pool_is_ready("np1").await;
    assert!(belay.pool_status("np1").await.quarantined_nodes.is_empty());
    belay.check_history();
}

pub async fn with_schedule_the_node_takes_pods_again_and_the_others_are_replaced(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    let settings = json!({"drainTimeout": "1s", "undrainableNodeBehavior": "Schedule"});
    let (_, error) = upgrade_past_one_node(&belay, settings).await;
    let [left] = &old_nodes(&belay).await[..] else {
        panic!("one node is left: {:?}", belay.nodes().await);
    };
    assert!(!is_cordoned(left), "it takes pods again");
    assert_eq!(quarantine(left), None);
    assert_eq!(belay.nodes().await.len(), 3);
    let expected = format!("node {} could not be drained and was not", left.name_any());
    assert!(error.message.starts_with(&expected), "{}", error.message);
    belay.check_history();
}

pub async fn an_upgrade_fails_at_the_node_after_max_blocked_nodes(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(3).await;
    let settings =
        json!({"drainTimeout": "1s", "undrainableNodeBehavior": "Cordon", "maxBlockedNodes": 1});
    let upgrade = belay.upgrade_with(settings).await;
    let error = belay.fails(&upgrade).await;
    assert_eq!(error.code, "PodDrainFailure");
    belay.lock_is_free().await;
    let nodes = belay.nodes().await;
    let quarantined = nodes.iter().filter(|node| quarantine(node).is_some());
    assert_eq!(quarantined.count(), 1);
    let cordoned = nodes.iter().filter(|node| is_cordoned(node));
    assert_eq!(cordoned.count(), 1, "the other node takes pods again");
    belay.check_history();
}

pub async fn an_abort_leaves_quarantined_nodes_as_they_are_even_after_a_restart(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(3).await;
    let settings =
        json!({"drainTimeout": "5s", "undrainableNodeBehavior": "Cordon", "maxBlockedNodes": 3});
    let upgrade = belay.upgrade_with(settings).await;
    let is_quarantined = || async {
        let nodes = belay.nodes().await;
        nodes.iter().any(|node| quarantine(node).is_some())
    };
    belay
        .eventually("a node is quarantined", is_quarantined)
        .await;
    belay.kill_operator();
    belay.start_operator();
    belay.abort(&upgrade, "enough").await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
    assert!(is_quarantined().await);
    for node in belay.nodes().await {
        assert_eq!(is_cordoned(&node), quarantine(&node).is_some());
    }
    belay.check_history();
}
