//! The abort annotation on a cluster or pool: each value aborts the operation in flight on this object once.

use std::sync::Arc;

use belay::api::{
    AgentPool, CancellationStatus, ManagedCluster, OperationPhase, OperationType, TargetKind,
};
use serde_json::json;

use crate::stage::belay::{Belay, World};

pub async fn each_abort_value_on_a_cluster_is_honoured_once(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(1).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay
        .annotate::<ManagedCluster>("demo", json!({"belay.dev/abort": "first"}))
        .await;
    let status = belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(
        (cancellation.status, cancellation.reason.as_str()),
        (CancellationStatus::Successful, "first")
    );
    belay.lock_is_free().await;
    // The annotation remains, but affects neither the next operation nor the next operator.
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.is_blocked("continue").await;
    belay.kill_operator();
    belay.start_operator();
    belay.create_pool("np2", 0).await;
    belay
        .is_in_phase("continue", OperationPhase::InProgress)
        .await;
    belay
        .annotate::<ManagedCluster>("demo", json!({"belay.dev/abort": "second"}))
        .await;
    let status = belay
        .is_in_phase("continue", OperationPhase::Canceled)
        .await;
    assert_eq!(
        status.cancellation.expect("a cancellation").reason,
        "second"
    );
    belay.check_history();
}

pub async fn an_abort_value_on_a_pool_is_honoured_once_across_restarts(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(1).await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    belay.kill_operator();
    belay
        .annotate::<AgentPool>("np1", json!({"belay.dev/abort": "while no operator runs"}))
        .await;
    belay.start_operator();
    belay.is_in_phase(&scale, OperationPhase::Canceled).await;
    belay.kill_operator();
    belay.start_operator();
    belay.lock_is_free().await;
    belay
        .reconcile(TargetKind::AgentPool, "np1", "continue")
        .await;
    belay.is_blocked("continue").await;
    belay.set_min_available(0).await;
    belay.succeeds("continue").await;
    belay.check_history();
}

pub async fn an_abort_value_set_at_creation_aborts_nothing(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let annotations = json!({"belay.dev/abort": "left in Git"});
    for (kind, name, spec) in [
        (
            "ManagedCluster",
            "demo",
            json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}}),
        ),
        (
            "AgentPool",
            "np1",
            json!({"clusterName": "demo", "count": 1}),
        ),
    ] {
        let object = json!({"apiVersion": "belay.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "annotations": annotations}, "spec": spec});
        belay.apply(&object);
    }
    belay.pool_is_ready("np1").await;
    for target in ["demo", "np1"] {
        let create = belay.operation(OperationType::Create, target).await;
        assert!(belay.succeeds(&create).await.cancellation.is_none());
    }
    belay.check_history();
}

pub async fn an_abort_on_a_cluster_does_not_affect_a_pools_operation_and_vice_versa(
    world: Arc<World>,
) {
    let belay = Belay::start(&world.without_policies().await).await;
    belay.cluster_with_blocked_drains(1).await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    belay
        .annotate::<ManagedCluster>("demo", json!({"belay.dev/abort": "not the pool's"}))
        .await;
    belay
        .eventually("Belay has observed the annotation", || async {
            belay.cluster_status().await.observed_abort.is_some()
        })
        .await;
    assert_eq!(belay.status(&scale).await.phase, OperationPhase::InProgress);
    belay.set_min_available(0).await;
    belay.succeeds(&scale).await;
    belay.lock_is_free().await;
    belay.set_count("np1", 1).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    belay.set_min_available(1).await;
    belay.workload_is_healthy(1).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    let before = belay.pool_status("np1").await.observed_abort;
    belay
        .annotate::<AgentPool>("np1", json!({"belay.dev/abort": "not the cluster's"}))
        .await;
    belay
        .eventually("Belay has observed the annotation", || async {
            belay.pool_status("np1").await.observed_abort != before
        })
        .await;
    let status = belay.status(&upgrade).await;
    assert_eq!(
        (status.phase, status.cancellation),
        (OperationPhase::InProgress, None)
    );
    belay.check_history();
}
