//! A rollback by one minor version: first the nodes, then the control plane.

use std::sync::Arc;

use belay::api::{
    CancellationStatus, OperationPhase, OperationType, ProvisioningState, StepAction, StepPhase,
};
use serde_json::json;

use crate::stage::belay::{Belay, World, is_cordoned, version};

/// Creates a cluster on 1.36.3 whose rollback to 1.35.7 is blocked by a PDB. Returns the Rollback's name.
async fn blocked_rollback(belay: &Belay, nodes: usize) -> String {
    let cluster = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}});
    belay.create_cluster_with(cluster).await;
    belay.create_pool("np1", nodes).await;
    belay.pool_is_ready("np1").await;
    belay.create_workload(nodes, nodes).await;
    belay.set_version("1.35.7").await;
    let rollback = belay.operation(OperationType::Rollback, "demo").await;
    belay.is_blocked(&rollback).await;
    rollback
}

pub async fn nodes_roll_back_first_and_the_control_plane_last(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let rollback = blocked_rollback(&belay, 2).await;
    let status = belay.cluster_status().await;
    assert_eq!(status.kubernetes_version.as_deref(), Some("1.36.3"));
    assert_eq!(
        status.provisioning_state,
        Some(ProvisioningState::RollingBack)
    );
    let pool = belay.pool_status("np1").await;
    assert_eq!(
        pool.provisioning_state,
        Some(ProvisioningState::RollingBack)
    );
    belay.set_min_available(1).await;
    let steps = belay.succeeds(&rollback).await.steps;
    let (last, nodes) = steps.split_last().expect("steps");
    assert_eq!(
        (last.name.as_str(), last.action),
        ("control-plane", StepAction::Upgrade)
    );
    assert_eq!(last.message, "", "a step that succeeded has no message");
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| node.end_time <= last.start_time));
    for status in belay.statuses(&rollback).await {
        let (last, nodes) = status
            .steps
            .split_last()
            .map_or((None, &[][..]), |(last, nodes)| (Some(last), nodes));
        let has_started = last.is_some_and(|last| last.phase != StepPhase::Pending);
        assert!(
            !has_started || nodes.iter().all(|node| node.phase == StepPhase::Succeeded),
            "{status:#?}"
        );
    }
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    assert_eq!(
        belay.cluster_status().await.kubernetes_version.as_deref(),
        Some("1.35.7")
    );
    assert!(
        belay
            .nodes()
            .await
            .iter()
            .all(|node| version(node) == "v1.35.7")
    );
    belay.check_history();
}

pub async fn after_an_aborted_rollback_pools_return_to_the_control_planes_version(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    let rollback = blocked_rollback(&belay, 2).await;
    // One node rolls back. The other node keeps its pods.
    belay.delete_blocking_pods().await;
    let newer = || async {
        belay
            .nodes()
            .await
            .iter()
            .filter(|node| version(node) == "v1.36.3")
            .count()
    };
    belay
        .eventually("one node has rolled back", || async { newer().await == 1 })
        .await;
    belay
        .eventually("the other node is drained", || async {
            let nodes = belay.nodes().await;
            let mut newer = nodes.iter().filter(|node| version(node) == "v1.36.3");
            newer.any(is_cordoned)
        })
        .await;
    belay.is_blocked(&rollback).await;
    belay.abort(&rollback, "keep the newer version").await;
    belay.is_in_phase(&rollback, OperationPhase::Canceled).await;
    // The pool's own operation upgrades the nodes again, and waits for the PDB as usual.
    let converge = belay.operation(OperationType::Upgrade, "np1").await;
    let blocked = belay.is_blocked(&converge).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "PodDisruptionBudget");
    belay.set_min_available(1).await;
    belay.succeeds(&converge).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    let status = belay.cluster_status().await;
    assert_eq!(status.kubernetes_version.as_deref(), Some("1.36.3"));
    assert_eq!(status.provisioning_state, Some(ProvisioningState::Canceled));
    assert_eq!(newer().await, 2);
    assert_eq!(belay.nodes().await.len(), 2);
    let rollbacks = belay.operations(OperationType::Rollback, "demo").await;
    assert_eq!(rollbacks.len(), 1, "the cluster is on hold");
    belay.check_history();
}

pub async fn an_abort_is_refused_once_the_control_plane_rolls_back(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let cluster = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}});
    belay.create_cluster_with(cluster).await;
    belay.cluster_is_ready().await;
    belay.refuse_end_of_control_plane_change().await;
    belay.set_version("1.35.7").await;
    let rollback = belay.operation(OperationType::Rollback, "demo").await;
    belay
        .eventually("the control plane rolls back", || async {
            let record = belay.try_kubectl(&[
                "get",
                "kwokcontrolplane",
                "demo",
                "-o",
                "jsonpath={.spec.changingTo}",
            ]);
            record.as_deref() == Ok("1.35.7")
        })
        .await;
    belay.abort(&rollback, "too late").await;
    belay
        .eventually("the abort has failed", || async {
            let status = belay.status(&rollback).await;
            status
                .cancellation
                .is_some_and(|cancellation| cancellation.status == CancellationStatus::Failed)
        })
        .await;
    // The next operator completes the rollback as well.
    belay.kill_operator();
    belay.start_operator();
    belay.stop_refusing();
    let status = belay.succeeds(&rollback).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Failed);
    assert_eq!(
        cancellation.reason,
        "the control plane's rollback has begun: it can no longer be aborted"
    );
    belay.lock_is_free().await;
    assert_eq!(
        belay.cluster_status().await.kubernetes_version.as_deref(),
        Some("1.35.7")
    );
    belay.check_history();
}
