//! Adoption: Belay adopts an existing AKS cluster without changes, and leaves it unchanged when Belay's objects are
//! deleted.

use std::sync::Arc;

use belay::api::{Aspect, OperationType};
use serde_json::json;

use crate::stage::belay::{KUBECTL_PATIENCE, World};

use super::stage::{CREDENTIALS, GROUP, OLD, Stage};

pub async fn the_manifests_of_adopt_azure_start_no_operation(world: Arc<World>) {
    let stage = Stage::not_adopted(&world).await;
    let own = json!({"team": "gold", "node.kubernetes.io/azures": "own"});
    let changes = json!({"nodeLabels": own, "nodeTaints": ["team=gold:NoSchedule"],
        "upgradeSettings": {"maxSurge": "33%", "drainTimeoutInMinutes": 45}});
    stage
        .azure
        .somebody_changes(GROUP, "demo", Some("np1"), &changes);
    stage.is_in_state("np1", "Succeeded").await;
    let stopped = json!({"powerState": {"code": "Stopped"}});
    stage
        .azure
        .somebody_changes(GROUP, "demo", Some("np1"), &stopped);
    stage.is_in_state("np1", "Succeeded").await;
    let manifests = stage.adopt(&["--credentials-secret", CREDENTIALS]).await;
    stage.belay.apply_manifests(&manifests);
    stage.start_operator();
    stage.is_ready().await;
    stage.belay.is_idle().await;
    assert_eq!(stage.belay.count_operations().await, 0);
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
    let pool = stage.belay.pool("np1").await.spec;
    assert_eq!(pool.count, 3);
    assert_eq!(pool.node_labels.len(), 1, "labels of Azure are not adopted");
    assert_eq!(pool.node_taints.len(), 1);
    assert_eq!(pool.vm_size.as_deref(), Some("Standard_D4s_v5"));
    let surge = serde_json::to_value(&pool.upgrade_settings).expect("JSON");
    assert_eq!(surge["maxSurge"], "33%");
    assert_eq!(surge["drainTimeout"], "2700s", "45 minutes");
    let cluster = stage.belay.cluster_status().await;
    assert_eq!(cluster.kubernetes_version.as_deref(), Some(OLD));
}

pub async fn the_operators_azure_identity_serves_only_permitted_namespaces(world: Arc<World>) {
    let stage = Stage::not_adopted(&world).await;
    let manifests = stage.adopt(&["--credentials-secret", CREDENTIALS]).await;
    let line = format!("      credentialsSecret: {CREDENTIALS}\n");
    assert!(manifests.contains(&line), "{manifests}");
    stage.belay.kubectl(&["delete", "secret", CREDENTIALS]);
    stage.belay.apply_manifests(&manifests.replace(&line, ""));
    // Only clusters of permitted namespaces may use the operator's own rights in Azure.
    stage.start_operator();
    stage
        .belay
        .ready_condition_says("Unknown", "may not use its own identity")
        .await;
    stage.belay.kill_operator();
    stage.start_operator_for(&format!("elsewhere,{}", stage.belay.namespace));
    stage.is_ready().await;
}

pub async fn missing_or_wrong_azure_credentials_are_reported_until_they_are_fixed(
    world: Arc<World>,
) {
    let stage = Stage::not_adopted(&world).await;
    let manifests = stage.adopt(&["--credentials-secret", CREDENTIALS]).await;
    stage.belay.kubectl(&["delete", "secret", CREDENTIALS]);
    stage.belay.apply_manifests(&manifests);
    stage.start_operator();
    stage
        .belay
        .ready_condition_says("Unknown", "Secret azure does not exist")
        .await;
    stage.set_secret("wrong");
    stage
        .belay
        .ready_condition_says("Unknown", "AADSTS7000215")
        .await;
    stage.set_secret(testenv::clouds::azure::SECRET);
    stage.is_ready().await;
    assert!(!stage.belay.log().contains(testenv::clouds::azure::SECRET));
}

pub async fn a_cluster_that_is_not_in_azure_is_reported(world: Arc<World>) {
    let stage = Stage::not_adopted(&world).await;
    let manifests = stage.adopt(&["--credentials-secret", CREDENTIALS]).await;
    let elsewhere = manifests.replace("resourceGroup: fleet", "resourceGroup: elsewhere");
    stage.belay.apply_manifests(&elsewhere);
    stage.start_operator();
    let why = "AKS cluster demo does not exist in resource group elsewhere";
    stage.belay.ready_condition_says("Unknown", why).await;
}

pub async fn deleting_an_adopted_cluster_changes_nothing_in_azure(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage
        .belay
        .kubectl(&["delete", "agentpool", "np1", KUBECTL_PATIENCE]);
    let deletion = ["delete", "managedcluster", "demo", KUBECTL_PATIENCE];
    stage.belay.kubectl(&deletion);
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
    assert_eq!(stage.np1("count"), 3);
}

pub async fn a_node_pool_is_deleted_in_azure_if_its_deletion_policy_is_delete(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let policy =
        json!({"provider": {"azure": {"nodePools": {"np1": {"deletionPolicy": "Delete"}}}}});
    stage.belay.set_cluster(policy).await;
    stage
        .belay
        .kubectl(&["delete", "agentpool", "np1", "--wait=false"]);
    let delete = stage.belay.operation(OperationType::Delete, "np1").await;
    stage.belay.succeeds(&delete).await;
    assert_eq!(stage.changes_in_short(), ["DELETE np1 202"]);
    assert!(stage.azure.pool(GROUP, "demo", "np1").is_null());
    stage
        .belay
        .eventually("only the pool system remains", || async {
            stage.belay.pool_names().await == ["system"]
        })
        .await;
}

pub async fn creating_a_pool_that_azure_does_not_have_fails_and_says_what_to_do(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.belay.create_pool("np9", 1).await;
    let create = stage.belay.operation(OperationType::Create, "np9").await;
    let error = stage.belay.fails(&create).await;
    assert_eq!(error.code, "NodePoolNotFound");
    assert!(
        error.message.contains("az aks nodepool add"),
        "{}",
        error.message
    );
    stage.belay.pool_holds("np9", Aspect::Count).await;
}
