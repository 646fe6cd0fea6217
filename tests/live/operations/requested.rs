//! Operations that users create: Belay writes them into the target's spec and carries them out.

use std::sync::Arc;

use belay::api::{AgentPool, ManagedCluster, OperationPhase, OperationType, TargetKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::stage::belay::{Belay, KUBECTL_PATIENCE, World, is_true, version};

/// Returns the managers that apply a field of a spec.
fn appliers(managed: &[ManagedFieldsEntry], field: &str) -> Vec<String> {
    let owns = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref();
        entry.operation.as_deref() == Some("Apply")
            && fields.is_some_and(|fields| !fields.0["f:spec"][format!("f:{field}")].is_null())
    };
    let owners = managed.iter().filter(owns);
    owners.filter_map(|entry| entry.manager.clone()).collect()
}

pub async fn each_requested_type_is_written_into_the_spec_and_carried_out(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_pool("own", 0).await;
    belay.pool_is_ready("own").await;
    let (version, older) = (
        json!({"kubernetesVersion": "1.36.3"}),
        json!({"kubernetesVersion": "1.35.7"}),
    );
    let none = json!({});
    let requested: [(&str, &str, &Value, &str, Value); 9] = [
        ("np1", "Scale", &json!({"count": 2}), "count", json!(2)),
        (
            "demo",
            "Upgrade",
            &version,
            "kubernetesVersion",
            json!("1.36.3"),
        ),
        (
            "demo",
            "Rollback",
            &older,
            "kubernetesVersion",
            json!("1.35.7"),
        ),
        ("np1", "Stop", &none, "powerState", json!("Stopped")),
        ("np1", "Start", &none, "powerState", json!("Running")),
        ("demo", "Stop", &none, "powerState", json!("Stopped")),
        ("demo", "Start", &none, "powerState", json!("Running")),
        ("np1", "Update", &none, "", json!(null)),
        ("demo", "Reconcile", &none, "", json!(null)),
    ];
    for (number, (target, type_, parameters, field, expected)) in requested.into_iter().enumerate()
    {
        let name = format!("requested-{number}");
        belay.lock_is_free().await;
        let spec = if target == "demo" {
            belay
                .create_operation_on_cluster(&name, type_, parameters.clone())
                .await;
            belay.succeeds(&name).await;
            let cluster = belay.cluster().await;
            (
                serde_json::to_value(&cluster.spec),
                cluster.metadata.managed_fields,
            )
        } else {
            belay
                .create_operation_on_pool(&name, target, type_, parameters.clone())
                .await;
            belay.succeeds(&name).await;
            let pool = belay.pool(target).await;
            (
                serde_json::to_value(&pool.spec),
                pool.metadata.managed_fields,
            )
        };
        let managed = spec.1.unwrap_or_default();
        let expected_appliers: &[&str] = if field.is_empty() {
            &[]
        } else {
            &["belay-operation"]
        };
        assert_eq!(
            spec.0.expect("a spec")[field],
            expected,
            "{type_} of {target}"
        );
        assert_eq!(
            appliers(&managed, field),
            expected_appliers,
            "{type_} of {target}"
        );
    }
    belay.lock_is_free().await;
    belay
        .create_operation_on_pool("gone-1", "own", "Delete", json!({}))
        .await;
    belay.succeeds("gone-1").await;
    belay.kubectl(&["wait", "--for=delete", "ap/own", KUBECTL_PATIENCE]);
    belay.lock_is_free().await;
    belay
        .create_operation_on_cluster("gone-2", "Delete", json!({}))
        .await;
    belay.kubectl(&["wait", "--for=delete", "mc/demo", KUBECTL_PATIENCE]);
    assert!(belay.nodes().await.is_empty());
    belay.check_history();
}

pub async fn a_requested_operation_creates_no_second_one(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay
        .create_operation_on_pool("bigger", "np1", "Scale", json!({"count": 2}))
        .await;
    belay.succeeds("bigger").await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    assert_eq!(belay.operations(OperationType::Scale, "np1").await.len(), 1);
    let last = belay
        .pool_status("np1")
        .await
        .last_operation
        .expect("the last operation");
    assert_eq!(last.name, "bigger");
    let same_name = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": "bigger"},
        "spec": {"type": "Reconcile", "target": {"kind": "AgentPool", "name": "np1"}}});
    let same_name = serde_json::from_value(same_name).expect("an Operation");
    let second = belay
        .api::<belay::api::Operation>()
        .create(&kube::api::PostParams::default(), &same_name)
        .await;
    let second = second.expect_err("the name is an idempotency token");
    assert!(matches!(second, kube::Error::Api(status) if status.reason == "AlreadyExists"));
    belay.check_history();
}

