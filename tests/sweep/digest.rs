//! The relevant state of a namespace, without the parts that differ from run to run (generated names, times,
//! resourceVersions).

use std::{collections::BTreeMap, fmt::Debug};

use belay::{
    api::{AgentPool, DRAINED_BY, JOINING, KwokControlPlane, ManagedCluster, Operation},
    lifecycle::messages::SPEC_CHANGED,
};
use k8s_openapi::api::core::v1::Node;
use kube::{Resource, ResourceExt as _, api::ListParams, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::belay::Belay;

/// Returns the relevant state of a namespace as text, with a line for each fact. Operations that the next operator
/// canceled as outdated before their start are included only if `with_outdated` is set: an operator that had lost its
/// lease may have created them.
pub async fn of(belay: &Belay, with_outdated: bool) -> String {
    let clusters = all::<ManagedCluster>(belay).await;
    let uids: Vec<_> = clusters
        .iter()
        .map(|cluster| &cluster["metadata"]["uid"])
        .collect();
    // Kubernetes deletes the objects of an owner that no longer exists, in its own time.
    let is_orphaned = |operation: &&Value| {
        let mut owners = operation["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten();
        owners.any(|owner| !uids.contains(&&owner["uid"]))
    };
    let operations = all::<Operation>(belay).await;
    let is_outdated = |operation: &&Value| {
        let status = &operation["status"];
        let cancellation = status["cancellation"]["reason"].as_str();
        status["startTime"].is_null() && cancellation == Some(SPEC_CHANGED)
    };
    let operations = operations
        .iter()
        .filter(|operation| !is_orphaned(operation) && (with_outdated || !is_outdated(operation)));
    let mut operations: Vec<_> = operations.map(operation).collect();
    operations.sort_by_key(Value::to_string);
    let mut nodes: Vec<_> = belay.nodes().await.iter().map(node).collect();
    nodes.sort_by_key(Value::to_string);
    let records = all::<KwokControlPlane>(belay).await;
    // Records without a control plane and without work on one are not included.
    let is_relevant = |record: &Value| {
        record.get("kubernetesVersion").is_some() || record.get("operation").is_some()
    };
    let records: Vec<_> = records.iter().map(record).filter(is_relevant).collect();
    let world = json!({
        "clusters": named(&clusters),
        "pools": named(&all::<AgentPool>(belay).await),
        "controlPlanes": records,
        "operations": operations,
        "nodes": nodes,
    });
    let text = serde_json::to_string_pretty(&world).expect("text");
    text.replace(&belay.namespace, "NAMESPACE")
}

/// Whether no operation is in progress, and no node is in the middle of a step: after the end of an operation, Belay
/// retries what it could not restore.
pub async fn is_idle(belay: &Belay) -> bool {
    let operations = all::<Operation>(belay).await;
    let has_ended = |operation: &Value| {
        let phase = operation["status"]["phase"].as_str().unwrap_or_default();
        matches!(phase, "Succeeded" | "Failed" | "Canceled")
    };
    let is_marked = |node: &Node| {
        let mut marks = [JOINING, DRAINED_BY].into_iter();
        marks.any(|mark| node.annotations().contains_key(mark))
    };
    operations.iter().all(has_ended) && !belay.nodes().await.iter().any(is_marked)
}

async fn all<K>(belay: &Belay) -> Vec<Value>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let listed = belay.api::<K>().list(&ListParams::default()).await;
    let objects = listed.expect("listed").items.into_iter();
    objects
        .map(|object| serde_json::to_value(object).expect("JSON"))
        .collect()
}

/// Returns clusters or pools by name.
fn named(objects: &[Value]) -> Map<String, Value> {
    let of = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        (name.to_owned(), target(object))
    };
    objects.iter().map(of).collect()
}

/// Returns the relevant state of a cluster or a pool.
fn target(object: &Value) -> Value {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    let conditions = status["conditions"].as_array();
    let conditions: BTreeMap<_, _> = conditions
        .into_iter()
        .flatten()
        .map(|condition| {
            let of = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            (of("type"), format!("{} {}", of("status"), of("reason")))
        })
        .collect();
    let is_observed = metadata["generation"] == status["observedGeneration"];
    json!({
        "isBeingDeleted": !metadata["deletionTimestamp"].is_null(),
        "finalizers": metadata["finalizers"],
        "labels": metadata["labels"],
        "isObserved": is_observed,
        "spec": object["spec"],
        "provisioningState": status["provisioningState"],
        "powerState": status["powerState"]["code"],
        "version": status["kubernetesVersion"],
        "versions": status["versions"],
        "count": status["count"],
        "readyCount": status["readyCount"],
        "scaleRefusal": status["scaleRefusal"].as_str().map(without_time),
        "lock": status["operations"],
        "operation": status["operation"],
        "lastOperation": last(&status["lastOperation"]),
        "hold": hold(&status["hold"]),
        "clusterHold": hold(&status["clusterHold"]),
        "conditions": conditions,
    })
}

/// Returns a message up to its time.
fn without_time(message: &str) -> &str {
    message.split(" at '").next().unwrap_or_default()
}

fn last(operation: &Value) -> Value {
    json!([
        operation["type"],
        operation["phase"],
        operation["target"]["name"]
    ])
}

fn hold(hold: &Value) -> Value {
    json!([
        hold["phase"],
        hold["aspects"],
        hold["askedFor"]["kubernetesVersion"],
        hold["askedFor"]["count"]
    ])
}

fn operation(object: &Value) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let mut steps = BTreeMap::<String, usize>::new();
    for step in status["steps"].as_array().into_iter().flatten() {
        let kind = step["name"]
            .as_str()
            .and_then(|name| name.split('/').next());
        let step = format!(
            "{} {} {}",
            kind.unwrap_or_default(),
            step["action"],
            step["phase"]
        );
        *steps.entry(step.replace('"', "")).or_default() += 1;
    }
    json!({
        "type": spec["type"],
        "target": spec["target"]["name"],
        "phase": status["phase"],
        "percent": status["percentComplete"],
        "cancellation": [status["cancellation"]["status"], status["cancellation"]["policy"]],
        "error": status["error"]["code"],
        "blocked": status["blocked"]["reason"],
        "steps": steps,
    })
}

fn node(node: &Node) -> Value {
    let ours = |(key, _): &(&String, &String)| key.contains("belay.dev/");
    let labels: BTreeMap<_, _> = node.labels().iter().filter(ours).collect();
    let annotations = node.annotations().iter().filter(ours);
    // Only the keys, because the values contain the uid of the Operation.
    let marks: Vec<_> = annotations.map(|(key, _)| key).collect();
    let spec = node.spec.clone().unwrap_or_default();
    json!({
        "labels": labels,
        "marks": marks,
        "cordoned": spec.unschedulable.unwrap_or_default(),
        "taints": spec.taints,
        "runs": crate::belay::version(node),
        "isReady": crate::belay::is_node_ready(node),
        "isBeingDeleted": node.metadata.deletion_timestamp.is_some(),
    })
}

/// Returns what a control plane runs.
fn record(object: &Value) -> Value {
    let mut spec = object["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
    spec
}
