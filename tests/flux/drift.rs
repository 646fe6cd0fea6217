//! Field ownership: neither Flux nor Belay changes the fields of the other.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{OperationPhase, OperationType, PowerState};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{fleet::Fleet, stage::Stage};

/// Returns what Flux logged each time it applied the fleet: the names of the objects, and the results.
fn applied(fleet: &Fleet) -> Vec<Vec<(String, String)>> {
    let log = fleet.stage.log("kustomize-controller");
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = lines.filter(|line| {
        line["msg"] == "server-side apply completed" && line["namespace"] == fleet.namespace
    });
    let entries = |line: Value| {
        let objects = line["output"].as_object().expect("objects").clone();
        let done = |value: Value| value.as_str().unwrap_or_default().to_owned();
        objects
            .into_iter()
            .map(|(name, value)| (name, done(value)))
            .collect()
    };
    ours.map(entries).collect()
}

/// Makes Flux reconcile once more. Returns what it changed.
pub async fn changed_by_reconcile(fleet: &Fleet) -> BTreeSet<String> {
    let before = applied(fleet).len();
    fleet.reconcile().await;
    let after = applied(fleet);
    assert!(after.len() > before, "Flux logs each reconcile");
    let objects = after[before..].iter().flatten();
    let changed = objects.filter(|(_, done)| done != "unchanged");
    changed
        .map(|(name, done)| format!("{name} {done}"))
        .collect()
}

pub async fn belays_writes_cause_no_drift_in_flux(stage: Arc<Stage>) {
    let fleet = Fleet::start(&stage).await;
    // At this time, Belay has written finalizers, labels, an owner and conditions.
    assert!(changed_by_reconcile(&fleet).await.is_empty());
    let revision = fleet.change("cluster.yaml", "1.35.7", "1.36.3");
    fleet.is_ready_at(&revision).await;
    assert!(changed_by_reconcile(&fleet).await.is_empty());
}

pub async fn flux_removes_the_abort_annotation_and_the_operation_stays_canceled(stage: Arc<Stage>) {
    let fleet = Fleet::with_protected_workload(&stage).await;
    fleet.blocked_upgrade().await;
    fleet.kubectl(&[
        "annotate",
        "managedcluster",
        "demo",
        "belay.dev/abort=stuck",
    ]);
    fleet
        .operation(OperationType::Upgrade, OperationPhase::Canceled)
        .await;
    // Flux removes all annotations that kubectl wrote to the objects that Flux applies.
    fleet.reconcile().await;
    assert!(fleet.cluster().await.annotations().is_empty());
    assert!(changed_by_reconcile(&fleet).await.is_empty());
    fleet
        .operation(OperationType::Upgrade, OperationPhase::Canceled)
        .await;
}

pub async fn an_operation_may_change_a_field_that_git_does_not_set(stage: Arc<Stage>) {
    let fleet = Fleet::start(&stage).await;
    let stop = "{apiVersion: belay.dev/v1alpha1, kind: Operation, metadata: {name: stop-pool}, spec: {type: Stop, target: {kind: AgentPool, name: demo-np1}}}";
    let create = ["--namespace", &fleet.namespace, "create", "-f", "-"];
    stage.kubectl(&create, stop);
    fleet
        .operation(OperationType::Stop, OperationPhase::Succeeded)
        .await;
    assert!(changed_by_reconcile(&fleet).await.is_empty());
    let pool = fleet.pool("demo-np1").await;
    assert_eq!(pool.spec.power_state, PowerState::Stopped);
    assert_eq!(
        fleet.versions().await.len(),
        2,
        "the nodes of the other pool"
    );
}

pub async fn an_autoscaler_may_change_a_count_that_flux_ignores(stage: Arc<Stage>) {
    let fleet = Fleet::start(&stage).await;
    let ignore =
        r#"{"spec": {"ignore": [{"paths": ["/spec/count"], "target": {"kind": "AgentPool"}}]}}"#;
    fleet.kubectl(&[
        "patch",
        "kustomization",
        "fleet",
        "--type=merge",
        "--patch",
        ignore,
    ]);
    fleet.kubectl(&["scale", "agentpool", "demo-np1", "--replicas=4"]);
    fleet
        .operation(OperationType::Scale, OperationPhase::Succeeded)
        .await;
    assert!(changed_by_reconcile(&fleet).await.is_empty());
    let revision = fleet.change("cluster.yaml", "1.35.7", "1.36.3");
    fleet.is_ready_at(&revision).await;
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}

pub async fn an_operation_fails_on_a_field_that_git_sets(stage: Arc<Stage>) {
    let fleet = Fleet::start(&stage).await;
    let upgrade = "{apiVersion: belay.dev/v1alpha1, kind: Operation, metadata: {name: upgrade-cluster}, spec: {type: Upgrade, target: {kind: ManagedCluster, name: demo}, kubernetesVersion: 1.36.3}}";
    let create = ["--namespace", &fleet.namespace, "create", "-f", "-"];
    stage.kubectl(&create, upgrade);
    fleet
        .operation(OperationType::Upgrade, OperationPhase::Failed)
        .await;
    let operation = &fleet.operations(OperationType::Upgrade).await[0];
    let error = operation.status.clone().and_then(|status| status.error);
    let message = error.expect("an error").message;
    assert!(message.contains("kustomize-controller"), "{message}");
    assert!(changed_by_reconcile(&fleet).await.is_empty());
    assert_eq!(fleet.versions().await, ["1.35.7"; 5]);
}
