//! Stop and start: a stopped cluster or pool has no nodes and keeps its settings.

use std::sync::Arc;

use belay::api::{OperationType, PowerState, PowerStateStatus, ProvisioningState, StepAction};
use serde_json::json;

use crate::stage::belay::{Belay, World, version};

const STOPPED: Option<PowerStateStatus> = Some(PowerStateStatus {
    code: PowerState::Stopped,
});
const RUNNING: Option<PowerStateStatus> = Some(PowerStateStatus {
    code: PowerState::Running,
});

/// Returns the number of nodes of each pool.
async fn nodes(belay: &Belay, pools: &[&str]) -> Vec<usize> {
    let nodes = belay.nodes().await;
    let of = |pool: &&str| {
        let is_of = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get("belay.dev/agentpool").map(String::as_str) == Some(*pool)
        };
        let of_pool = nodes
            .iter()
            .filter_map(|node| node.metadata.labels.as_ref());
        of_pool.filter(|labels| is_of(labels)).count()
    };
    pools.iter().map(of).collect()
}

/// Starts or stops a pool, and waits until the pool is ready. Returns the operation's name.
async fn set_power(belay: &Belay, pool: &str, state: &str) -> String {
    let types = [OperationType::Start, OperationType::Stop];
    let type_ = types[usize::from(state == "Stopped")];
    let so_far = belay.operations(type_, pool).await.len();
    belay.set_pool(pool, json!({"powerState": state})).await;
    let operation = belay.nth_operation(so_far + 1, type_, pool).await;
    belay.succeeds(&operation).await;
    belay.pool_is_ready(pool).await;
    operation
}

pub async fn a_stopped_pool_has_no_nodes_and_starts_with_its_old_count(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    let stop = set_power(&belay, "np1", "Stopped").await;
    let steps = belay.status(&stop).await.steps;
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| step.action == StepAction::Delete));
    assert!(belay.nodes().await.is_empty());
    let pool = belay.pool("np1").await;
    assert_eq!(pool.spec.count, 2, "the pool keeps its count");
    let status = pool.status.expect("a status");
    assert_eq!((status.power_state, status.count), (STOPPED, 0));
    let succeeded = Some(ProvisioningState::Succeeded);
    assert_eq!(status.provisioning_state, succeeded);
    set_power(&belay, "np1", "Running").await;
    assert_eq!(belay.nodes().await.len(), 2);
    let status = belay.pool_status("np1").await;
    assert_eq!(
        (status.power_state, status.provisioning_state),
        (RUNNING, succeeded)
    );
    belay.check_history();
}

pub async fn a_pool_is_stopping_until_its_last_node_is_gone(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(1).await;
    belay
        .set_pool("np1", json!({"powerState": "Stopped"}))
        .await;
    let stop = belay.operation(OperationType::Stop, "np1").await;
    belay.is_blocked(&stop).await;
    let status = belay.pool_status("np1").await;
    assert_eq!(
        (status.power_state, status.provisioning_state),
        (STOPPED, Some(ProvisioningState::Stopping)),
        "like a pool of AKS that hasn't fully stopped"
    );
    assert_eq!(status.count, 1);
    belay.set_min_available(0).await;
    belay.succeeds(&stop).await;
    belay.pool_is_ready("np1").await;
    let stopping = Some(ProvisioningState::Stopping);
    for status in belay.seen.pool("np1") {
        let is_stopped = status.power_state == STOPPED && status.provisioning_state != stopping;
        assert!(!is_stopped || status.count == 0, "{status:#?}");
    }
    belay.check_history();
}

pub async fn a_system_pool_cannot_be_stopped_but_a_spot_pool_can(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(0).await;
    belay
        .create_pool_with("system", json!({"mode": "System", "count": 1}))
        .await;
    belay
        .create_pool_with("spot", json!({"scaleSetPriority": "Spot", "count": 1}))
        .await;
    belay.pool_is_ready("system").await;
    belay.pool_is_ready("spot").await;
    let patch = r#"{"spec":{"powerState":"Stopped"}}"#;
    let refused = belay.try_kubectl(&["patch", "ap", "system", "--type=merge", "-p", patch]);
    let refused = refused.expect_err("it is refused");
    assert!(
        refused.contains("a System pool can't be Stopped"),
        "{refused}"
    );
    set_power(&belay, "spot", "Stopped").await;
    assert_eq!(nodes(&belay, &["system", "spot"]).await, [1, 0]);
    belay.check_history();
}

