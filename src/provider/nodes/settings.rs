//! A pool's settings on its nodes: labels and taints, in addition to those that others put there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{APPLIED_SETTINGS, AgentPoolMode, NodeTaint},
    lifecycle::NodeSettings,
};

/// Returns the settings that were last applied to a node.
pub fn applied(node: &Node) -> NodeSettings {
    let applied = node.annotations().get(APPLIED_SETTINGS);
    applied
        .and_then(|applied| serde_json::from_str(applied).ok())
        .unwrap_or_default()
}

/// Returns the settings as the annotation has them.
pub fn to_annotation(settings: &NodeSettings) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}

/// Returns the labels that a pool's settings put on a node.
pub fn labels(settings: &NodeSettings) -> BTreeMap<String, String> {
    let role = match settings.mode {
        AgentPoolMode::System => "node-role.kubernetes.io/system",
        AgentPoolMode::User => "node-role.kubernetes.io/user",
    };
    // The definition refuses reserved keys. A pool that was stored before that rule may still have some. Nodes don't
    // get them, and a node that has one keeps it, because Belay or a kubelet may have set it.
    let mut labels = settings.labels.clone();
    labels.retain(|key, _| !is_reserved(key));
    labels.insert(role.to_owned(), String::new());
    labels
}

/// Returns whether a label's key belongs to a domain of Kubernetes or Belay.
fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    ["kubernetes.io", "k8s.io", "belay.dev"]
        .iter()
        .any(|reserved| {
            domain
                .strip_suffix(reserved)
                .is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
        })
}

/// Returns the taints that a pool's settings put on a node.
pub fn taints(settings: &NodeSettings) -> Vec<Taint> {
    let taint = |taint: &NodeTaint| Taint {
        key: taint.key.clone(),
        value: (!taint.value.is_empty()).then(|| taint.value.clone()),
        effect: format!("{:?}", taint.effect),
        time_added: None,
    };
    settings.taints.iter().map(taint).collect()
}

/// Returns the patch that gives a node its pool's settings in place. It removes what was applied before and is no
/// longer asked for, and keeps what others put on the node.
pub fn update(node: &Node, settings: &NodeSettings) -> serde_json::Value {
    let before = applied(node);
    let dropped = labels(&before).into_keys().map(|key| (key, json!(null)));
    let given = labels(settings).into_iter();
    let changed: serde_json::Map<_, _> = dropped
        .chain(given.map(|(key, value)| (key, json!(value))))
        .collect();
    let is_same = |a: &Taint, b: &Taint| a.key == b.key && a.effect == b.effect;
    let (gone, wanted) = (taints(&before), taints(settings));
    let current = node.spec.as_ref().and_then(|spec| spec.taints.clone());
    let mut kept = current.unwrap_or_default();
    kept.retain(|taint| {
        !gone.iter().any(|gone| is_same(gone, taint))
            && !wanted.iter().any(|wanted| is_same(wanted, taint))
    });
    kept.extend(wanted);
    json!({
        "metadata": {
            "resourceVersion": node.resource_version(),
            "labels": changed,
            "annotations": {APPLIED_SETTINGS: to_annotation(settings)},
        },
        "spec": {"taints": kept},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_label_of_a_pool_is_not_applied() {
        let labels_of_pool = [
            "kubernetes.io/hostname",
            "node-role.kubernetes.io/control-plane",
            "topology.k8s.io/zone",
            "belay.dev/cluster",
            "a.belay.dev/b",
            "kubernetes.io",
            "notkubernetes.io/a",
            "example.com/kubernetes.io",
        ];
        let settings = NodeSettings {
            labels: labels_of_pool
                .map(|key| (key.to_owned(), "x".to_owned()))
                .into(),
            ..NodeSettings::default()
        };
        let applied: Vec<_> = labels(&settings).into_keys().collect();
        let expected = [
            "example.com/kubernetes.io",
            "kubernetes.io",
            "node-role.kubernetes.io/user",
            "notkubernetes.io/a",
        ];
        assert_eq!(applied, expected);
    }
}
