//! Node objects: how they are made, and how they are read.

use std::{borrow::Borrow, collections::BTreeMap};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use crate::{
    api::{
        AGENT_POOL_LABEL, CLUSTER_LABEL, KubernetesVersion, NAMESPACE_LABEL, ScaleSetPriority,
        VERSION_LABEL,
    },
    lifecycle::{Job, NodeView, PoolGoal, Stage},
    machinery::FIELD_MANAGER,
};

use super::{settings, stores::Stores};

/// On a node: the uid of the Operation that made it.
pub(super) const MADE_BY: &str = "belay.dev/made-by";
/// On a node: the uid of the Operation that drains it.
pub(super) const DRAINED_BY: &str = "belay.dev/drained-by";
/// On a node: when its drain began.
pub(super) const DRAINED_SINCE: &str = "belay.dev/drained-since";
/// On a node that is drained: it was cordoned before, by someone else, and is to stay so.
pub(super) const WAS_CORDONED: &str = "belay.dev/was-cordoned";
/// On a node: when its machine is up.
pub(super) const PROVISIONED_AT: &str = "belay.dev/provisioned-at";
/// On a node: kwok keeps it alive. Set when its machine is up.
const KWOK: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// The label that AKS and Belay's pools know the machines' price by.
const PRIORITY_LABEL: &str = "belay.dev/scale-set-priority";

/// The nodes of a cluster that the watch has seen, by pool.
pub(super) fn by_pool(
    stores: &Stores,
    namespace: &str,
    cluster: &str,
) -> BTreeMap<String, Vec<NodeView>> {
    of_cluster(stores.nodes.state(), namespace, cluster)
}

/// Those of these nodes that are the cluster's, by pool.
pub(super) fn of_cluster<N: Borrow<Node>>(
    nodes: impl IntoIterator<Item = N>,
    namespace: &str,
    cluster: &str,
) -> BTreeMap<String, Vec<NodeView>> {
    let mut pools = BTreeMap::<String, Vec<NodeView>>::new();
    for node in nodes {
        let node = node.borrow();
        let labels = node.labels();
        let is_ours = labels.get(NAMESPACE_LABEL).map(String::as_str) == Some(namespace)
            && labels.get(CLUSTER_LABEL).map(String::as_str) == Some(cluster);
        if let (true, Some(pool), Some(view)) = (is_ours, labels.get(AGENT_POOL_LABEL), view(node))
        {
            pools.entry(pool.clone()).or_default().push(view);
        }
    }
    for nodes in pools.values_mut() {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    pools
}

/// A node, as much of it as the core needs to know; none where it isn't one of Belay's.
pub(super) fn view(node: &Node) -> Option<NodeView> {
    let version: KubernetesVersion = node.labels().get(VERSION_LABEL)?.parse().ok()?;
    let annotation = |name: &str| node.annotations().get(name).cloned();
    Some(NodeView {
        name: node.name_any(),
        version,
        ready: is_ready(node),
        cordoned: is_cordoned(node),
        deleting: node.metadata.deletion_timestamp.is_some(),
        settings: settings::applied(node),
        drained_by: annotation(DRAINED_BY),
        made_by: annotation(MADE_BY),
        created: node
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    })
}

fn is_ready(node: &Node) -> bool {
    is_up(node) && ready_condition(node).is_some_and(|told| told.status == "True")
}

/// Since when the node itself, or who looks after it, tells that it isn't Ready.
pub(super) fn told_unready_since(node: &Node) -> Option<Timestamp> {
    let told = ready_condition(node).filter(|told| told.status != "True")?;
    told.last_transition_time.as_ref().map(|since| since.0)
}

fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|told| told.type_ == "Ready")
}

/// Whether no new pods come to the node.
pub(super) fn is_cordoned(node: &Node) -> bool {
    node.spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or(false)
}

/// Whether the node's machine is up.
pub(super) fn is_up(node: &Node) -> bool {
    node.annotations().contains_key(KWOK.0)
}

