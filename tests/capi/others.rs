//! Changes by other users to Cluster API's own objects.

use std::sync::Arc;

use belay::api::{
    AgentPool, BEGUN_BY_ANNOTATION, Operation,
    OperationType::{self, Scale, Upgrade},
    TargetKind,
};
use kube::{ResourceExt as _, api::ListParams};
use serde_json::json;

use crate::{
    belay::{Belay, is_true},
    machines::is_ready,
    stage::{NEW, Stage, deployment, machines_of, names, versions},
};

/// Changes the Cluster directly, as another user.
fn patch_cluster_as_other_user(belay: &Belay, patch: &serde_json::Value) {
    let patch = patch.to_string();
    let cluster = ["patch", "cluster.cluster.x-k8s.io", "demo", "--type=json"];
    let patch = ["--field-manager=somebody", "-p", &patch];
    belay.kubectl(&[&cluster[..], &patch[..]].concat());
}

/// Waits for the Operation that follows a change of another user. Returns its name.
async fn follower(belay: &Belay, type_: OperationType, target: &str) -> String {
    let operation = belay.operation(type_, target).await;
    let found = belay.api::<Operation>().get(&operation).await;
    let found = found.expect("an Operation");
    let by = found.annotations().get(BEGUN_BY_ANNOTATION);
    assert_eq!(by.map(String::as_str), Some("somebody"));
    operation
}

/// Waits until Belay is idle, and checks that there are this many Operations.
async fn is_idle_with(belay: &Belay, operations: usize) {
    belay.lock_is_free().await;
    belay.is_idle().await;
    let all = belay.api::<Operation>().list(&ListParams::default()).await;
    let all = all.expect("listed");
    let found: Vec<_> = all
        .iter()
        .map(|operation| (operation.name_any(), operation.spec.type_))
        .collect();
    assert_eq!(found.len(), operations, "{found:?}");
}

pub async fn an_upgrade_that_others_start_is_followed_can_be_aborted_and_is_not_reverted(
    stage: Arc<Stage>,
) {
    let belay = stage.adopted(3).await;
    patch_cluster_as_other_user(
        &belay,
        &json!([{"op": "replace", "path": "/spec/topology/version", "value": format!("v{NEW}")}]),
    );
    let cluster = follower(&belay, Upgrade, "demo").await;
    belay.succeeds(&cluster).await;
    let first = follower(&belay, Upgrade, "md-0").await;
    let second = follower(&belay, Upgrade, "md-1").await;
    belay.abort(&second, "one at a time").await;
    belay.is_canceled(&second).await;
    belay.succeeds(&first).await;
    let machines = machines_of(&belay, Some("md-0")).await;
    assert_eq!(versions(&machines), [NEW, NEW, NEW]);
    let stopped = machines_of(&belay, Some("md-1")).await;
    assert!(stopped.iter().all(is_ready));
    assert!(versions(&stopped).iter().any(|version| version != NEW));
    // The spec still has the old version.
    is_idle_with(&belay, 3).await;
    assert_eq!(
        names(&machines_of(&belay, Some("md-1")).await),
        names(&stopped)
    );
    // Belay doesn't take its own later work for a change by others.
    belay
        .reconcile(TargetKind::AgentPool, "md-1", "continue")
        .await;
    belay.succeeds("continue").await;
    let machines = machines_of(&belay, Some("md-1")).await;
    assert_eq!(versions(&machines), [NEW, NEW, NEW]);
    is_idle_with(&belay, 4).await;
}

pub async fn a_scale_that_others_start_is_followed_and_not_reverted(stage: Arc<Stage>) {
    let belay = stage.adopted(1).await;
    let replicas = "/spec/topology/workers/machineDeployments/0/replicas";
    patch_cluster_as_other_user(
        &belay,
        &json!([{"op": "replace", "path": replicas, "value": 12}]),
    );
    let scale = follower(&belay, Scale, "md-0").await;
    belay.succeeds(&scale).await;
    assert_eq!(machines_of(&belay, Some("md-0")).await.len(), 12);
    is_idle_with(&belay, 1).await;
    let pool = belay.api::<AgentPool>().get("md-0").await.expect("a pool");
    assert_eq!(pool.spec.count, 1, "Belay doesn't change the spec");
    assert_eq!(machines_of(&belay, Some("md-0")).await.len(), 12);
    // When a user changes the spec, Belay changes the count.
    belay.set_count("md-0", 2).await;
    let scale = belay.nth_operation(2, Scale, "md-0").await;
    belay.succeeds(&scale).await;
    assert_eq!(machines_of(&belay, Some("md-0")).await.len(), 2);
}

