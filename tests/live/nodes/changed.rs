//! Users or other programs change nodes and pods during an operation: it continues, or reports what it waits for.

use std::sync::Arc;

use axum::http::Method;
use belay::api::{OperationPhase, OperationType};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
    storage::v1::VolumeAttachment,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World, is_cordoned, version},
    plugin::{run, text},
    proxy::Fault,
};

impl Belay {
    fn node_api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn patch_node(&self, node: &str, patch: &Value) {
        // A policy allows only Belay to change Belay's labels. This test acts like a user of a cluster without
        // policies.
        let as_belay = PatchParams {
            field_manager: Some("belay".into()),
            ..PatchParams::default()
        };
        let patched = self
            .node_api()
            .patch(node, &as_belay, &Patch::Merge(patch))
            .await;
        patched.expect("patched");
    }

    /// Starts an upgrade that a budget blocks. Returns its name, and the node that is being drained.
    async fn blocked_drain(&self) -> (String, Node) {
        self.cluster_with_blocked_drains(2).await;
        self.set_version("1.36.3").await;
        let upgrade = self.operation(OperationType::Upgrade, "demo").await;
        self.is_blocked(&upgrade).await;
        let cordoned = self.nodes().await.into_iter().find(is_cordoned);
        (upgrade, cordoned.expect("a node that is drained"))
    }

    /// Waits until an Operation is blocked for this reason. Returns the message.
    async fn is_blocked_by(&self, operation: &str, reason: &str) -> String {
        let blocked = || async { self.status(operation).await.blocked };
        self.eventually(&format!("{operation} is blocked by {reason}"), || async {
            blocked()
                .await
                .is_some_and(|blocked| blocked.reason == reason)
        })
        .await;
        blocked()
            .await
            .map(|blocked| blocked.message)
            .unwrap_or_default()
    }
}

pub async fn a_node_deleted_while_it_comes_up_is_created_again(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.set_count("np1", 2).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay
        .eventually("there is a second node", || async {
            belay.nodes().await.len() == 2
        })
        .await;
    let nodes = belay.nodes().await;
    let newest = nodes
        .iter()
        .max_by_key(|node| node.metadata.creation_timestamp.clone());
    let (name, uid) = newest
        .map(|node| (node.name_any(), node.uid()))
        .expect("a node");
    // The node may already have joined the pool. In both cases, the pool has two nodes in the end.
    let deleted = belay
        .node_api()
        .delete(&name, &DeleteParams::default())
        .await;
    deleted.expect("deleted");
    belay.succeeds(&scale).await;
    belay
        .eventually("there are two nodes, without the deleted one", || async {
            let nodes = belay.nodes().await;
            nodes.len() == 2
                && nodes
                    .iter()
                    .all(|node| node.name_any() != name || node.uid() != uid)
        })
        .await;
}

pub async fn a_node_deleted_just_after_its_creation_is_created_again(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    // The delay gives the test a chance to delete the node just after its creation.
    let late = Fault::Delay(std::time::Duration::from_millis(1));
    proxy.add_fault(Method::POST, "/nodes", "", late, 1);
    belay.set_count("np1", 2).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.was_answered(&proxy, "/nodes").await;
    let nodes = belay.nodes().await;
    let joining = nodes
        .iter()
        .find(|node| node.annotations().contains_key("belay.dev/joining"));
    if let Some(node) = joining {
        // The preconditions prevent a deletion after the node has joined the pool.
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: node.uid(),
                resource_version: node.resource_version(),
            }),
            ..DeleteParams::default()
        };
        let deleted = belay.node_api().delete(&node.name_any(), &params).await;
        let was_changed =
            |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 409);
        assert!(
            deleted.as_ref().err().is_none_or(was_changed),
            "{deleted:?}"
        );
    }
    belay.succeeds(&scale).await;
    assert_eq!(belay.nodes().await.len(), 2);
}

pub async fn a_foreign_node_keeps_its_name_and_belay_takes_another(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(3000, 1).await;
    belay.set_count("np1", 2).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_in_phase(&scale, OperationPhase::InProgress).await;
    let steps = belay.status(&scale).await.steps;
    let name = steps[0].name.strip_prefix("node/").expect("a node");
    // Belay creates the node only after three seconds, so the test can create one with its name first.
    let mut foreign = Node::default();
    foreign.metadata.name = Some(name.to_owned());
    let nodes = belay.node_api();
    let created = nodes.create(&PostParams::default(), &foreign).await;
    created.expect("created");
    belay.succeeds(&scale).await;
    let ours = belay.nodes().await;
    assert_eq!(ours.len(), 2);
    assert!(ours.iter().all(|node| node.name_any() != name));
    let foreign = nodes.get(name).await.expect("the foreign node");
    assert!(!foreign.labels().contains_key("belay.dev/cluster"));
    let deleted = nodes.delete(name, &DeleteParams::default()).await;
    deleted.expect("deleted");
}

pub async fn a_node_uncordoned_during_its_drain_is_cordoned_again(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let (upgrade, node) = belay.blocked_drain().await;
    let name = node.name_any();
    belay
        .patch_node(&name, &json!({"spec": {"unschedulable": null}}))
        .await;
    belay
        .eventually("Belay has cordoned the node again", || async {
            let node = belay.node_api().get(&name).await.expect("the node");
            is_cordoned(&node)
        })
        .await;
    belay.set_min_available(0).await;
    belay.succeeds(&upgrade).await;
}

