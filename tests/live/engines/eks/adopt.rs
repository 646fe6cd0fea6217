//! Adoption: Belay adopts an existing EKS cluster without changes, and leaves it unchanged when Belay's objects are
//! deleted.

use std::sync::Arc;

use belay::api::{Aspect, OperationType};
use serde_json::json;
use testenv::clouds::aws::SECRET_KEY;

use crate::stage::belay::{KUBECTL_PATIENCE, World};

use super::stage::{CREDENTIALS, Identity, OLD, Stage};

pub async fn the_manifests_of_adopt_aws_start_no_operation(world: Arc<World>) {
    let stage = Stage::not_adopted(&world, false).await;
    let fields = json!({"labels": {"team": "gold", "node.kubernetes.io/own": "x"},
        "taints": [{"key": "team", "value": "gold", "effect": "NO_SCHEDULE"}],
        "updateConfig": {"maxUnavailablePercentage": 33}});
    stage.aws.set_nodegroup("demo", "np1", &fields);
    let manifests = stage.adopt().await;
    stage.belay.apply_manifests(&manifests);
    stage.start_operator(Identity::None, "");
    stage.is_ready().await;
    stage.belay.is_idle().await;
    assert_eq!(stage.belay.count_operations().await, 0);
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
    let pool = stage.belay.pool("np1").await.spec;
    assert_eq!(pool.count, 3);
    assert_eq!(
        pool.node_labels.len(),
        1,
        "labels of Kubernetes are not adopted"
    );
    assert_eq!(pool.node_taints.len(), 1);
    assert_eq!(pool.vm_size.as_deref(), Some("m5.large"));
    let upgrades = serde_json::to_value(&pool.upgrade_settings).expect("JSON");
    assert_eq!(upgrades["maxSurge"], "33%");
    let cluster = stage.belay.cluster_status().await;
    assert_eq!(cluster.kubernetes_version.as_deref(), Some(OLD));
}

/// Adopts the cluster without a Secret, so that Belay uses the operator's own identity.
async fn uses_operators_identity(world: Arc<World>, identity: Identity) {
    let stage = Stage::not_adopted(&world, false).await;
    let manifests = stage.adopt().await;
    let line = format!("      credentialsSecret: {CREDENTIALS}\n");
    assert!(manifests.contains(&line), "{manifests}");
    stage.belay.kubectl(&["delete", "secret", CREDENTIALS]);
    stage.belay.apply_manifests(&manifests.replace(&line, ""));
    // Only clusters of permitted namespaces may use the operator's own rights in AWS.
    stage.start_operator(identity, "");
    stage
        .belay
        .ready_condition_says("Unknown", "may not use its own identity")
        .await;
    stage.belay.kill_operator();
    let namespaces = format!("elsewhere,{}", stage.belay.namespace);
    stage.start_operator(identity, &namespaces);
    stage.is_ready().await;
    // The credentials from AWS expire, and Belay requests new ones.
    stage.aws.expire_tokens();
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(OperationType::Scale, "np1").await;
    stage.belay.succeeds(&scale).await;
    stage.is_ready().await;
}

pub async fn the_operators_web_identity_serves_only_permitted_namespaces(world: Arc<World>) {
    uses_operators_identity(world, Identity::WebToken).await;
}

pub async fn the_operators_pod_identity_serves_only_permitted_namespaces(world: Arc<World>) {
    uses_operators_identity(world, Identity::Pod).await;
}

pub async fn missing_or_wrong_aws_credentials_are_reported_until_they_are_fixed(world: Arc<World>) {
    let stage = Stage::not_adopted(&world, false).await;
    let manifests = stage.adopt().await;
    stage.belay.kubectl(&["delete", "secret", CREDENTIALS]);
    stage.belay.apply_manifests(&manifests);
    stage.start_operator(Identity::None, "");
    stage
        .belay
        .ready_condition_says("Unknown", "Secret aws does not exist")
        .await;
    stage.set_secret("wrong");
    stage
        .belay
        .ready_condition_says("Unknown", "signature")
        .await;
    stage.set_secret(SECRET_KEY);
    stage.is_ready().await;
    assert!(!stage.belay.log().contains(SECRET_KEY));
}

pub async fn an_operator_without_an_aws_identity_says_what_to_do(world: Arc<World>) {
    let stage = Stage::not_adopted(&world, false).await;
    let manifests = stage.adopt().await;
    let line = format!("      credentialsSecret: {CREDENTIALS}\n");
    stage.belay.apply_manifests(&manifests.replace(&line, ""));
    stage.start_operator(Identity::None, "*");
    let advice = "give the operator an identity with EKS Pod Identity";
    stage.belay.ready_condition_says("Unknown", advice).await;
    let conditions = stage.belay.cluster_status().await.conditions;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    assert_eq!(
        ready.map(|ready| ready.reason.as_str()),
        Some("NoCredentials")
    );
}

pub async fn a_cluster_that_is_not_in_aws_is_reported(world: Arc<World>) {
    let stage = Stage::not_adopted(&world, false).await;
    let manifests = stage.adopt().await;
    stage
        .belay
        .apply_manifests(&manifests.replace("      name: demo", "      name: elsewhere"));
    stage.start_operator(Identity::None, "");
    let why = "EKS cluster elsewhere does not exist in region eu-west-1";
    stage.belay.ready_condition_says("Unknown", why).await;
}

pub async fn deleting_an_adopted_cluster_changes_nothing_in_aws(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage
        .belay
        .kubectl(&["delete", "agentpool", "np1", KUBECTL_PATIENCE]);
    let deletion = ["delete", "managedcluster", "demo", KUBECTL_PATIENCE];
    stage.belay.kubectl(&deletion);
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
    assert_eq!(stage.sizes()[1], 3);
}

pub async fn a_nodegroup_is_deleted_in_aws_if_its_deletion_policy_is_delete(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let policy =
        json!({"provider": {"aws": {"nodegroups": {"np1": {"deletionPolicy": "Delete"}}}}});
    stage.belay.set_cluster(policy).await;
    stage
        .belay
        .kubectl(&["delete", "agentpool", "np1", "--wait=false"]);
    let delete = stage.belay.operation(OperationType::Delete, "np1").await;
    stage.belay.succeeds(&delete).await;
    assert_eq!(stage.changes_in_short(), ["DELETE np1 200"]);
    assert!(stage.np1().is_null());
}

pub async fn creating_a_pool_that_aws_does_not_have_fails_and_says_what_to_do(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.belay.create_pool("np9", 1).await;
    let create = stage.belay.operation(OperationType::Create, "np9").await;
    let error = stage.belay.fails(&create).await;
    assert_eq!(error.code, "NodePoolNotFound");
    assert!(
        error.message.contains("aws eks create-nodegroup"),
        "{}",
        error.message
    );
    stage.belay.pool_holds("np9", Aspect::Count).await;
}
