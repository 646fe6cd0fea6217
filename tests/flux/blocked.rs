//! Blocked upgrades: what Flux reports, the effect of an abort, and the revert of a commit.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType};

use super::{fleet::Fleet, stage::Stage};

pub async fn a_blocked_upgrade_is_in_progress_for_flux(stage: Arc<Stage>) {
    let fleet = Fleet::with_protected_workload(&stage).await;
    let (revision, _) = fleet.blocked_upgrade().await;
    let flux = fleet
        .until("Flux runs health checks", |flux| {
            flux.has_condition("Healthy", "Unknown") && flux.has_condition("Ready", "Unknown")
        })
        .await;
    let condition = flux.condition("Reconciling").expect("a condition");
    let expected =
        format!("Running health checks for revision {revision} with a timeout of 1h0m0s");
    assert_eq!(condition["message"], expected);
    // The new revision isn't applied yet.
    assert_ne!(flux["status"]["lastAppliedRevision"], revision);
}

pub async fn an_aborted_upgrade_fails_the_health_check_and_stays_on_hold(stage: Arc<Stage>) {
    let fleet = Fleet::with_protected_workload(&stage).await;
    let (_, upgrade) = fleet.blocked_upgrade().await;
    fleet.abort(&upgrade).await;
    let flux = fleet
        .until("Flux reports a failure", |flux| {
            flux.has_condition("Ready", "False")
        })
        .await;
    let (reason, message) = flux.ready_reason_and_message();
    assert_eq!(reason, "HealthCheckFailed");
    // Flux names the first stalled object that it finds, and this object says why it is stalled.
    let failed = "failed early due to stalled resources: [";
    let of = |kind: &str, name: &str| format!("{kind}/{}/{name} status: 'Failed'", fleet.namespace);
    assert!(
        message.contains(failed)
            && (message.contains(&of("ManagedCluster", "demo"))
                || message.contains(&of("AgentPool", "demo-np1"))),
        "{message}"
    );
    let why = format!("Operation {upgrade} was canceled; Version");
    let cluster = fleet.cluster().await.status.expect("a status").conditions;
    let pool = fleet
        .pool("demo-np1")
        .await
        .status
        .expect("a status")
        .conditions;
    for conditions in [cluster, pool] {
        let stalled = conditions
            .iter()
            .find(|condition| condition.type_ == "Stalled");
        let stalled = &stalled.expect("a condition").message;
        assert!(stalled.starts_with(&why), "{stalled}");
    }
    let generation = fleet.cluster().await.metadata.generation;
    // Flux retries without any effect.
    for _ in 0..3 {
        fleet.reconcile().await;
        // Flux may have started another attempt.
        let flux = fleet
            .until("Flux reports a failure again", |flux| {
                flux.has_condition("Ready", "False")
            })
            .await;
        assert_eq!(flux.ready_reason_and_message().0, "HealthCheckFailed");
    }
    assert_eq!(fleet.cluster().await.metadata.generation, generation);
    assert_eq!(fleet.operations(OperationType::Upgrade).await.len(), 1);
}

pub async fn a_revert_of_the_commit_rolls_an_aborted_cluster_back(stage: Arc<Stage>) {
    let fleet = Fleet::with_protected_workload(&stage).await;
    let (_, upgrade) = fleet.blocked_upgrade().await;
    assert!(fleet.versions().await.contains(&"1.36.3".to_owned()));
    fleet.abort(&upgrade).await;
    let reverted = fleet.revert();
    fleet.is_ready_at(&reverted).await;
    fleet
        .operation(OperationType::Rollback, OperationPhase::Succeeded)
        .await;
    assert_eq!(fleet.versions().await, ["1.35.7"; 5]);
}

pub async fn with_replace_a_revert_aborts_the_upgrade(stage: Arc<Stage>) {
    let fleet = Fleet::with_protected_workload(&stage).await;
    let policy = "spec:\n  concurrencyPolicy: Replace";
    let replace = fleet.change("cluster.yaml", "spec:", policy);
    fleet.is_ready_at(&replace).await;
    fleet.blocked_upgrade().await;
    let reverted = fleet.revert();
    fleet.is_ready_at(&reverted).await;
    fleet
        .operation(OperationType::Upgrade, OperationPhase::Canceled)
        .await;
    fleet
        .operation(OperationType::Rollback, OperationPhase::Succeeded)
        .await;
    assert_eq!(fleet.versions().await, ["1.35.7"; 5]);
}