pub async fn an_operation_fails_on_a_field_that_gitops_applies_and_names_the_tool(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let pool = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np1"},
        "spec": {"clusterName": "demo", "count": 1}});
    let params = PatchParams::apply("kustomize-controller").force();
    let applied = belay
        .api::<AgentPool>()
        .patch("np1", &params, &Patch::Apply(&pool))
        .await;
    applied.expect("applied");
    belay
        .create_operation_on_pool("bigger", "np1", "Scale", json!({"count": 3}))
        .await;
    let error = belay.fails("bigger").await;
    assert_eq!(error.code, "Conflict");
    assert_eq!(
        error.message,
        "spec.count of AgentPool np1 is managed by kustomize-controller: change it there (for example, in Git), and Belay creates the Operation"
    );
    let pool = belay.pool("np1").await;
    assert_eq!(pool.spec.count, 1, "the applied value remains");
    // A field that the tool doesn't apply may be changed by an Operation.
    belay.lock_is_free().await;
    belay
        .create_operation_on_pool("off", "np1", "Stop", json!({}))
        .await;
    belay.succeeds("off").await;
    belay.check_history();
}

pub async fn an_operation_may_change_fields_that_kubectl_wrote(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(0).await;
    let pool = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np1"},
        "spec": {"clusterName": "demo", "count": 1, "powerState": "Running"}});
    belay.apply(&pool);
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    let patch = r#"{"spec":{"kubernetesVersion":"1.35.7"}}"#;
    belay.kubectl(&["patch", "mc", "demo", "--type=merge", "-p", patch]);
    for (name, type_, parameters) in [
        ("bigger", "Scale", json!({"count": 2})),
        ("off", "Stop", json!({})),
        ("on", "Start", json!({})),
    ] {
        belay
            .create_operation_on_pool(name, "np1", type_, parameters)
            .await;
        belay.succeeds(name).await;
        belay.lock_is_free().await;
        if name == "bigger" {
            belay.kubectl(&["scale", "agentpool", "np1", "--replicas=3"]);
            let scaled = belay.nth_operation(2, OperationType::Scale, "np1").await;
            belay.succeeds(&scaled).await;
            belay.lock_is_free().await;
        }
    }
    belay
        .create_operation_on_cluster("newer", "Upgrade", json!({"kubernetesVersion": "1.36.3"}))
        .await;
    belay.succeeds("newer").await;
    let versions: Vec<_> = belay.nodes().await.iter().map(version).collect();
    assert_eq!(versions, ["v1.36.3"; 3]);
    belay.check_history();
}

/// Operations that fail on a cluster on 1.36.3: target, type and parameters, then the code and a part of the message.
const WRONG: &str = r#"demo | Upgrade | {"kubernetesVersion": "1.35.7"} | InvalidParameter | use type Rollback to change to it
demo | Upgrade | {"kubernetesVersion": "1.36.3"} | OperationNotAllowed | ManagedCluster demo already runs 1.36.3
demo | Upgrade | {"kubernetesVersion": "1.38.0"} | InvalidParameter | so upgrade to a 1.37 version first
demo | Rollback | {"kubernetesVersion": "1.37.0"} | InvalidParameter | use type Upgrade to change to it
demo | Rollback | {"kubernetesVersion": "1.34.2"} | InvalidParameter | so 1.35 is the oldest possible version
demo | Create | {} | OperationNotAllowed | use type Reconcile to apply its spec
np1 | Upgrade | {"kubernetesVersion": "1.37.0"} | InvalidParameter | upgrade the ManagedCluster first
np1 | Rollback | {"kubernetesVersion": "1.32.9"} | InvalidParameter | can't be more than three minor versions older
np1 | Scale | {"count": 1} | OperationNotAllowed | AgentPool np1 already has 1 nodes
np1 | Create | {} | OperationNotAllowed | use type Reconcile to apply its spec
system | Scale | {"count": 0} | InvalidParameter | use a User pool for a count of 0
system | Stop | {} | InvalidParameter | stop the whole cluster instead"#;