pub async fn a_node_without_belays_label_is_no_longer_managed(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let (upgrade, node) = belay.blocked_drain().await;
    let name = node.name_any();
    let without_label = json!({"metadata": {"labels": {"belay.dev/cluster": null}}});
    belay.patch_node(&name, &without_label).await;
    belay.set_min_available(0).await;
    belay.succeeds(&upgrade).await;
    belay
        .node_api()
        .get(&name)
        .await
        .expect("the node still exists");
    let nodes = belay.nodes().await;
    let ours = nodes
        .iter()
        .filter(|node| node.labels().contains_key("belay.dev/cluster"));
    assert!(ours.clone().all(|node| version(node) == "v1.36.3"));
    assert_eq!(ours.count(), 2);
    let deleted = belay
        .node_api()
        .delete(&name, &DeleteParams::default())
        .await;
    deleted.expect("deleted");
}

pub async fn an_upgrade_waits_for_a_node_held_by_a_finalizer_and_names_the_finalizer(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    let held = belay.nodes().await[0].name_any();
    for node in belay.nodes().await {
        let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
        belay.patch_node(&node.name_any(), &hold).await;
    }
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let message = belay.is_blocked_by(&upgrade, "NodeTerminating").await;
    assert!(message.contains("example.com/hold"), "{message}");
    let terminating = belay.nodes().await;
    let deleted = terminating
        .iter()
        .filter(|node| node.metadata.deletion_timestamp.is_some());
    assert_eq!(
        deleted.count(),
        1,
        "upgradeSettings allow one node at a time"
    );
    for node in belay.nodes().await {
        if node.finalizers().contains(&"example.com/hold".to_owned()) {
            let without_finalizers = json!({"metadata": {"finalizers": null}});
            belay
                .patch_node(&node.name_any(), &without_finalizers)
                .await;
        }
    }
    belay.succeeds(&upgrade).await;
    assert!(
        belay
            .node_api()
            .get_opt(&held)
            .await
            .expect("an answer")
            .is_none()
    );
    assert_eq!(belay.nodes().await.len(), 2);
}

pub async fn both_budgets_of_a_pod_are_named(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_workload(1, 0).await;
    let second = json!({"minAvailable": 0, "selector": {"matchLabels": {"app": "web"}}});
    belay
        .create_object::<PodDisruptionBudget>("second", second)
        .await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let message = belay.is_blocked_by(&upgrade, "PodDisruptionBudget").await;
    let both = ["second", "web"].map(|name| format!("{}/{name}", belay.namespace));
    assert!(both.iter().all(|name| message.contains(name)), "{message}");
    let why = text(&run(&belay, &["why", &upgrade]).await.stdout);
    assert!(why.contains("second"), "{why}");
    belay.kubectl(&["delete", "pdb", "second"]);
    belay.succeeds(&upgrade).await;
}

pub async fn an_upgrade_that_waits_for_an_endless_grace_period_can_be_aborted(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let spec = json!({"nodeName": belay.nodes().await[0].name_any(),
        "terminationGracePeriodSeconds": 300_000_000_000_i64,
        "containers": [{"name": "web", "image": "web:1"}]});
    let pod: Pod = serde_json::from_value(
        json!({"metadata": {"name": "endless", "finalizers": ["example.com/hold"]}, "spec": spec}),
    )
    .expect("a pod");
    let pods = belay.api::<Pod>();
    pods.create(&PostParams::default(), &pod)
        .await
        .expect("created");
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay
        .eventually("the pod is evicted", || async {
            let pod = pods.get("endless").await.expect("the pod");
            pod.metadata.deletion_timestamp.is_some()
        })
        .await;
    belay.abort(&upgrade, "do not wait for the pod").await;
    belay.is_canceled(&upgrade).await;
    assert!(
        !belay.log().contains("panicked"),
        "the operator never panics"
    );
    let without_finalizers = json!({"metadata": {"finalizers": null}});
    let patched = pods
        .patch(
            "endless",
            &PatchParams::default(),
            &Patch::Merge(without_finalizers),
        )
        .await;
    patched.expect("patched");
    let now = DeleteParams::default().grace_period(0);
    drop(pods.delete("endless", &now).await);
}

pub async fn an_upgrade_waits_for_an_attached_volume_and_names_it(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let node = belay.nodes().await[0].name_any();
    let name = format!("attached-{}", belay.namespace);
    let attachment: VolumeAttachment = serde_json::from_value(json!({"metadata": {"name": name},
        "spec": {"attacher": "csi.example.com", "nodeName": node, "source": {"persistentVolumeName": "disk-1"}}}))
    .expect("an attachment");
    let attachments = Api::<VolumeAttachment>::all(belay.client.clone());
    let created = attachments
        .create(&PostParams::default(), &attachment)
        .await;
    created.expect("created");
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let message = belay.is_blocked_by(&upgrade, "VolumeAttached").await;
    assert!(message.contains("disk-1"), "{message}");
    belay
        .node_api()
        .get(&node)
        .await
        .expect("the node still exists");
    let deleted = attachments.delete(&name, &DeleteParams::default()).await;
    deleted.expect("deleted");
    belay.succeeds(&upgrade).await;
    let listed = belay
        .node_api()
        .list(&ListParams::default())
        .await
        .expect("nodes");
    assert!(listed.items.iter().all(|found| found.name_any() != node));
}
