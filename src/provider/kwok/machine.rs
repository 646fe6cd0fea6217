//! The Node object of a machine that isn't there.

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

/// On a node: kwok keeps it alive. It is there from the first moment on, for kwok takes the Lease of nodes
/// that come with it alone.
const KWOK: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// The label that AKS and Belay's pools know the machines' price by.
const PRIORITY_LABEL: &str = "belay.dev/scale-set-priority";

/// A new node of a pool, which is still to join it.
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

/// The taints of a new node: kwok's, as kwok's own manifests have it, and those of its pool. The first isn't one
/// of the pool's settings, so a change of the settings keeps it.
fn taints(job: &Job, goal: &PoolGoal) -> Vec<Taint> {
    let mut taints = nodes::taints(&goal.settings);
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
