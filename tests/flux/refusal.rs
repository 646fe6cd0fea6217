//! Commits that admission refuses while an operation is in flight.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType};

use super::{fleet::Fleet, stage::Stage};

pub async fn a_refused_change_is_reported_and_applied_after_the_operation_ends(stage: Arc<Stage>) {
    let fleet = Fleet::with_protected_workload(&stage).await;
    let (_, upgrade) = fleet.blocked_upgrade().await;
    let revision = fleet.change("pools.yaml", "count: 3", "count: 4");
    let flux = fleet
        .until("the commit is refused", |flux| {
            flux["status"]["lastAttemptedRevision"] == revision
                && flux.ready_reason_and_message().0 == "ReconciliationFailed"
        })
        .await;
    let (_, message) = flux.ready_reason_and_message();
    let refusal = format!(
        "(OperationNotAllowed) Operation is not allowed: Another operation ({upgrade}) is in progress, please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {upgrade} belay.dev/abort=<reason>"
    );
    let of = format!(
        "AgentPool/{}/demo-np1 dry-run failed (Forbidden)",
        fleet.namespace
    );
    assert!(
        message.starts_with(&of) && message.contains(&refusal),
        "{message}"
    );
    // Flux retries by itself.
    fleet.kubectl(&["delete", "pdb", "web"]);
    fleet.is_ready_at(&revision).await;
    fleet
        .operation(OperationType::Upgrade, OperationPhase::Succeeded)
        .await;
    fleet
        .operation(OperationType::Scale, OperationPhase::Succeeded)
        .await;
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}