pub async fn wrong_parameters_fail_with_a_code_and_advice(world: Arc<World>) {
    let belay = Belay::start(&world.without_policies().await).await;
    let cluster = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}});
    belay.create_cluster_with(cluster).await;
    belay.create_pool("np1", 1).await;
    belay
        .create_pool_with("system", json!({"mode": "System", "count": 1}))
        .await;
    belay.pool_is_ready("np1").await;
    belay.pool_is_ready("system").await;
    belay.lock_is_free().await;
    for (number, row) in WRONG.lines().enumerate() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [target, type_, parameters, code, message] = cells.as_slice() else {
            panic!("expected five cells: {row}");
        };
        let parameters = serde_json::from_str(parameters).expect("parameters");
        let name = format!("wrong-{number}");
        if *target == "demo" {
            belay
                .create_operation_on_cluster(&name, type_, parameters)
                .await;
        } else {
            belay
                .create_operation_on_pool(&name, target, type_, parameters)
                .await;
        }
        let error = belay.fails(&name).await;
        assert_eq!(error.code, *code, "{type_} of {target}: {error:?}");
        assert!(
            error.message.contains(message),
            "{type_} of {target}: {error:?}"
        );
        belay.lock_is_free().await;
    }
    for conditions in [
        belay.cluster_status().await.conditions,
        belay.pool_status("np1").await.conditions,
        belay.pool_status("system").await.conditions,
    ] {
        assert!(
            is_true(&conditions, "Ready"),
            "an Operation that failed at its start puts nothing on hold: {conditions:#?}"
        );
    }
    belay.check_history();
}

pub async fn an_operation_requested_during_another_one_fails_and_names_it(world: Arc<World>) {
    let belay = Belay::start(&world.without_policies().await).await;
    belay.cluster_with_blocked_drains(1).await;
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    let advice = format!(
        "please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {scale} belay.dev/abort=<reason>"
    );
    belay
        .reconcile(TargetKind::AgentPool, "np1", "on-pool")
        .await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "on-cluster")
        .await;
    belay
        .reconcile(TargetKind::AgentPool, "np2", "on-other")
        .await;
    for (name, message) in [
        (
            "on-pool",
            format!(
                "Operation is not allowed: Another agentpool operation ({scale}) is in progress, {advice}"
            ),
        ),
        (
            "on-cluster",
            format!(
                "Managed Cluster operation is not allowed: Another operation ({scale}) is in progress on agent pool (np1), {advice}"
            ),
        ),
    ] {
        let error = belay.fails(name).await;
        assert_eq!(
            (error.code.as_str(), error.message),
            ("OperationNotAllowed", message)
        );
    }
    belay.succeeds("on-other").await;
    assert_eq!(belay.status(&scale).await.phase, OperationPhase::InProgress);
    let cluster = belay
        .api::<ManagedCluster>()
        .get("demo")
        .await
        .expect("the cluster");
    assert_eq!(cluster.name_any(), "demo");
    belay.check_history();
}

pub async fn a_restored_copy_of_an_operation_does_not_run_again(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    belay
        .create_operation_on_pool("more", "np1", "Scale", json!({"count": 2}))
        .await;
    belay.succeeds("more").await;
    belay.lock_is_free().await;
    // Like a backup tool: restore it without its status, as a new object.
    let json = belay.kubectl(&["get", "operation", "more", "-o", "json"]);
    let mut copy: serde_json::Value = serde_json::from_str(&json).expect("an Operation");
    belay.kubectl(&["delete", "operation", "more"]);
    belay.set_count("np1", 1).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    let object = copy.as_object_mut().expect("an object");
    object.remove("status");
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.remove(field);
    }
    belay
        .create(&copy.to_string())
        .expect("a backup may restore it");
    let status = belay.is_in_phase("more", OperationPhase::Canceled).await;
    let reason = status.cancellation.expect("a cancellation").reason;
    assert!(reason.contains("a copy of an Operation"), "{reason}");
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 1);
}
