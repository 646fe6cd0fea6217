//! Commits that Flux applies and Belay carries out.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{fleet::Fleet, stage::Stage};

fn is_ready(conditions: &[Condition]) -> bool {
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    ready.is_some_and(|ready| ready.status == "True")
}

pub async fn a_kustomization_becomes_ready_only_with_its_cluster(stage: Arc<Stage>) {
    // This waits until Flux reports Ready, and for no object of Belay.
    let fleet = Fleet::start(&stage).await;
    let cluster = fleet.cluster().await.status.expect("a status");
    assert!(is_ready(&cluster.conditions), "{cluster:#?}");
    for name in ["demo-system", "demo-np1"] {
        let pool = fleet.pool(name).await.status.expect("a status");
        assert!(is_ready(&pool.conditions), "{pool:#?}");
    }
    assert_eq!(fleet.versions().await, ["1.35.7"; 5]);
}

pub async fn a_commit_upgrades_a_cluster(stage: Arc<Stage>) {
    let fleet = Fleet::start(&stage).await;
    let revision = fleet.change("cluster.yaml", "1.35.7", "1.36.3");
    fleet.is_ready_at(&revision).await;
    fleet
        .operation(OperationType::Upgrade, OperationPhase::Succeeded)
        .await;
    assert_eq!(fleet.versions().await, ["1.36.3"; 5]);
}

pub async fn a_cluster_and_its_pinned_pool_need_one_commit_each_to_upgrade(stage: Arc<Stage>) {
    let fleet = Fleet::start(&stage).await;
    let pinned = fleet.change(
        "pools.yaml",
        "count: 3",
        "count: 3\n  kubernetesVersion: 1.35.7",
    );
    fleet.is_ready_at(&pinned).await;
    fleet.change("pools.yaml", "1.35.7", "1.36.3");
    let flux = fleet
        .until("a pool that is newer than its cluster is refused", |flux| {
            flux.has_condition("Ready", "False")
        })
        .await;
    let (reason, message) = flux.ready_reason_and_message();
    assert_eq!(reason, "ReconciliationFailed");
    assert!(
        message.contains(
            "AgentPool demo-np1 can't be newer than its control plane, which runs 1.35.7"
        ),
        "{message}"
    );
    // Because of the pool, Flux doesn't apply the commit.
    let cluster_too = fleet.change("cluster.yaml", "1.35.7", "1.36.3");
    fleet
        .until("Flux has tried the commit", |flux| {
            flux["status"]["lastAttemptedRevision"] == cluster_too
                && flux.ready_reason_and_message().0 == "ReconciliationFailed"
        })
        .await;
    assert!(fleet.operations(OperationType::Upgrade).await.is_empty());
    fleet.change("pools.yaml", "1.36.3", "1.35.7");
    fleet
        .operation(OperationType::Upgrade, OperationPhase::Succeeded)
        .await;
    let both = fleet.change("pools.yaml", "1.35.7", "1.36.3");
    fleet.is_ready_at(&both).await;
    assert_eq!(fleet.versions().await, ["1.36.3"; 5]);
}