/// When the node's machine is up.
pub(super) fn provisioned_at(node: &Node) -> Timestamp {
    let at = node
        .annotations()
        .get(PROVISIONED_AT)
        .and_then(|at| at.parse().ok());
    at.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What makes a node's machine be up.
pub(super) fn up_patch() -> Patch<serde_json::Value> {
    Patch::Merge(json!({"metadata": {"annotations": {KWOK.0: KWOK.1}}}))
}

/// A new node of a pool, whose machine is up at `provisioned_at`.
pub(super) fn make(job: &Job, goal: &PoolGoal, name: &str, provisioned_at: Timestamp) -> Node {
    let mut labels = settings::labels(&goal.settings);
    let mut label = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    label(CLUSTER_LABEL, &job.cluster);
    label(NAMESPACE_LABEL, &job.namespace);
    label(AGENT_POOL_LABEL, &goal.pool);
    label(VERSION_LABEL, &goal.version.to_string());
    label("kubernetes.io/hostname", name);
    label("kubernetes.io/os", "linux");
    label("kubernetes.io/arch", "amd64");
    if let Some(size) = &goal.vm_size {
        label("node.kubernetes.io/instance-type", size);
    }
    if goal.priority == ScaleSetPriority::Spot {
        label(PRIORITY_LABEL, "Spot");
    }
    let annotations = [
        (MADE_BY, job.uid.clone()),
        (
            settings::ANNOTATION,
            settings::to_annotation(&goal.settings),
        ),
        (PROVISIONED_AT, provisioned_at.to_string()),
    ];
    let version = format!("v{}", goal.version);
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            annotations: Some(
                annotations
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: Some(taints(job, goal)),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            node_info: Some(NodeSystemInfo {
                kubelet_version: version.clone(),
                kube_proxy_version: version,
                architecture: "amd64".into(),
                operating_system: "linux".into(),
                os_image: "kwok".into(),
                kernel_version: "kwok".into(),
                container_runtime_version: "kwok".into(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }),
    }
}

/// The taints of a new node: kwok's, as kwok's own manifests have it, and those of its pool. The first isn't one
/// of the pool's settings, so a change of the settings keeps it.
fn taints(job: &Job, goal: &PoolGoal) -> Vec<Taint> {
    let mut taints = settings::taints(&goal.settings);
    let fake = Taint {
        key: KWOK.0.to_owned(),
        value: Some(KWOK.1.to_owned()),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    };
    // A node has one taint of a key and effect.
    let is_there = taints
        .iter()
        .any(|taint| taint.key == fake.key && taint.effect == fake.effect);
    if job.provider.kwok.as_ref().is_some_and(|kwok| kwok.taint) && !is_there {
        taints.push(fake);
    }
    taints
}

/// Leaves no node of the job's cluster half-made or half-drained by it: a node that isn't up is deleted,
/// one whose drain isn't done takes pods again. It reads from the API server, not from a watch that may
/// lag behind, and goes on until all is so.
pub(super) async fn leave_nothing_half_done(client: &Client, job: &Job) {
    let is_of_job = |node: &Node| {
        [MADE_BY, DRAINED_BY]
            .iter()
            .any(|by| node.annotations().get(*by) == Some(&job.uid))
    };
    leave_none_half_done(client, job, &is_of_job).await;
}

async fn leave_none_half_done(
    client: &Client,
    job: &Job,
    is_to_mend: &(dyn Fn(&Node) -> bool + Sync),
) {
    let nodes = Api::<Node>::all(client.clone());
    let ours = ListParams::default().labels(&format!(
        "{NAMESPACE_LABEL}={},{CLUSTER_LABEL}={}",
        job.namespace, job.cluster
    ));
    loop {
        let half_done = match tokio::time::timeout(super::retry::REQUEST_TIMEOUT, nodes.list(&ours))
            .await
        {
            Ok(Ok(list)) => list.items,
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to list nodes to leave none half-done, trying again");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                continue;
            }
            Err(_) => continue,
        };
        let half_done = half_done.iter().filter(|node| is_to_mend(node));
        let mended = join_all(half_done.map(|node| mend(&nodes, node))).await;
        if mended.iter().all(|mended| *mended) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Before work begins: what is half-done on the job's pools was left by an Operation that was removed by
/// force, for nobody else works on them now.
pub(super) async fn mend_what_others_left(client: &Client, job: &Job) {
    let pools: Vec<&String> = job
        .stages
        .iter()
        .filter_map(|stage| match stage {
            Stage::Pool(goal) => Some(&goal.pool),
            Stage::ControlPlane(_) => None,
        })
        .collect();
    let is_left = |node: &Node| {
        let is_of_job = |name: &str| node.annotations().get(name).is_none_or(|by| *by == job.uid);
        node.labels()
            .get(AGENT_POOL_LABEL)
            .is_some_and(|pool| pools.contains(&pool))
            && !(is_of_job(DRAINED_BY) && (is_of_job(MADE_BY) || is_up(node)))
    };
    leave_none_half_done(client, job, &is_left).await;
}

/// Whether nothing is left to do on the node.
async fn mend(nodes: &Api<Node>, node: &Node) -> bool {
    let is_marked = |name: &str| node.annotations().contains_key(name);
    let result = if is_marked(MADE_BY) && !is_up(node) {
        let params = only(node);
        nodes.delete(&node.name_any(), &params).await.map(|_| ())
    } else if is_marked(DRAINED_BY) {
        let patch = Patch::Merge(uncordon(node));
        nodes
            .patch(
                &node.name_any(),
                &PatchParams {
                    field_manager: Some(FIELD_MANAGER.into()),
                    ..PatchParams::default()
                },
                &patch,
            )
            .await
            .map(|_| ())
    } else {
        return true;
    };
    match result {
        Ok(()) => true,
        Err(kube::Error::Api(status)) if status.code == 404 => true,
        Err(error) => {
            tracing::warn!(node = node.name_any(), %error, "failed to leave the node as it was, trying again");
            false
        }
    }
}

/// Deletes this very node, and no other that has its name by then.
pub(super) fn only(node: &Node) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid: node.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

fn uncordon(node: &Node) -> serde_json::Value {
    let stays = node.annotations().contains_key(WAS_CORDONED);
    json!({
        "metadata": {
            "resourceVersion": node.resource_version(),
            "annotations": {DRAINED_BY: null, DRAINED_SINCE: null, WAS_CORDONED: null},
        },
        "spec": {"unschedulable": if stays { json!(true) } else { json!(null) }},
    })
}

/// What begins a node's drain.
pub(super) fn cordon(node: &Node, job: &Job, now: Timestamp) -> serde_json::Value {
    let mut annotations = json!({DRAINED_BY: job.uid});
    if node.annotations().get(DRAINED_BY) != Some(&job.uid) {
        annotations[DRAINED_SINCE] = json!(now.to_string());
        if is_cordoned(node) {
            annotations[WAS_CORDONED] = json!("true");
        }
    }
    json!({
        "metadata": {"resourceVersion": node.resource_version(), "annotations": annotations},
        "spec": {"unschedulable": true},
    })
}
