//! Clusters and node pools as Azure shows them: their paths, and the fields of their JSON that Belay reads.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    api::{
        AgentPoolMode, AzureProviderSpec, KubernetesVersion, NodeTaint, ProviderSpec, TaintEffect,
    },
    lifecycle::NodeSettings,
    provider::adopted::labels::is_reserved,
};

/// Identifies a cluster, or one of its node pools.
#[derive(Clone, Copy, Debug)]
pub struct Id<'a> {
    settings: &'a AzureProviderSpec,
    node_pool: Option<&'a str>,
}

impl<'a> Id<'a> {
    /// Returns the id of a cluster, or of one of its node pools, by its name in Azure.
    pub fn new(settings: &'a AzureProviderSpec, node_pool: Option<&'a str>) -> Self {
        Self {
            settings,
            node_pool,
        }
    }
}

/// Writes the id as a path of the Resource Manager.
impl fmt::Display for Id<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            settings,
            node_pool,
        } = self;
        write!(
            formatter,
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.ContainerService/managedClusters/{}",
            settings.subscription_id, settings.resource_group, settings.name
        )?;
        match node_pool {
            Some(node_pool) => write!(formatter, "/agentPools/{node_pool}"),
            None => Ok(()),
        }
    }
}

/// Returns the settings of a cluster on AKS.
pub fn settings(provider: &ProviderSpec) -> AzureProviderSpec {
    provider.azure.clone().unwrap_or_default()
}

/// The observed and desired state of a cluster or a node pool: the `properties` of a resource, or an entry of
/// `agentPoolProfiles`.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a>(pub &'a Value);

impl<'a> Properties<'a> {
    /// Returns what is being done to it, or how that ended.
    pub fn state(self) -> &'a str {
        self.text("provisioningState").unwrap_or("Succeeded")
    }

    /// Returns whether an operation is running.
    pub fn is_moving(self) -> bool {
        !matches!(self.state(), "Succeeded" | "Failed" | "Canceled")
    }

    /// Returns whether it is on.
    pub fn is_on(self) -> bool {
        self.0["powerState"]["code"] != "Stopped"
    }

    /// Returns the version that it runs.
    pub fn version(self) -> Option<KubernetesVersion> {
        let current = self
            .text("currentKubernetesVersion")
            .or(self.text("currentOrchestratorVersion"));
        current.map_or_else(|| self.wanted_version(), |current| current.parse().ok())
    }

    /// Returns the version that it was asked to run. None if only a minor version was asked for.
    pub fn wanted_version(self) -> Option<KubernetesVersion> {
        let wanted = self.text("kubernetesVersion");
        wanted.or(self.text("orchestratorVersion"))?.parse().ok()
    }

    /// Returns how many nodes a node pool has or should have. A node pool that is off keeps its count.
    pub fn count(self) -> usize {
        let count = self.0["count"].as_u64().unwrap_or_default();
        usize::try_from(count).unwrap_or_default()
    }

    /// Returns the settings of a node pool that its nodes carry.
    pub fn node_settings(self) -> NodeSettings {
        let labels = self.0["nodeLabels"].as_object().into_iter().flatten();
        let labels = labels.filter(|(key, _)| !is_reserved(key));
        let labels: BTreeMap<_, _> = labels
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        let taints = self.0["nodeTaints"].as_array().into_iter().flatten();
        NodeSettings {
            mode: if self.0["mode"] == "System" {
                AgentPoolMode::System
            } else {
                AgentPoolMode::User
            },
            labels,
            taints: taints
                .filter_map(|taint| taint_of(taint.as_str()?))
                .collect(),
        }
    }

    /// Returns the minimum and maximum of the cluster autoscaler. None if it doesn't scale the node pool.
    pub fn autoscaled(self) -> Option<(u64, u64)> {
        (self.0["enableAutoScaling"] == true).then(|| {
            let bound = |of: &str| self.0[of].as_u64().unwrap_or_default();
            (bound("minCount"), bound("maxCount"))
        })
    }

    fn text(self, field: &str) -> Option<&'a str> {
        self.0[field].as_str()
    }
}

/// Returns the taint in a text as AKS writes it: `key=value:effect`, or `key:effect`. None for another text.
pub fn taint_of(text: &str) -> Option<NodeTaint> {
    let (what, effect) = text.rsplit_once(':')?;
    let (key, value) = what.split_once('=').unwrap_or((what, ""));
    Some(NodeTaint {
        key: key.to_owned(),
        value: value.to_owned(),
        effect: match effect {
            "NoSchedule" => TaintEffect::NoSchedule,
            "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => return None,
        },
    })
}

/// Returns a taint as AKS writes it.
pub fn written(taint: &NodeTaint) -> String {
    let NodeTaint { key, value, effect } = taint;
    if value.is_empty() {
        format!("{key}:{effect:?}")
    } else {
        format!("{key}={value}:{effect:?}")
    }
}

/// Returns the tag of a resource, which changes with each write.
pub fn tag(resource: &Value) -> Option<&str> {
    let own = resource["eTag"].as_str();
    own.or_else(|| resource["properties"]["eTag"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taint_survives_parsing_and_writing() {
        for text in [
            "team=gold:NoSchedule",
            "example.com/only:PreferNoSchedule",
            "a=b:NoExecute",
        ] {
            let taint = taint_of(text).expect("a taint");
            assert_eq!(written(&taint), text);
        }
        assert_eq!(taint_of("a=b:Sometimes"), None);
    }
}
