//! A user who causes an abort through `concurrencyPolicy: Replace` needs the right to abort.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType};
use serde_json::json;

use crate::stage::{
    belay::{Belay, World},
    changes::{operation, refusal_message},
};

impl Belay {
    /// Returns the refusal if eve's change would replace this Operation.
    fn refusal_to_replace(&self, operation: &str) -> String {
        format!(
            "(Forbidden) User \"eve\" cannot make this change: with concurrencyPolicy Replace it aborts Operation {operation}, which needs the verb update on operations/abort in API group belay.dev in the namespace \"{}\"",
            self.namespace
        )
    }

    /// Waits until the pool's status shows the policy and the operation in flight.
    async fn pool_status_shows(&self, pool: &str, operation: &str) {
        self.eventually("the pool's status shows the operation", || async {
            let status = self.pool_status(pool).await;
            let is_replace = status.cluster.is_some_and(|cluster| {
                cluster.concurrency_policy == belay::api::ConcurrencyPolicy::Replace
            });
            is_replace && status.operation.is_some_and(|held| held.name == operation)
        })
        .await;
    }

    /// Checks that an Operation is in progress and has no abort.
    async fn is_not_aborted(&self, operation: &str) {
        let status = self.status(operation).await;
        assert_eq!(status.phase, OperationPhase::InProgress);
        assert_eq!(status.cancellation, None);
    }
}

pub async fn a_user_without_the_right_to_abort_cannot_replace_a_pools_operation(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.blocked_scale().await;
    for (user, role) in [("eve", "belay-editor"), ("carol", "belay-admin")] {
        belay.grant(user, role);
    }
    let refusal = belay.refusal_to_replace(&scale);
    let replace = json!({"concurrencyPolicy": "Replace"});
    let patched = belay.patch_as("eve", "managedcluster/demo", &replace);
    assert_eq!(refusal_message(patched), refusal);
    // Queue aborts nothing. The change from Queue to Replace is refused as well.
    let queue = json!({"concurrencyPolicy": "Queue"});
    belay
        .patch_as("eve", "managedcluster/demo", &queue)
        .expect("allowed");
    let patched = belay.patch_as("eve", "managedcluster/demo", &replace);
    assert_eq!(refusal_message(patched), refusal);
    belay
        .patch_as("carol", "managedcluster/demo", &replace)
        .expect("carol may");
    belay.pool_status_shows("np1", &scale).await;

    for (what, spec) in [
        (
            "managedcluster/demo",
            json!({"kubernetesVersion": "1.36.3"}),
        ),
        ("managedcluster/demo", json!({"powerState": "Stopped"})),
        (
            "managedcluster/demo",
            json!({"provider": {"kwok": {"nodeProvisioningTime": "1s"}}}),
        ),
        ("agentpool/np1", json!({"count": 5})),
        ("agentpool/np1", json!({"nodeLabels": {"a": "b"}})),
    ] {
        assert_eq!(
            refusal_message(belay.patch_as("eve", what, &spec)),
            refusal,
            "{spec}"
        );
    }
    let scaled = belay.try_as("eve", &["scale", "agentpool", "np1", "--replicas=5"]);
    assert_eq!(refusal_message(scaled), refusal);
    for spec in [
        json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.36.3"}),
        json!({"type": "Reconcile", "on": "demo"}),
        json!({"type": "Scale", "on": "np1", "count": 5}),
        json!({"type": "Reconcile", "on": "np1"}),
    ] {
        let created = belay.create_as("eve", &operation("refused", spec.clone()));
        assert_eq!(refusal_message(created), refusal, "{spec}");
    }
    belay.is_not_aborted(&scale).await;
    // Changes that abort nothing are allowed.
    belay
        .patch_as(
            "eve",
            "managedcluster/demo",
            &json!({"operationHistoryLimit": 7}),
        )
        .expect("allowed");
    belay
        .try_as("eve", &["scale", "agentpool", "np2", "--replicas=1"])
        .expect("the other pool is free");
    belay.pool_is_ready("np2").await;
    belay.is_not_aborted(&scale).await;
    belay
        .try_as("carol", &["scale", "agentpool", "np1", "--replicas=3"])
        .expect("carol may");
    belay.is_in_phase(&scale, OperationPhase::Canceled).await;
}

pub async fn a_user_without_the_right_to_abort_cannot_replace_a_clusters_operation(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    belay.grant("eve", "belay-editor");
    belay
        .patch(
            "managedcluster/demo",
            &json!({"concurrencyPolicy": "Replace"}),
        )
        .expect("allowed");
    belay.pool_status_shows("np1", &upgrade).await;
    let refusal = belay.refusal_to_replace(&upgrade);
    assert_eq!(
        refusal_message(belay.patch_as("eve", "agentpool/np1", &json!({"count": 5}))),
        refusal
    );
    let scaled = belay.try_as("eve", &["scale", "agentpool", "np1", "--replicas=5"]);
    assert_eq!(refusal_message(scaled), refusal);
    for type_ in ["Stop", "Delete"] {
        let manifest = operation("refused", json!({"type": type_, "on": "np1"}));
        assert_eq!(refusal_message(belay.create_as("eve", &manifest)), refusal);
    }
    // The deletion of a pool would replace the cluster's upgrade.
    let deleted = belay.try_as("eve", &["delete", "agentpool", "np1", "--wait=false"]);
    assert_eq!(refusal_message(deleted), refusal);
    // Belay deletes pools for the Operations of users, and has no right to abort.
    belay.allow(
        "operator",
        &["delete,get on agentpools", "operate on managedclusters"],
    );
    let delete = ["delete", "agentpool", "np1", "--dry-run=server"];
    belay.try_as("operator", &delete).expect("Belay may");
    belay.is_not_aborted(&upgrade).await;
    // The creation of a pool replaces nothing; it waits.
    let pool = r#"{"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np3"}, "spec": {"clusterName": "demo", "count": 0}}"#;
    belay.create_as("eve", pool).expect("allowed");
    belay.operation(OperationType::Create, "np3").await;
    belay.is_not_aborted(&upgrade).await;
    // The deletion of a cluster also ends the operation in flight on it. This needs only the right to delete.
    belay
        .try_as("eve", &["delete", "managedcluster", "demo", "--wait=false"])
        .expect("eve may delete");
    belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
}