pub async fn a_stopped_pool_can_be_upgraded_and_starts_on_the_new_version(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(0).await;
    let own = json!({"kubernetesVersion": "1.34.2", "count": 1});
    belay.create_pool_with("own", own).await;
    belay.create_pool("follower", 1).await;
    for pool in ["own", "follower"] {
        belay.pool_is_ready(pool).await;
        set_power(&belay, pool, "Stopped").await;
    }
    belay
        .set_pool("own", json!({"kubernetesVersion": "1.35.7"}))
        .await;
    let upgrade = belay.operation(OperationType::Upgrade, "own").await;
    assert!(belay.succeeds(&upgrade).await.steps.is_empty());
    belay.pool_is_ready("own").await;
    belay.set_version("1.36.3").await;
    belay.cluster_is_ready().await;
    belay.lock_is_free().await;
    for (pool, expected) in [("own", "1.35.7"), ("follower", "1.36.3")] {
        let status = belay.pool_status(pool).await;
        let versions: Vec<_> = status.versions.iter().collect();
        assert_eq!(versions.len(), 1, "{versions:?}");
        let next = (versions[0].kubernetes_version.as_str(), versions[0].count);
        assert_eq!(next, (expected, 0), "the version of its next nodes");
        set_power(&belay, pool, "Running").await;
    }
    let mut versions: Vec<_> = belay.nodes().await.iter().map(version).collect();
    versions.sort();
    assert_eq!(versions, ["v1.35.7", "v1.36.3"]);
    belay.check_history();
}

pub async fn a_start_or_stop_in_the_wrong_state_fails_with_the_state(world: Arc<World>) {
    let belay = Belay::start(&world.without_policies().await).await;
    belay.ready_cluster(0, 1).await;
    let message_of = |name: &'static str| {
        let belay = belay.clone();
        async move {
            let error = belay.fails(name).await;
            assert_eq!(error.code, "OperationNotAllowed");
            error.message
        }
    };
    belay
        .create_operation_on_pool("start-1", "np1", "Start", json!({}))
        .await;
    let message = message_of("start-1").await;
    assert!(
        message.starts_with("agent pool is in Provisioning State(Succeeded) and Power State(Running), starting cannot be performed The previous operation started at '"),
        "{message}"
    );
    belay
        .create_operation_on_cluster("start-2", "Start", json!({}))
        .await;
    let message = message_of("start-2").await;
    assert!(
        message.starts_with("managed cluster is in Provisioning State(Succeeded) and Power State(Running), starting cannot be performed"),
        "{message}"
    );
    set_power(&belay, "np1", "Stopped").await;
    belay.lock_is_free().await;
    belay
        .create_operation_on_pool("stop-1", "np1", "Stop", json!({}))
        .await;
    let message = message_of("stop-1").await;
    assert!(
        message.starts_with("agent pool is not currently running, stopping cannot be performed; The stop operation started at '"),
        "{message}"
    );
    assert!(
        message.contains("elapsed time is: '0 days and 00:"),
        "{message}"
    );
    belay
        .create_operation_on_cluster("stop-2", "Stop", json!({}))
        .await;
    belay.succeeds("stop-2").await;
    belay.lock_is_free().await;
    // A pool can be started and stopped only while its cluster runs.
    for (name, type_) in [("start-3", "Start"), ("stop-3", "Stop")] {
        belay
            .create_operation_on_pool(name, "np1", type_, json!({}))
            .await;
        let message = message_of(name).await;
        assert!(message.starts_with("managed cluster is "), "{message}");
    }
    belay.check_history();
}

pub async fn a_stopped_cluster_has_no_nodes_and_its_start_leaves_stopped_pools_stopped(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    set_power(&belay, "np2", "Stopped").await;
    belay.set_cluster(json!({"powerState": "Stopped"})).await;
    let stop = belay.operation(OperationType::Stop, "demo").await;
    let steps = belay.succeeds(&stop).await.steps;
    assert_eq!(
        steps.last().map(|step| (step.name.as_str(), step.action)),
        Some(("control-plane", StepAction::Stop)),
        "the control plane stops last"
    );
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    assert!(belay.nodes().await.is_empty());
    assert_eq!(belay.cluster_status().await.power_state, STOPPED);
    assert_eq!(belay.pool_status("np1").await.power_state, STOPPED);
    // Changes of a stopped cluster wait for the start.
    belay.set_count("np1", 3).await;
    belay.pool_is_ready("np1").await;
    assert!(belay.nodes().await.is_empty());
    belay.set_cluster(json!({"powerState": "Running"})).await;
    let start = belay.operation(OperationType::Start, "demo").await;
    let steps = belay.succeeds(&start).await.steps;
    assert_eq!(
        steps.first().map(|step| (step.name.as_str(), step.action)),
        Some(("control-plane", StepAction::Start))
    );
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    assert_eq!(nodes(&belay, &["np1", "np2"]).await, [3, 0]);
    assert_eq!(belay.cluster_status().await.power_state, RUNNING);
    assert_eq!(belay.pool_status("np2").await.power_state, STOPPED);
    belay.check_history();
}
