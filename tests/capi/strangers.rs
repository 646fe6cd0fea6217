//! Changes that others make to Cluster API's own objects.

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

/// Changes the Cluster as somebody who doesn't know Belay would.
fn somebody_patches(belay: &Belay, patch: &serde_json::Value) {
    let patch = patch.to_string();
    let cluster = ["patch", "cluster.cluster.x-k8s.io", "demo", "--type=json"];
    let patch = ["--field-manager=somebody", "-p", &patch];
    belay.kubectl(&[&cluster[..], &patch[..]].concat());
}

/// Returns the Operation that follows work that somebody else started.
async fn follower(belay: &Belay, type_: OperationType, target: &str) -> String {
    let operation = belay.operation(type_, target).await;
    let found = belay.api::<Operation>().get(&operation).await;
    let found = found.expect("an Operation");
    let by = found.annotations().get(BEGUN_BY_ANNOTATION);
    assert_eq!(by.map(String::as_str), Some("somebody"));
    operation
}

/// Waits until Belay has seen everything and is at rest, with this many Operations.
async fn rests_with(belay: &Belay, operations: usize) {
    belay.lock_is_free().await;
    belay.rests().await;
    let all = belay.api::<Operation>().list(&ListParams::default()).await;
    let all = all.expect("listed");
    let told: Vec<_> = all
        .iter()
        .map(|one| (one.name_any(), one.spec.type_))
        .collect();
    assert_eq!(told.len(), operations, "{told:?}");
}

pub async fn an_upgrade_that_others_start_is_followed_can_be_aborted_and_is_not_reverted(
    stage: Arc<Stage>,
) {
    let belay = stage.adopted(3).await;
    somebody_patches(
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
    // The spec still asks for the old version.
    rests_with(&belay, 3).await;
    assert_eq!(
        names(&machines_of(&belay, Some("md-1")).await),
        names(&stopped)
    );
    // Belay doesn't mistake its own later work for theirs.
    belay
        .reconcile(TargetKind::AgentPool, "md-1", "go-on")
        .await;
    belay.succeeds("go-on").await;
    let machines = machines_of(&belay, Some("md-1")).await;
    assert_eq!(versions(&machines), [NEW, NEW, NEW]);
    rests_with(&belay, 4).await;
}

pub async fn a_scale_that_others_start_is_followed_and_not_reverted(stage: Arc<Stage>) {
    let belay = stage.adopted(1).await;
    let replicas = "/spec/topology/workers/machineDeployments/0/replicas";
    somebody_patches(
        &belay,
        &json!([{"op": "replace", "path": replicas, "value": 12}]),
    );
    let scale = follower(&belay, Scale, "md-0").await;
    belay.succeeds(&scale).await;
    assert_eq!(machines_of(&belay, Some("md-0")).await.len(), 12);
    rests_with(&belay, 1).await;
    let pool = belay.api::<AgentPool>().get("md-0").await.expect("a pool");
    assert_eq!(pool.spec.count, 1, "the spec is a person's");
    assert_eq!(machines_of(&belay, Some("md-0")).await.len(), 12);
    // Somebody asks for another count: then Belay makes the change.
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
        .eventually("replaces a Machine of md-0", || async {
            let machines = machines_of(&belay, Some("md-0")).await;
            versions(&machines).iter().any(|version| version == NEW)
        })
        .await;
    let replicas = "/spec/topology/workers/machineDeployments/0/replicas";
    somebody_patches(
        &belay,
        &json!([{"op": "replace", "path": replicas, "value": 5}]),
    );
    let scale = follower(&belay, Scale, "md-0").await;
    belay.succeeds(&scale).await;
    belay.succeeds(&upgrade).await;
    rests_with(&belay, 2).await;
    let machines = machines_of(&belay, Some("md-0")).await;
    assert_eq!(versions(&machines), [NEW; 5]);
    let machines = machines_of(&belay, Some("md-1")).await;
    assert_eq!(versions(&machines), [NEW; 3]);
}

const BOUND: &str = "cluster.x-k8s.io/cluster-api-autoscaler-node-group";

/// Scales a `MachineDeployment` as the cluster autoscaler does, and waits until it has the Machines.
async fn autoscales(belay: &Belay, pool: &str, replicas: usize) {
    let name = deployment(belay, pool).await.name_any();
    let scale = json!({"spec": {"replicas": replicas}}).to_string();
    let patch = ["patch", "machinedeployment", &name, "--subresource=scale"];
    let scale = ["--type=merge", "--field-manager=autoscaler", "-p", &scale];
    belay.kubectl(&[&patch[..], &scale[..]].concat());
    has_ready(belay, pool, replicas).await;
}

async fn has_ready(belay: &Belay, pool: &str, count: usize) {
    belay
        .eventually("has that number of Machines", || async {
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
    somebody_patches(
        &belay,
        &json!([{"op": "remove", "path": format!("{pool}/replicas")},
            {"op": "add", "path": format!("{pool}/metadata"), "value": bounds}]),
    );
    let why = "AgentPool md-0 is scaled by the cluster autoscaler (1 to 5 nodes";
    belay
        .eventually("shows who scales the pool", || async {
            let status = belay.pool_status("md-0").await;
            let refusal = status.scale_refusal.unwrap_or_default();
            is_true(&status.conditions, "Autoscaled") && refusal.starts_with(why)
        })
        .await;
    let scale = ["scale", "agentpool/md-0", "--replicas=4"];
    let refused = belay.try_kubectl(&scale).expect_err("it is refused");
    assert!(refused.contains(why), "{refused}");

    belay.kill_operator();
    autoscales(&belay, "md-0", 4).await;
    stage.operate(&belay);
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    let machines = machines_of(&belay, Some("md-0")).await;
    assert_eq!(versions(&machines), [NEW; 4]);
    autoscales(&belay, "md-0", 1).await;
    belay.lock_is_free().await;
    belay.rests().await;
    has_ready(&belay, "md-0", 1).await;
    let scales = belay.operations(Scale, "md-0").await;
    assert!(
        scales.len() <= 1,
        "at most the autoscaler's own: {scales:?}"
    );
}
