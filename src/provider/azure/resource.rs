//! Clusters and node pools as Azure shows them: their paths, and what Belay reads of their JSON.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    api::{
        AgentPoolMode, AzureProviderSpec, KubernetesVersion, NodeTaint, ProviderSpec, TaintEffect,
    },
    lifecycle::NodeSettings,
    provider::adopted::labels::is_reserved,
};

/// Which cluster, or which node pool of it.
#[derive(Clone, Copy, Debug)]
pub struct Id<'a> {
    settings: &'a AzureProviderSpec,
    node_pool: Option<&'a str>,
}

impl<'a> Id<'a> {
    /// A cluster, or one of its node pools, by its name in Azure.
    pub fn new(settings: &'a AzureProviderSpec, node_pool: Option<&'a str>) -> Self {
        Self {
            settings,
            node_pool,
        }
    }
}

/// As a path of the Resource Manager.
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

/// The settings of a cluster on AKS.
pub fn settings(provider: &ProviderSpec) -> AzureProviderSpec {
    provider.azure.clone().unwrap_or_default()
}

/// What a cluster or a node pool is, and is to be: the `properties` of a resource, or an entry of `agentPoolProfiles`.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a>(pub &'a Value);

impl<'a> Properties<'a> {
    /// What is being done to it, or how that ended.
    pub fn state(self) -> &'a str {
        self.text("provisioningState").unwrap_or("Succeeded")
    }

    /// Whether something goes on.
    pub fn is_moving(self) -> bool {
        !matches!(self.state(), "Succeeded" | "Failed" | "Canceled")
    }

    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self.0["powerState"]["code"] != "Stopped"
    }

    /// What it runs.
    pub fn version(self) -> Option<KubernetesVersion> {
        let current = self
            .text("currentKubernetesVersion")
            .or(self.text("currentOrchestratorVersion"));
        current.map_or_else(|| self.wanted_version(), |current| current.parse().ok())
    }

    /// What it was asked to run. None where only a minor version was asked for.
    pub fn wanted_version(self) -> Option<KubernetesVersion> {
        let wanted = self.text("kubernetesVersion");
        wanted.or(self.text("orchestratorVersion"))?.parse().ok()
    }

    /// How many nodes a node pool has, or is to have; also one that is off.
    pub fn count(self) -> usize {
        let count = self.0["count"].as_u64().unwrap_or_default();
        usize::try_from(count).unwrap_or_default()
    }

    /// What of a node pool its nodes carry.
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

    /// Between how many nodes the cluster autoscaler scales a node pool, where it does.
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

/// A taint as AKS writes it: `key=value:effect`, or `key:effect`.
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

/// A taint in the words of AKS.
pub fn written(taint: &NodeTaint) -> String {
    let NodeTaint { key, value, effect } = taint;
    if value.is_empty() {
        format!("{key}:{effect:?}")
    } else {
        format!("{key}={value}:{effect:?}")
    }
}

/// The tag that changes with each write of a resource.
pub fn tag(resource: &Value) -> Option<&str> {
    let own = resource["eTag"].as_str();
    own.or_else(|| resource["properties"]["eTag"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taint_comes_back_as_aks_writes_it() {
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
