//! A user who causes an abort through `concurrencyPolicy: Replace` needs the right to abort.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType};
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    doors::{operation, told},
};

impl Belay {
    fn patch_as(&self, user: &str, what: &str, spec: &Value) -> Result<String, String> {
        let patch = json!({"spec": spec}).to_string();
        self.try_as(user, &["patch", what, "--type=merge", "-p", &patch])
    }

    fn may_not_replace(&self, operation: &str) -> String {
        format!(
            "(Forbidden) User \"eve\" cannot have Operation {operation} aborted: with concurrencyPolicy Replace this change does so, and that needs the verb update on operations/abort in API group belay.dev in the namespace \"{}\"",
            self.namespace
        )
    }

    /// Waits until the pool's status shows the policy and the operation in flight.
    async fn pool_knows(&self, pool: &str, operation: &str) {
        self.eventually("tells the pool what is in flight", || async {
            let status = self.pool_status(pool).await;
            let is_replace = status.cluster.is_some_and(|cluster| {
                cluster.concurrency_policy == belay::api::ConcurrencyPolicy::Replace
            });
            is_replace && status.operation.is_some_and(|held| held.name == operation)
        })
        .await;
    }

    async fn goes_on(&self, operation: &str) {
        let status = self.status(operation).await;
        assert_eq!(status.phase, OperationPhase::InProgress);
        assert_eq!(status.cancellation, None);
    }
}

pub async fn a_user_without_the_right_to_abort_cannot_replace_a_pools_operation(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.scaling().await;
    for (user, role) in [("eve", "belay-editor"), ("both", "belay-admin")] {
        belay.grant(user, role);
    }
    let refusal = belay.may_not_replace(&scale);
    let switch = json!({"concurrencyPolicy": "Replace"});
    let switched = belay.patch_as("eve", "managedcluster/demo", &switch);
    assert_eq!(told(switched), refusal);
    // Queue aborts nothing, and the way from Queue to Replace is refused as well.
    let queue = json!({"concurrencyPolicy": "Queue"});
    belay
        .patch_as("eve", "managedcluster/demo", &queue)
        .expect("passes");
    let switched = belay.patch_as("eve", "managedcluster/demo", &switch);
    assert_eq!(told(switched), refusal);
    belay
        .patch_as("both", "managedcluster/demo", &switch)
        .expect("both may");
    belay.pool_knows("np1", &scale).await;

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
        assert_eq!(told(belay.patch_as("eve", what, &spec)), refusal, "{spec}");
    }
    let scaled = belay.try_as("eve", &["scale", "agentpool", "np1", "--replicas=5"]);
    assert_eq!(told(scaled), refusal);
    for asked in [
        json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.36.3"}),
        json!({"type": "Reconcile", "on": "demo"}),
        json!({"type": "Scale", "on": "np1", "count": 5}),
        json!({"type": "Reconcile", "on": "np1"}),
    ] {
        let created = belay.create_as("eve", &operation("refused", asked.clone()));
        assert_eq!(told(created), refusal, "{asked}");
    }
    belay.goes_on(&scale).await;
    // Changes that abort nothing pass.
    belay
        .patch_as(
            "eve",
            "managedcluster/demo",
            &json!({"operationHistoryLimit": 7}),
        )
        .expect("passes");
    belay
        .try_as("eve", &["scale", "agentpool", "np2", "--replicas=1"])
        .expect("the other pool is free");
    belay.pool_is_ready("np2").await;
    belay.goes_on(&scale).await;
    belay
        .try_as("both", &["scale", "agentpool", "np1", "--replicas=3"])
        .expect("both may");
    belay.is_in_phase(&scale, OperationPhase::Canceled).await;
}

pub async fn a_user_without_the_right_to_abort_cannot_replace_a_clusters_operation(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.upgrading().await;
    belay.grant("eve", "belay-editor");
    belay
        .patch(
            "managedcluster/demo",
            &json!({"concurrencyPolicy": "Replace"}),
        )
        .expect("passes");
    belay.pool_knows("np1", &upgrade).await;
    let refusal = belay.may_not_replace(&upgrade);
    assert_eq!(
        told(belay.patch_as("eve", "agentpool/np1", &json!({"count": 5}))),
        refusal
    );
    let scaled = belay.try_as("eve", &["scale", "agentpool", "np1", "--replicas=5"]);
    assert_eq!(told(scaled), refusal);
    for type_ in ["Stop", "Delete"] {
        let asked = operation("refused", json!({"type": type_, "on": "np1"}));
        assert_eq!(told(belay.create_as("eve", &asked)), refusal);
    }
    // A pool's deletion would replace its cluster's upgrade.
    let deleted = belay.try_as("eve", &["delete", "agentpool", "np1", "--wait=false"]);
    assert_eq!(told(deleted), refusal);
    // Belay deletes pools for somebody's Operation, and has no right to abort.
    belay.allow(
        "operator",
        &["delete,get on agentpools", "operate on managedclusters"],
    );
    let delete = ["delete", "agentpool", "np1", "--dry-run=server"];
    belay.try_as("operator", &delete).expect("Belay may");
    belay.goes_on(&upgrade).await;
    // The creation of a pool replaces nothing: it waits.
    let pool = r#"{"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np3"}, "spec": {"clusterName": "demo", "count": 0}}"#;
    belay.create_as("eve", pool).expect("passes");
    belay.operation(OperationType::Create, "np3").await;
    belay.goes_on(&upgrade).await;
    // The deletion of a cluster also ends the operation in flight on it: this needs only the right to delete.
    belay
        .try_as("eve", &["delete", "managedcluster", "demo", "--wait=false"])
        .expect("eve may delete");
    belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
}
