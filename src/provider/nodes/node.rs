//! How Belay marks a Node and reads the marks. The marks name the Operation that works on the node. Every write carries
//! the resourceVersion of a node that still carries the mark of its Operation.

use std::{borrow::Borrow, collections::BTreeMap};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    api::{
        AGENT_POOL_LABEL, CLUSTER_LABEL, DRAINED_BY, DRAINED_FOR, JOINING, KubernetesVersion,
        MADE_BY, NAMESPACE_LABEL, QUARANTINED, UNDRAINABLE, UPGRADE_STATUS_LABEL, VERSION_LABEL,
        WAS_CORDONED,
    },
    lifecycle::{NodeView, Undrainable},
};

use super::settings;

/// Returns those of these nodes that belong to the cluster, by pool.
pub fn by_pool<N: Borrow<Node>>(
    nodes: impl IntoIterator<Item = N>,
) -> BTreeMap<String, Vec<NodeView>> {
    let mut pools = BTreeMap::<String, Vec<NodeView>>::new();
    for node in nodes {
        let node = node.borrow();
        if let (Some(pool), Some(view)) = (node.labels().get(AGENT_POOL_LABEL), view(node)) {
            pools.entry(pool.clone()).or_default().push(view);
        }
    }
    for nodes in pools.values_mut() {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    pools
}

/// Returns whether a node carries the labels of a cluster.
pub fn is_of(node: &Node, namespace: &str, cluster: &str) -> bool {
    let labels = node.labels();
    labels.get(NAMESPACE_LABEL).map(String::as_str) == Some(namespace)
        && labels.get(CLUSTER_LABEL).map(String::as_str) == Some(cluster)
}

/// Returns the part of a node that the core needs to know. None if it isn't one of Belay's nodes.
pub fn view(node: &Node) -> Option<NodeView> {
    let version: KubernetesVersion = node.labels().get(VERSION_LABEL)?.parse().ok()?;
    let annotation = |name: &str| node.annotations().get(name).cloned();
    Some(NodeView {
        name: node.name_any(),
        version,
        ready: is_ready(node) && !is_joining(node),
        ready_since: ready_since(node),
        cordoned: is_cordoned(node),
        joining: is_joining(node),
        deleting: node.metadata.deletion_timestamp.is_some(),
        settings: settings::applied(node),
        drained_by: annotation(DRAINED_BY),
        made_by: annotation(MADE_BY),
        undrainable: undrainable(node),
        quarantined: is_quarantined(node),
        created: created(node),
    })
}

/// Returns the mark of an Operation that couldn't drain the node.
fn undrainable(node: &Node) -> Option<Undrainable> {
    serde_json::from_str(node.annotations().get(UNDRAINABLE)?).ok()
}

/// Returns whether the node stays cordoned because it couldn't be drained.
fn is_quarantined(node: &Node) -> bool {
    let status = node.labels().get(UPGRADE_STATUS_LABEL).map(String::as_str);
    status == Some(QUARANTINED) && node.annotations().contains_key(UNDRAINABLE)
}

/// Returns when a node was created.
pub fn created(node: &Node) -> Timestamp {
    let created = node.metadata.creation_timestamp.as_ref();
    created.map_or(Timestamp::UNIX_EPOCH, |Time(time)| *time)
}

/// Returns whether a node is Ready.
pub fn is_ready(node: &Node) -> bool {
    ready_condition(node).is_some_and(|ready| ready.status == "True")
}

/// Returns since when the node has been Ready. None if it isn't Ready.
fn ready_since(node: &Node) -> Option<Timestamp> {
    let ready = ready_condition(node).filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|since| since.0)
}

/// Returns since when the node's Ready condition says that it isn't Ready. None if it is Ready or has no such
/// condition.
pub fn unready_since(node: &Node) -> Option<Timestamp> {
    let ready = ready_condition(node).filter(|ready| ready.status != "True")?;
    ready.last_transition_time.as_ref().map(|since| since.0)
}

fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

/// Returns whether the node is cordoned, so that no new pods come to it.
pub fn is_cordoned(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// Returns whether a node was created but isn't part of its pool yet.
pub fn is_joining(node: &Node) -> bool {
    node.annotations().contains_key(JOINING)
}

/// Returns whether the Operation of that uid drains the node, and the node is still cordoned.
pub fn is_drained_by(node: &Node, uid: &str) -> bool {
    is_cordoned(node) && node.annotations().get(DRAINED_BY).map(String::as_str) == Some(uid)
}

/// Returns the uids of the Operations that are in the middle of work on the node.
pub fn in_work_of(node: &Node) -> impl Iterator<Item = &str> {
    let made = node.annotations().get(MADE_BY).filter(|_| is_joining(node));
    let drained = node.annotations().get(DRAINED_BY);
    made.into_iter().chain(drained).map(String::as_str)
}

/// Returns the patch that makes a node that is up part of its pool.
pub fn join(node: &Node) -> Value {
    json!({
        "metadata": {"resourceVersion": node.resource_version(), "annotations": {JOINING: null}},
        "spec": {"unschedulable": null},
    })
}

/// Returns the patch that ends a node's drain before it is done.
pub fn uncordon(node: &Node) -> Value {
    let stays = node.annotations().contains_key(WAS_CORDONED);
    json!({
        "metadata": {
            "resourceVersion": node.resource_version(),
            "annotations": {DRAINED_BY: null, DRAINED_FOR: null, WAS_CORDONED: null},
        },
        "spec": {"unschedulable": if stays { json!(true) } else { json!(null) }},
    })
}

/// Returns the patch that gives up a node's drain: the node takes pods again, or is quarantined.
pub fn give_up(node: &Node, undrainable: &Undrainable, is_quarantined: bool) -> Value {
    let mut patch = uncordon(node);
    patch["metadata"]["annotations"][UNDRAINABLE] = json!(json!(undrainable).to_string());
    if is_quarantined {
        patch["metadata"]["labels"] = json!({UPGRADE_STATUS_LABEL: QUARANTINED});
        patch["spec"]["unschedulable"] = json!(true);
    }
    patch
}

/// Returns the patch that begins a node's drain for the Operation of that uid.
pub fn cordon(node: &Node, uid: &str) -> Value {
    let mut annotations = json!({DRAINED_BY: uid});
    if node.annotations().get(DRAINED_BY).map(String::as_str) != Some(uid) {
        annotations[DRAINED_FOR] = json!("0");
        if is_cordoned(node) {
            annotations[WAS_CORDONED] = json!("true");
        }
    }
    json!({
        "metadata": {"resourceVersion": node.resource_version(), "annotations": annotations},
        "spec": {"unschedulable": true},
    })
}

/// Returns the patch that notes how long a drain has taken, in seconds.
pub fn note_drained_for(node: &Node, seconds: u64) -> Value {
    json!({"metadata": {
        "resourceVersion": node.resource_version(),
        "annotations": {DRAINED_FOR: seconds.to_string()},
    }})
}

/// Returns how long the drain has taken according to the node's mark, in seconds.
pub fn drained_for(node: &Node) -> u64 {
    let noted = node.annotations().get(DRAINED_FOR);
    noted.and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// Returns the finalizers that hold a node that is being deleted.
pub fn held_by(node: &Node) -> String {
    node.finalizers().join(", ")
}