pub async fn a_scale_that_others_start_during_an_upgrade_is_followed_and_not_reverted(
    stage: Arc<Stage>,
) {
    let belay = stage.adopted(3).await;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay
        .eventually("a Machine of md-0 is replaced", || async {
            let machines = machines_of(&belay, Some("md-0")).await;
            versions(&machines).iter().any(|version| version == NEW)
        })
        .await;
    let replicas = "/spec/topology/workers/machineDeployments/0/replicas";
    patch_cluster_as_other_user(
        &belay,
        &json!([{"op": "replace", "path": replicas, "value": 5}]),
    );
    let scale = follower(&belay, Scale, "md-0").await;
    belay.succeeds(&scale).await;
    belay.succeeds(&upgrade).await;
    is_idle_with(&belay, 2).await;
    let machines = machines_of(&belay, Some("md-0")).await;
    assert_eq!(versions(&machines), [NEW; 5]);
    let machines = machines_of(&belay, Some("md-1")).await;
    assert_eq!(versions(&machines), [NEW; 3]);
}

const BOUND: &str = "cluster.x-k8s.io/cluster-api-autoscaler-node-group";

/// Scales a `MachineDeployment` like the cluster autoscaler, and waits until it has the Machines.
async fn scale_as_autoscaler(belay: &Belay, pool: &str, replicas: usize) {
    let name = deployment(belay, pool).await.name_any();
    let scale = json!({"spec": {"replicas": replicas}}).to_string();
    let patch = ["patch", "machinedeployment", &name, "--subresource=scale"];
    let scale = ["--type=merge", "--field-manager=autoscaler", "-p", &scale];
    belay.kubectl(&[&patch[..], &scale[..]].concat());
    wait_for_ready_machines(belay, pool, replicas).await;
}

async fn wait_for_ready_machines(belay: &Belay, pool: &str, count: usize) {
    belay
        .eventually("the pool has this number of Ready Machines", || async {
            let machines = machines_of(belay, Some(pool)).await;
            machines.len() == count && machines.iter().all(is_ready)
        })
        .await;
}

pub async fn belay_does_not_scale_a_pool_that_the_autoscaler_scales(stage: Arc<Stage>) {
    let belay = stage.adopted(2).await;
    let pool = "/spec/topology/workers/machineDeployments/0";
    let bounds = json!({"annotations":
        {format!("{BOUND}-min-size"): "1", format!("{BOUND}-max-size"): "5"}});
    patch_cluster_as_other_user(
        &belay,
        &json!([{"op": "remove", "path": format!("{pool}/replicas")},
            {"op": "add", "path": format!("{pool}/metadata"), "value": bounds}]),
    );
    let why = "AgentPool md-0 is scaled by the cluster autoscaler (1 to 5 nodes";
    belay
        .eventually("the pool reports the autoscaler", || async {
            let status = belay.pool_status("md-0").await;
            let refusal = status.scale_refusal.unwrap_or_default();
            is_true(&status.conditions, "Autoscaled") && refusal.starts_with(why)
        })
        .await;
    let scale = ["scale", "agentpool/md-0", "--replicas=4"];
    let refused = belay.try_kubectl(&scale).expect_err("it is refused");
    assert!(refused.contains(why), "{refused}");

    belay.kill_operator();
    scale_as_autoscaler(&belay, "md-0", 4).await;
    stage.start_operator(&belay);
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    let machines = machines_of(&belay, Some("md-0")).await;
    assert_eq!(versions(&machines), [NEW; 4]);
    scale_as_autoscaler(&belay, "md-0", 1).await;
    belay.lock_is_free().await;
    belay.is_idle().await;
    wait_for_ready_machines(&belay, "md-0", 1).await;
    let scales = belay.operations(Scale, "md-0").await;
    assert!(
        scales.len() <= 1,
        "only the Scale of the autoscaler: {scales:?}"
    );
}
