//! Deletions: each one has its own operation.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType};
use serde_json::json;

use crate::stage::belay::{Belay, KUBECTL_PATIENCE, World};

pub async fn deleting_a_cluster_deletes_its_pools_and_nodes(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.kubectl(&["delete", "managedcluster", "demo", KUBECTL_PATIENCE]);
    assert!(belay.nodes().await.is_empty(), "no node is left");
    belay.kubectl(&["wait", "--for=delete", "agentpool/np1", KUBECTL_PATIENCE]);
    belay.check_history();
}

pub async fn deleting_a_pool_deletes_only_its_own_nodes(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_pool("np2", 2).await;
    belay.pool_is_ready("np2").await;
    belay.create_workload(3, 2).await;
    belay.kubectl(&["delete", "agentpool", "np2", KUBECTL_PATIENCE]);
    assert_eq!(
        belay.nodes().await.len(),
        1,
        "the other pool keeps its node"
    );
    let name = belay.operation(OperationType::Delete, "np2").await;
    assert_eq!(belay.status(&name).await.phase, OperationPhase::Succeeded);
    belay.check_history();
}

pub async fn deleting_a_cluster_aborts_its_upgrade(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade().await;
    belay.kubectl(&["delete", "managedcluster", "demo", KUBECTL_PATIENCE]);
    assert!(
        belay
            .phases(&operation)
            .await
            .contains(&OperationPhase::Canceled),
        "{:?}",
        belay.phases(&operation).await
    );
    assert!(belay.nodes().await.is_empty(), "no node is left");
    belay.check_history();
}

pub async fn a_user_who_may_update_may_remove_finalizers(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    belay.kill_operator();
    belay.grant("eve", "belay-editor");
    let create = belay.operation(OperationType::Create, "np1").await;
    let operation = format!("operation/{create}");
    for what in [&operation, "agentpool/np1", "managedcluster/demo"] {
        belay
            .try_as("eve", &["delete", what, "--wait=false"])
            .expect("eve may delete");
        let no_finalizers = r#"{"metadata":{"finalizers":null}}"#;
        let patch = ["patch", what, "--type=merge", "-p", no_finalizers];
        // This may fail: an Operation that has ended has no finalizer.
        drop(belay.try_as("eve", &patch));
        belay.kubectl(&["wait", "--for=delete", what, "--timeout=30s"]);
    }
    assert_eq!(belay.nodes().await.len(), 1, "the pool's node remains");
    belay.kubectl(&[
        "delete",
        "nodes",
        "-l",
        &format!("belay.dev/namespace={}", belay.namespace),
    ]);
}

pub async fn deleting_a_namespace_deletes_its_cluster_and_nodes(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.lock_is_free().await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay.kubectl(&["delete", "namespace", &belay.namespace, "--wait=false"]);
    belay
        .eventually("the nodes are deleted", || async {
            belay.nodes().await.is_empty()
        })
        .await;
    belay
        .eventually("the namespace is deleted", || async {
            let found = belay.try_kubectl(&["get", "namespace", &belay.namespace]);
            found.is_err_and(|why| why.contains("NotFound"))
        })
        .await;
}

pub async fn a_namespace_can_be_deleted_after_a_deletion_in_it_failed(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    let short_timeout = json!({"upgradeSettings": {"drainTimeout": "1s"}});
    belay.set_pool("np1", short_timeout).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    belay.kubectl(&["delete", "agentpool", "np1", "--wait=false"]);
    let of_pool = belay.operation(OperationType::Delete, "np1").await;
    assert_eq!(belay.fails(&of_pool).await.code, "PodDrainFailure");
    belay.lock_is_free_in_status().await;
    // Abort the deletion of the cluster: the namespace's deletion must then end without new Operations.
    belay.refuse_node_changes("DELETE").await;
    belay.kubectl(&["delete", "managedcluster", "demo", "--wait=false"]);
    let delete = belay.operation(OperationType::Delete, "demo").await;
    belay.is_blocked(&delete).await;
    belay.abort(&delete, "not yet").await;
    belay.is_canceled(&delete).await;
    belay.stop_refusing();
    belay.lock_is_free_in_status().await;
    belay.is_idle().await;
    belay.kubectl(&["delete", "namespace", &belay.namespace, "--wait=false"]);
    belay
        .eventually("the namespace is deleted", || async {
            let found = belay.try_kubectl(&["get", "namespace", &belay.namespace]);
            found.is_err_and(|why| why.contains("NotFound"))
        })
        .await;
    assert!(belay.nodes().await.is_empty());
}

pub async fn deleting_all_operations_aborts_the_one_in_flight(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.blocked_scale().await;
    belay.kubectl(&["delete", "operations", "--all", "--wait=false"]);
    belay
        .eventually("the Scale is aborted and deleted", || async {
            let found = belay.try_kubectl(&["get", "operation", &scale]);
            found.is_err_and(|why| why.contains("NotFound"))
        })
        .await;
    assert_eq!(belay.nodes().await.len(), 2);
}
