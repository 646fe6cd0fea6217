//! What happens to a change while an operation is in flight: Forbid, Queue or Replace.

use std::sync::Arc;

use belay::api::{
    AgentPool, CancellationStatus, Operation, OperationPhase, OperationType, TargetKind,
};
use serde_json::json;

use crate::stage::belay::{Belay, World, version};

/// Creates a cluster with that policy, whose pool's scale-down hangs on a PDB. Returns the Scale's name.
async fn hanging_scale(belay: &Belay, policy: &str) -> String {
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

async fn reason(belay: &Belay, operation: &str) -> String {
    let status = belay.is_in_phase(operation, OperationPhase::Canceled).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    cancellation.reason
}

pub async fn with_forbid_a_spec_change_waits_without_an_operation(world: Arc<World>) {
    let belay = Belay::start(&world.unguarded().await).await;
    let scale = hanging_scale(&belay, "Forbid").await;
    belay.set_version("1.36.3").await;
    belay.set_count("np2", 2).await;
    // By the time that Belay has observed this, both changes would have led to an Operation.
    belay
        .annotate::<AgentPool>("np2", json!({"belay.dev/abort": "seen"}))
        .await;
    belay
        .eventually("has seen all of it", || async {
            belay.pool_status("np2").await.observed_abort.is_some()
        })
        .await;
    // The pool's change waits too: its Operation would keep the cluster's change waiting.
    let of_pool = belay.operations(OperationType::Scale, "np2").await;
    assert!(of_pool.is_empty());
    assert!(
        belay
            .operations(OperationType::Upgrade, "demo")
            .await
            .is_empty()
    );
    assert_eq!(belay.status(&scale).await.phase, OperationPhase::InProgress);
    belay.keep_available(0).await;
    belay.succeeds(&scale).await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np2").await;
    assert_eq!(belay.nodes().await.len(), 2, "np2 has its nodes");
    belay.check_history();
}

pub async fn with_queue_only_the_newest_change_of_a_target_waits(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = hanging_scale(&belay, "Queue").await;
    for (name, to) in [("to-1", "1.35.8"), ("to-2", "1.36.2"), ("to-3", "1.36.3")] {
        belay
            .ask_cluster(name, "Upgrade", json!({"kubernetesVersion": to}))
            .await;
    }
    for older in ["to-1", "to-2"] {
        let reason = reason(&belay, older).await;
        assert!(reason.starts_with("replaced by Operation to-"), "{reason}");
        assert!(
            reason.ends_with(": only the newest change that waits is kept"),
            "{reason}"
        );
    }
    let asked = belay.api::<Operation>().get("to-3").await;
    belay.comes_later(&asked.expect("it is there"), 1).await;
    belay
        .ask_pool("more", "np1", "Scale", json!({"count": 2}))
        .await;
    assert_eq!(belay.status("to-3").await.phase, OperationPhase::Pending);
    belay.keep_available(0).await;
    belay.succeeds(&scale).await;
    belay.succeeds("to-3").await;
    belay.succeeds("more").await;
    belay.pool_is_ready("np1").await;
    let (upgraded, scaled) = (belay.status("to-3").await, belay.status("more").await);
    assert!(
        upgraded.end_time <= scaled.start_time,
        "in the order in which they were asked for"
    );
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    belay.check_history();
}

pub async fn with_queue_a_spec_change_waits_as_an_operation(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = hanging_scale(&belay, "Queue").await;
    belay.set_version("1.36.2").await;
    let first = belay.operation(OperationType::Upgrade, "demo").await;
    assert_eq!(belay.status(&first).await.phase, OperationPhase::Pending);
    belay.set_version("1.36.3").await;
    assert_eq!(
        reason(&belay, &first).await,
        "replaced: the spec changed before it began"
    );
    let second = belay.nth_operation(2, OperationType::Upgrade, "demo").await;
    belay.keep_available(0).await;
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
    let scale = hanging_scale(&belay, "Replace").await;
    belay
        .ask_cluster("newer", "Upgrade", json!({"kubernetesVersion": "1.36.3"}))
        .await;
    assert_eq!(reason(&belay, &scale).await, "replaced by Operation newer");
    belay.is_blocked("newer").await;
    belay.keep_available(0).await;
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
    assert_eq!(reason(&belay, &upgrade).await, expected);
    belay.succeeds(&scale).await;
    assert_eq!(belay.nodes().await.len(), 3);
    belay.keep_available(0).await;
    belay.lock_is_free().await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "go-on")
        .await;
    belay.succeeds("go-on").await;
    assert!(
        belay
            .nodes()
            .await
            .iter()
            .all(|node| version(node) == "v1.36.3")
    );
    belay.check_history();
}
