//! The Node object of a machine that doesn't exist.

use k8s_openapi::{
    api::core::v1::{Node, NodeSpec, NodeStatus, NodeSystemInfo, Taint},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    api::{
        AGENT_POOL_LABEL, APPLIED_SETTINGS, CLUSTER_LABEL, JOINING, MADE_BY, NAMESPACE_LABEL,
        ScaleSetPriority, VERSION_LABEL,
    },
    lifecycle::{Job, PoolGoal},
    provider::nodes,
};

/// The annotation that makes kwok keep a node alive. The node has it from the beginning, because kwok takes over the
/// Lease only of nodes that are created with it.
const KWOK: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// The label with the price class of the machines, as AKS and Belay's pools know it.
const PRIORITY_LABEL: &str = "belay.dev/scale-set-priority";

/// Returns a new node of a pool, which still has to join the pool.
pub fn node(job: &Job, goal: &PoolGoal, name: &str) -> Node {
    let mut labels = nodes::labels(&goal.settings);
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
        (JOINING, "true".to_owned()),
        (APPLIED_SETTINGS, nodes::to_annotation(&goal.settings)),
        (KWOK.0, KWOK.1.to_owned()),
    ];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value));
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: Some(taints(job, goal)),
            unschedulable: Some(true),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus {
            node_info: Some(info(&format!("v{}", goal.version))),
            ..NodeStatus::default()
        }),
    }
}

/// Returns the taints of a new node: kwok's, as in kwok's own manifests, and those of its pool. kwok's taint isn't one
/// of the pool's settings, so a change of the settings keeps it.
fn taints(job: &Job, goal: &PoolGoal) -> Vec<Taint> {
    let mut taints = nodes::taints(&goal.settings);
    let fake = Taint {
        key: KWOK.0.to_owned(),
        value: Some(KWOK.1.to_owned()),
        effect: "NoSchedule".to_owned(),
        time_added: None,
    };
    // A node has at most one taint with the same key and effect.
    let is_there = taints
        .iter()
        .any(|taint| taint.key == fake.key && taint.effect == fake.effect);
    if job.provider.kwok.as_ref().is_some_and(|kwok| kwok.taint) && !is_there {
        taints.push(fake);
    }
    taints
}

fn info(version: &str) -> NodeSystemInfo {
    NodeSystemInfo {
        kubelet_version: version.to_owned(),
        kube_proxy_version: version.to_owned(),
        architecture: "amd64".into(),
        operating_system: "linux".into(),
        os_image: "kwok".into(),
        kernel_version: "kwok".into(),
        container_runtime_version: "kwok".into(),
        ..NodeSystemInfo::default()
    }
}
