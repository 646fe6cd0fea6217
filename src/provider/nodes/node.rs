//! How Belay marks a Node and reads it. The marks name the Operation that works on the node. Every write carries
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
        MADE_BY, NAMESPACE_LABEL, VERSION_LABEL, WAS_CORDONED,
    },
    lifecycle::NodeView,
};

use super::settings;

/// Those of these nodes that are the cluster's, by pool.
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

/// Whether a node carries the labels of a cluster.
pub fn is_of(node: &Node, namespace: &str, cluster: &str) -> bool {
    let labels = node.labels();
    labels.get(NAMESPACE_LABEL).map(String::as_str) == Some(namespace)
        && labels.get(CLUSTER_LABEL).map(String::as_str) == Some(cluster)
}

/// A node, as much of it as the core needs to know; none where it isn't one of Belay's.
pub fn view(node: &Node) -> Option<NodeView> {
    let version: KubernetesVersion = node.labels().get(VERSION_LABEL)?.parse().ok()?;
    let annotation = |name: &str| node.annotations().get(name).cloned();
    Some(NodeView {
        name: node.name_any(),
        version,
        ready: is_ready(node) && !is_joining(node),
        cordoned: is_cordoned(node),
        joining: is_joining(node),
        deleting: node.metadata.deletion_timestamp.is_some(),
        settings: settings::applied(node),
        drained_by: annotation(DRAINED_BY),
        made_by: annotation(MADE_BY),
        created: created(node),
    })
}

/// When a node was made.
pub fn created(node: &Node) -> Timestamp {
    let created = node.metadata.creation_timestamp.as_ref();
    created.map_or(Timestamp::UNIX_EPOCH, |Time(time)| *time)
}

/// Whether a node is Ready.
pub fn is_ready(node: &Node) -> bool {
    ready_condition(node).is_some_and(|ready| ready.status == "True")
}

/// Since when the node itself, or who looks after it, says that it isn't Ready.
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

/// Whether no new pods come to the node.
pub fn is_cordoned(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// Whether a node was made and isn't part of its pool yet.
pub fn is_joining(node: &Node) -> bool {
    node.annotations().contains_key(JOINING)
}

/// Whether the Operation of that uid drains the node, and no pods come to it meanwhile.
pub fn is_drained_by(node: &Node, uid: &str) -> bool {
    is_cordoned(node) && node.annotations().get(DRAINED_BY).map(String::as_str) == Some(uid)
}

/// The uids of Operations whose work the node is in the middle of.
pub fn in_work_of(node: &Node) -> impl Iterator<Item = &str> {
    let made = node.annotations().get(MADE_BY).filter(|_| is_joining(node));
    let drained = node.annotations().get(DRAINED_BY);
    made.into_iter().chain(drained).map(String::as_str)
}

/// What makes a node that is up a part of its pool.
pub fn join(node: &Node) -> Value {
    json!({
        "metadata": {"resourceVersion": node.resource_version(), "annotations": {JOINING: null}},
        "spec": {"unschedulable": null},
    })
}

/// What ends a node's drain before it is done.
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

/// What begins a node's drain, for the Operation of that uid.
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

/// What notes how long a drain has taken, in seconds.
pub fn note_drained_for(node: &Node, seconds: u64) -> Value {
    json!({"metadata": {
        "resourceVersion": node.resource_version(),
        "annotations": {DRAINED_FOR: seconds.to_string()},
    }})
}

/// How long the drain has taken by the node's mark, in seconds.
pub fn drained_for(node: &Node) -> u64 {
    let noted = node.annotations().get(DRAINED_FOR);
    noted.and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// Who has to let a node go that is being deleted.
pub fn held_by(node: &Node) -> String {
    node.finalizers().join(", ")
}
