//! Deletions that Cluster API carries out.

use std::sync::Arc;

use belay::api::{AgentPool, CancellationStatus, ManagedCluster, OperationType::Delete};
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::stage::{Stage, api, has_started_at_cluster_api, machines_of};

pub async fn with_the_policy_delete_pools_and_clusters_are_deleted_in_cluster_api(
    stage: Arc<Stage>,
) {
    let belay = stage.adopted(1).await;
    let settings = json!({"clusterName": "demo", "deletionPolicy": "Delete"});
    belay
        .set_cluster(json!({"provider": {"clusterAPI": settings}}))
        .await;
    let pools = belay.api::<AgentPool>();
    let deleted = pools.delete("md-1", &DeleteParams::default()).await;
    deleted.expect("deleted");
    let deletion = belay.operation(Delete, "md-1").await;
    has_started_at_cluster_api(&belay, &deletion).await;
    belay.abort(&deletion, "too late").await;
    let status = belay.succeeds(&deletion).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Failed);
    let deployments = api(&belay, "MachineDeployment");
    let remaining = deployments
        .list(&ListParams::default())
        .await
        .expect("listed");
    assert_eq!(remaining.items.len(), 1, "the other pool remains");
    assert_eq!(machines_of(&belay, Some("md-0")).await.len(), 1);
    let cluster = api(&belay, "Cluster").get("demo").await;
    assert!(
        cluster
            .expect("the Cluster")
            .metadata
            .deletion_timestamp
            .is_none()
    );

    let clusters = belay.api::<ManagedCluster>();
    let deleted = clusters.delete("demo", &DeleteParams::default()).await;
    deleted.expect("deleted");
    belay
        .eventually("the ManagedCluster and its Cluster are deleted", || async {
            let cluster = api(&belay, "Cluster").get_opt("demo").await;
            let managed = clusters.get_opt("demo").await;
            cluster.expect("an answer").is_none() && managed.expect("an answer").is_none()
        })
        .await;
    assert!(machines_of(&belay, None).await.is_empty());
}
