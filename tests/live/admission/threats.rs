//! A user with all rights on Belay's kinds in one namespace cannot affect another namespace, even if one operator with
//! rights in both namespaces works for both.

use std::sync::Arc;

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::belay::{Belay, World};

fn manifest(kind: &str, metadata: &Value, spec: &Value) -> String {
    let object = json!({"apiVersion": "belay.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
    object.to_string()
}

/// Creates two namespaces for one operator, and in each a cluster with the same names. In the second one, a user has
/// all rights on Belay's kinds.
async fn victim_and_attacker(world: &Arc<World>) -> (Arc<Belay>, Arc<Belay>, impl Drop) {
    let victim = Belay::start_without_operator(world).await;
    let attacker = Belay::start_without_operator(world).await;
    let both = format!("{},{}", victim.namespace, attacker.namespace);
    let (operator, _) = attacker.operator(&[("BELAY_NAMESPACE", &both)]);
    victim.cluster_with_blocked_drains(2).await;
    victim.lock_is_free().await;
    attacker.allow(
        "mallory",
        &[
            "* on managedclusters,agentpools,operations,agentpools/scale",
            "* on managedclusters/abort,agentpools/abort,operations/abort",
        ],
    );
    attacker.ready_cluster(0, 1).await;
    attacker.lock_is_free().await;
    (victim, attacker, operator)
}

pub async fn an_owner_of_one_namespace_cannot_affect_another(world: Arc<World>) {
    let (victim, attacker, _operator) = victim_and_attacker(&world).await;
    let before = victim.state().await;
    let cluster = victim.cluster().await;
    let operation = victim
        .operations(belay::api::OperationType::Create, "np1")
        .await;
    let owner = json!([{"apiVersion": "belay.dev/v1alpha1", "kind": "ManagedCluster", "name": "demo", "uid": cluster.uid()}]);
    let labels = json!({"belay.dev/cluster": "demo", "belay.dev/namespace": victim.namespace,
        "belay.dev/operation-uid": operation[0].uid()});
    // A pool that claims to belong to the other namespace's cluster, and Operations with its labels.
    let pool = json!({"clusterName": "demo", "count": 0});
    let metadata = json!({"name": "np9", "ownerReferences": owner, "labels": labels});
    attacker
        .create_as("mallory", &manifest("AgentPool", &metadata, &pool))
        .expect("it is an ordinary pool");
    for target in [
        json!({"kind": "AgentPool", "name": "np1"}),
        json!({"kind": "ManagedCluster", "name": "demo"}),
    ] {
        let spec = json!({"type": "Reconcile", "target": target});
        let name = format!("reaches-{}", target["name"].as_str().unwrap_or_default());
        let metadata = json!({"name": name, "labels": labels, "ownerReferences": owner});
        // A copy of an Operation doesn't run, and the garbage collector deletes it because its owner is in another
        // namespace.
        let _ = attacker.create_as("mallory", &manifest("Operation", &metadata, &spec));
    }
    // The attacker deletes their own objects, which have the same names.
    attacker.kubectl(&[
        "--as=mallory",
        "delete",
        "managedcluster",
        "demo",
        "--timeout=5m",
    ]);
    attacker
        .eventually("the attacker's nodes are deleted", || async {
            attacker.nodes().await.is_empty()
        })
        .await;
    assert_eq!(victim.state().await, before);
    victim.check_history();
}

pub async fn a_namespace_owner_cannot_put_belays_labels_on_nodes(world: Arc<World>) {
    let (victim, attacker, _operator) = victim_and_attacker(&world).await;
    let before = victim.state().await;
    for label in [
        "belay.dev/namespace",
        "belay.dev/cluster",
        "belay.dev/agentpool",
        "kubernetes.io/hostname",
    ] {
        let claims = json!({"spec": {"nodeLabels": {label: victim.namespace}}}).to_string();
        let patch = [
            "--as=mallory",
            "patch",
            "agentpool",
            "np1",
            "--type=merge",
            "-p",
            &claims,
        ];
        let refused = attacker.try_kubectl(&patch).expect_err("it is refused");
        assert!(refused.contains("nodeLabels"), "{refused}");
    }
    assert_eq!(victim.state().await, before);
}

pub async fn a_namespace_owner_cannot_write_nodes_statuses_or_records(world: Arc<World>) {
    let (victim, attacker, _operator) = victim_and_attacker(&world).await;
    let before = victim.state().await;
    let node = victim.nodes().await[0].name_any();
    let own = attacker.nodes().await[0].name_any();
    let elsewhere = format!("--namespace={}", victim.namespace);
    let pods = victim.kubectl(&["get", "pods", "-o", "name"]);
    let pod = pods.lines().next().expect("a pod");
    let forged = r#"--patch={"status":{"operations":[]}}"#;
    for attempt in [
        vec!["delete", "node", &node],
        vec![
            "label",
            "node",
            &own,
            "belay.dev/namespace=mine",
            "--overwrite",
        ],
        vec![
            "annotate",
            "node",
            &own,
            "belay.dev/made-by=me",
            "--overwrite",
        ],
        vec![&elsewhere, "delete", pod],
        vec![&elsewhere, "delete", "managedcluster", "demo"],
        vec![
            &elsewhere,
            "annotate",
            "managedcluster",
            "demo",
            "belay.dev/abort=mine",
        ],
        vec![
            "patch",
            "managedcluster",
            "demo",
            "--subresource=status",
            "--type=merge",
            forged,
        ],
        vec!["delete", "kwokcontrolplane", "demo"],
    ] {
        let tried = attacker.try_kubectl(&[&["--as=mallory"], &attempt[..]].concat());
        let refused = tried.expect_err("it is refused");
        assert!(refused.contains("(Forbidden)"), "{attempt:?}: {refused}");
    }
    assert_eq!(victim.state().await, before);
}
