//! Clusters that Belay itself creates.

use std::sync::Arc;

use belay::api::{
    AgentPool, ManagedCluster,
    OperationType::{Create, Delete, Upgrade},
    TargetKind,
};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::{
    belay::Belay,
    stage::{NEW, OLD, Stage, api, apply, has_started_at_cluster_api, machines_of, versions},
};

/// Starts an operator in a namespace with a `ClusterClass` and no Cluster.
async fn with_class(stage: &Stage) -> Arc<Belay> {
    let belay = Belay::start_without_operator(&stage.world).await;
    apply(&belay, "examples/cluster-api/class.yaml", |text| text);
    stage.start_operator(&belay);
    belay
}

async fn create_cluster(belay: &Belay, class: &str) {
    let create = json!({
        "classRef": {"name": class}, "workerClass": "default-worker", "controlPlaneReplicas": 1,
        "clusterNetwork": {"services": {"cidrBlocks": ["10.128.0.0/12"]}, "pods": {"cidrBlocks": ["192.168.0.0/16"]}},
    });
    create_cluster_with_settings(belay, create).await;
}

async fn create_cluster_with_settings(belay: &Belay, create: Value) {
    let settings = json!({"clusterName": "demo", "create": create});
    let provider = json!({"clusterAPI": settings});
    belay
        .create_cluster_with(json!({"kubernetesVersion": OLD, "provider": provider}))
        .await;
}

async fn delete_cluster(belay: &Belay) {
    let clusters = belay.api::<ManagedCluster>();
    let deleted = clusters.delete("demo", &DeleteParams::default()).await;
    deleted.expect("deleted");
    belay
        .eventually("the ManagedCluster is deleted", || async {
            clusters.get_opt("demo").await.expect("an answer").is_none()
        })
        .await;
}

/// Returns the names of the topology's entries with their numbers of Machines.
async fn topology_entries(belay: &Belay) -> Vec<(Value, Value)> {
    let cluster = api(belay, "Cluster").get("demo").await.expect("a Cluster");
    let entries = cluster.data["spec"]["topology"]["workers"]["machineDeployments"].clone();
    let entries = entries.as_array().cloned().unwrap_or_default();
    let shown = |entry: Value| (entry["name"].clone(), entry["replicas"].clone());
    entries.into_iter().map(shown).collect()
}

pub async fn a_cluster_can_be_created_upgraded_and_deleted_with_its_pools(stage: Arc<Stage>) {
    let belay = with_class(&stage).await;
    create_cluster(&belay, "in-memory").await;
    belay.create_pool_with("web", json!({"count": 2})).await;
    let create = belay.operation(Create, "demo").await;
    belay.succeeds(&create).await;
    belay.pool_is_ready("web").await;
    assert_eq!(versions(&machines_of(&belay, None).await), vec![OLD; 3]);

    belay
        .create_pool_with("db", json!({"count": 1, "nodeLabels": {"tier": "db"}}))
        .await;
    let create = belay.operation(Create, "db").await;
    belay.succeeds(&create).await;
    let all = [(json!("web"), json!(2)), (json!("db"), json!(1))];
    assert_eq!(topology_entries(&belay).await, all);
    let db = machines_of(&belay, Some("db")).await;
    assert_eq!(
        db[0]
            .metadata
            .labels
            .as_ref()
            .and_then(|all| all.get("tier")),
        Some(&"db".to_owned())
    );

    belay.cluster_is_ready().await;
    belay.set_version(NEW).await;
    belay.cluster_is_ready().await;
    assert_eq!(versions(&machines_of(&belay, None).await), vec![NEW; 4]);

    let pools = belay.api::<AgentPool>();
    pools
        .delete("db", &DeleteParams::default())
        .await
        .expect("deleted");
    let delete = belay.operation(Delete, "db").await;
    belay.succeeds(&delete).await;
    assert_eq!(topology_entries(&belay).await, [(json!("web"), json!(2))]);

    delete_cluster(&belay).await;
    let cluster = api(&belay, "Cluster").get_opt("demo").await;
    assert!(cluster.expect("an answer").is_none());
    assert!(machines_of(&belay, None).await.is_empty());
}

pub async fn an_aborted_creation_can_continue_and_an_aborted_upgrade_can_be_deleted(
    stage: Arc<Stage>,
) {
    let belay = with_class(&stage).await;
    create_cluster(&belay, "in-memory").await;
    belay.create_pool_with("web", json!({"count": 1})).await;
    let create = belay.operation(Create, "demo").await;
    has_started_at_cluster_api(&belay, &create).await;
    belay.abort(&create, "the wrong region").await;
    belay.is_canceled(&create).await;
    assert!(
        machines_of(&belay, Some("web")).await.is_empty(),
        "after the abort, no Machine is created"
    );
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    assert_eq!(machines_of(&belay, None).await.len(), 2);

    belay.cluster_is_ready().await;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    has_started_at_cluster_api(&belay, &upgrade).await;
    belay.abort(&upgrade, "not today").await;
    belay.is_canceled(&upgrade).await;
    delete_cluster(&belay).await;
    assert!(
        machines_of(&belay, None).await.is_empty(),
        "the pause of the abort doesn't prevent the deletion"
    );
}

pub async fn an_existing_cluster_is_neither_taken_over_nor_deleted(stage: Arc<Stage>) {
    let belay = with_class(&stage).await;
    apply(&belay, "examples/cluster-api/cluster.yaml", |text| text);
    create_cluster(&belay, "in-memory").await;
    let create = belay.operation(Create, "demo").await;
    let error = belay.fails(&create).await;
    assert_eq!(error.code, "ClusterExists");
    assert!(
        error
            .message
            .contains("kubectl belay adopt cluster-api demo"),
        "{}",
        error.message
    );
    delete_cluster(&belay).await;
    let cluster = api(&belay, "Cluster")
        .get("demo")
        .await
        .expect("the Cluster");
    assert!(cluster.metadata.deletion_timestamp.is_none());
}

pub async fn a_blocked_creation_shows_its_cause_and_can_be_aborted(stage: Arc<Stage>) {
    let belay = with_class(&stage).await;
    create_cluster(&belay, "missing").await;
    let create = belay.operation(Create, "demo").await;
    belay
        .eventually("the Operation shows the cause of the block", || async {
            let blocked = belay.status(&create).await.blocked;
            blocked.is_some_and(|blocked| blocked.message.contains("missing"))
        })
        .await;
    belay.abort(&create, "the wrong class").await;
    belay.is_canceled(&create).await;
    delete_cluster(&belay).await;
    let cluster = api(&belay, "Cluster").get_opt("demo").await;
    assert!(cluster.expect("an answer").is_none());
}

pub async fn the_create_settings_of_a_cluster_are_immutable(stage: Arc<Stage>) {
    let belay = with_class(&stage).await;
    create_cluster_with_settings(&belay, json!({"classRef": {"name": "missing"}})).await;
    let spec = r#"{"spec": {"provider": {"clusterAPI": {"create": {"variables": [{"name": "region", "value": {"zone": "b"}}]}}}}}"#;
    let patch = [
        "patch",
        "managedcluster",
        "demo",
        "--type=merge",
        "-p",
        spec,
    ];
    let error = belay.try_kubectl(&patch).expect_err("a refusal");
    assert!(
        error.contains("change the Cluster itself (kubectl edit cluster.cluster.x-k8s.io demo)"),
        "{error}"
    );
}
