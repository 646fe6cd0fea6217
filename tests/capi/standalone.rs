//! Clusters without a topology.

use std::sync::Arc;

use belay::api::{OperationType::Upgrade, TargetKind};
use kube::{
    Api, ResourceExt as _,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};

use crate::{
    belay::Belay,
    stage::{NEW, Stage, has_started_at_cluster_api, machines_of, versions},
};

async fn control_plane(belay: &Belay) -> DynamicObject {
    let (group, kind) = ("controlplane.cluster.x-k8s.io", "KubeadmControlPlane");
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1beta2", kind));
    let api = Api::<DynamicObject>::namespaced_with(belay.client.clone(), &belay.namespace, &kind);
    api.get("demo").await.expect("a control plane")
}

pub async fn a_cluster_without_a_topology_can_be_upgraded_after_an_abort_paused_its_control_plane(
    stage: Arc<Stage>,
) {
    let belay = stage.standalone().await;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    has_started_at_cluster_api(&belay, &upgrade).await;
    belay.abort(&upgrade, "not today").await;
    let status = belay.is_canceled(&upgrade).await;
    assert_eq!(status.steps[0].name, "control-plane");
    let paused = "cluster.x-k8s.io/paused";
    let stopped = control_plane(&belay).await;
    assert_eq!(
        stopped.annotations().get(paused).map(String::as_str),
        Some("belay")
    );
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    assert_eq!(versions(&machines_of(&belay, None).await), [NEW, NEW, NEW]);
    let upgraded = control_plane(&belay).await;
    assert_eq!(upgraded.annotations().get(paused), None);
}
