//! Nodes of kwok: their taint and their leases.

use std::sync::Arc;

use belay::api::OperationType;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;
use testenv::{Component, ControlPlane};

use crate::stage::{
    actions::KWOK,
    belay::{Belay, World},
};

impl Belay {
    /// Creates a pod for the nodes of the namespace without any tolerations.
    async fn create_plain_pod(&self, name: &str) {
        let pod = json!({"metadata": {"name": name},
            "spec": {"nodeSelector": {"belay.dev/namespace": self.namespace}, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "main:1"}]}});
        let pod = serde_json::from_value(pod).expect("a pod");
        let (pods, params) = (self.api::<Pod>(), PostParams::default());
        pods.create(&params, &pod).await.expect("created");
    }

    /// Returns the scheduler's reason why it found no node for a pod.
    async fn reason_for_no_node(&self, name: &str) -> Option<String> {
        let status = self.api::<Pod>().get(name).await.expect("the pod").status?;
        let conditions = status.conditions.unwrap_or_default();
        let of_scheduler = conditions
            .into_iter()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        of_scheduler?.message
    }
}

fn is_tainted(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.is_some_and(|taints| {
        taints.iter().any(|taint| {
            taint.key == KWOK
                && taint.value.as_deref() == Some("fake")
                && taint.effect == "NoSchedule"
        })
    })
}

pub async fn a_pod_without_a_toleration_is_not_scheduled_to_a_kwok_node(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_plain_pod("plain").await;
    belay
        .eventually("the scheduler reports the taint", || async {
            let why = belay.reason_for_no_node("plain").await.unwrap_or_default();
            why.contains("untolerated taint")
        })
        .await;
    belay.create_workload(1, 1).await;
    // Changes of the pool's own taints don't remove Belay's taint.
    let taints = json!([{"key": "team", "value": "a", "effect": "PreferNoSchedule"}]);
    for taints in [taints, json!([])] {
        belay.set_pool("np1", json!({"nodeTaints": taints})).await;
        belay.pool_is_ready("np1").await;
        belay.lock_is_free().await;
        assert!(belay.nodes().await.iter().all(is_tainted));
    }
}

pub async fn new_nodes_have_no_taint_if_taint_is_false(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let old = belay.nodes().await[0].name_any();
    belay
        .set_cluster(json!({"provider": {"kwok": {"taint": false}}}))
        .await;
    belay.set_count("np1", 2).await;
    belay
        .eventually("there is a second node", || async {
            belay.nodes().await.len() == 2
        })
        .await;
    belay.pool_is_ready("np1").await;
    for node in belay.nodes().await {
        assert_eq!(
            is_tainted(&node),
            node.name_any() == old,
            "only old nodes keep the taint"
        );
    }
    belay.create_plain_pod("plain").await;
    belay
        .eventually("the pod is running", || async {
            let status = belay
                .api::<Pod>()
                .get("plain")
                .await
                .expect("the pod")
                .status;
            status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
        })
        .await;
}

pub async fn an_upgrade_works_with_a_kwok_that_manages_node_leases(_: Arc<World>) {
    // The manifests and the chart of kwok use the same setting.
    let builder = ControlPlane::builder().arg(Component::Kwok, "--node-lease-duration-seconds=40");
    let own = World::of(builder.start().await.expect("a control plane"));
    let belay = Belay::start(&own).await;
    belay.ready_cluster(0, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    let leases = Api::<Lease>::namespaced(belay.client.clone(), "kube-node-lease");
    let leases = leases.list(&ListParams::default()).await.expect("leases");
    assert!(!leases.items.is_empty(), "kwok manages the leases");
}
