//! The concurrency policies Forbid, Queue and Replace: what happens to a change while an operation is in flight.

use std::sync::Arc;

use belay::api::{
    AgentPool, CancellationStatus, Operation, OperationPhase, OperationType, TargetKind,
};
use serde_json::json;

use crate::stage::belay::{Belay, World, version};

/// Creates a cluster with this policy, and a scale-down of its pool that is blocked by a PDB. Returns the Scale's name.
async fn blocked_scale(belay: &Belay, policy: &str) -> String {
    belay
        .create_cluster_with(json!({"concurrencyPolicy": policy, "provider": {"kwok": {"nodeProvisioningTime": "0s"}}}))
        .await;
    belay.create_pool("np1", 1).await;
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np1").await;
    belay.pool_is_ready("np2").await;
    belay.create_workload(2, 2).await;
    belay.lock_is_free().await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    scale
}

async fn cancellation_reason(belay: &Belay, operation: &str) -> String {
    let status = belay.is_in_phase(operation, OperationPhase::Canceled).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    cancellation.reason
}

pub async fn with_forbid_a_spec_change_waits_without_an_operation(world: Arc<World>) {
    let belay = Belay::start(&world.without_policies().await).await;
    let scale = blocked_scale(&belay, "Forbid").await;
    belay.set_version("1.36.3").await;
    belay.set_count("np2", 2).await;
    // When Belay has observed this annotation, it has also observed both changes.
    belay
        .annotate::<AgentPool>("np2", json!({"belay.dev/abort": "seen"}))
        .await;
    belay
        .eventually("Belay has observed the annotation", || async {
            belay.pool_status("np2").await.observed_abort.is_some()
        })
        .await;
    // The pool's change waits too: its Operation would delay the cluster's change further.
    let of_pool = belay.operations(OperationType::Scale, "np2").await;
    assert!(of_pool.is_empty());
    assert!(
        belay
            .operations(OperationType::Upgrade, "demo")
            .await
            .is_empty()
    );
    assert_eq!(belay.status(&scale).await.phase, OperationPhase::InProgress);
    belay.set_min_available(0).await;
    belay.succeeds(&scale).await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np2").await;
    assert_eq!(belay.nodes().await.len(), 2, "np2 has two nodes");
    belay.check_history();
}

pub async fn with_queue_only_the_newest_change_of_a_target_waits(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = blocked_scale(&belay, "Queue").await;
    for (name, to) in [("to-1", "1.35.8"), ("to-2", "1.36.2"), ("to-3", "1.36.3")] {
        belay
            .create_operation_on_cluster(name, "Upgrade", json!({"kubernetesVersion": to}))
            .await;
    }
    for older in ["to-1", "to-2"] {
        let reason = cancellation_reason(&belay, older).await;
        assert!(reason.starts_with("replaced by Operation to-"), "{reason}");
        assert!(
            reason.ends_with(": only the newest waiting change is kept"),
            "{reason}"
        );
    }
    let waiting = belay.api::<Operation>().get("to-3").await;
    belay
        .wait_until_later(&waiting.expect("the Operation"), 1)
        .await;
    belay
        .create_operation_on_pool("more", "np1", "Scale", json!({"count": 2}))
        .await;
    assert_eq!(belay.status("to-3").await.phase, OperationPhase::Pending);
    belay.set_min_available(0).await;
    belay.succeeds(&scale).await;
    belay.succeeds("to-3").await;
    belay.succeeds("more").await;
    belay.pool_is_ready("np1").await;
    let (upgraded, scaled) = (belay.status("to-3").await, belay.status("more").await);
    assert!(
        upgraded.end_time <= scaled.start_time,
        "they run in the order of their creation"
    );
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    belay.check_history();
}

pub async fn with_queue_a_spec_change_waits_as_an_operation(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = blocked_scale(&belay, "Queue").await;
    belay.set_version("1.36.2").await;
    let first = belay.operation(OperationType::Upgrade, "demo").await;
    assert_eq!(belay.status(&first).await.phase, OperationPhase::Pending);
    belay.set_version("1.36.3").await;
    assert_eq!(
        cancellation_reason(&belay, &first).await,
        "replaced: the spec changed before this operation started"
    );
    let second = belay.nth_operation(2, OperationType::Upgrade, "demo").await;
    belay.set_min_available(0).await;
    belay.succeeds(&scale).await;
    belay.succeeds(&second).await;
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    assert_eq!(
        belay.operations(OperationType::Upgrade, "demo").await.len(),
        2
    );
    belay.check_history();
}

pub async fn with_replace_a_cluster_change_aborts_a_pools_operation_and_runs(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = blocked_scale(&belay, "Replace").await;
    belay
        .create_operation_on_cluster("newer", "Upgrade", json!({"kubernetesVersion": "1.36.3"}))
        .await;
    assert_eq!(
        cancellation_reason(&belay, &scale).await,
        "replaced by Operation newer"
    );
    belay.is_blocked("newer").await;
    belay.set_min_available(0).await;
    belay.succeeds("newer").await;
    belay.lock_is_free().await;
    let nodes = belay.nodes().await;
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    assert_eq!(nodes.len(), 2, "the pool's own change is on hold");
    belay.check_history();
}

pub async fn with_replace_a_pool_change_aborts_the_clusters_operation_and_runs(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay
        .create_cluster_with(json!({"concurrencyPolicy": "Replace", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}}))
        .await;
    belay.create_pool("np1", 1).await;
    belay.pool_is_ready("np1").await;
    belay.create_workload(1, 1).await;
    belay.lock_is_free().await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let expected = format!("replaced by Operation {scale}");
    assert_eq!(cancellation_reason(&belay, &upgrade).await, expected);
    belay.succeeds(&scale).await;
    assert_eq!(belay.nodes().await.len(), 3);
    belay.set_min_available(0).await;
    belay.lock_is_free().await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    assert!(
        belay
            .nodes()
            .await
            .iter()
            .all(|node| version(node) == "v1.36.3")
    );
    belay.check_history();
}
