//! Control planes and nodegroups, with the fields that Belay reads.

use std::collections::BTreeMap;

use aws_sdk_eks::types;

use crate::{
    api::{
        AgentPoolMode, AwsProviderSpec, KubernetesVersion, NodeTaint, ProviderSpec, TaintEffect,
    },
    lifecycle::NodeSettings,
    provider::adopted::labels::is_reserved,
};

/// The label of a nodegroup whose pool is a System pool. EKS has no modes.
pub const MODE: &str = "belay.dev/mode";
/// The label of a nodegroup without nodes that keeps the minimum size that it had before.
pub const LEAST: &str = "belay.dev/min-size";
/// The tag of a nodegroup that the cluster autoscaler scales.
/// Source: the cluster autoscaler's documentation for AWS, "Auto-Discovery Setup".
const AUTOSCALED: &str = "k8s.io/cluster-autoscaler/enabled";

/// Returns the settings of a cluster on EKS.
pub fn settings(provider: &ProviderSpec) -> AwsProviderSpec {
    provider.aws.clone().unwrap_or_default()
}

/// Returns the version in a text as EKS writes it, such as `1.34`.
pub fn version_of(text: &str) -> Option<KubernetesVersion> {
    format!("{text}.0").parse().ok()
}

/// Returns a version as EKS writes it.
pub fn written(version: KubernetesVersion) -> String {
    format!("{}.{}", version.major, version.minor)
}

/// What a resource is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    /// Nothing.
    #[default]
    Rests,
    /// It is being changed.
    Updates,
    /// It is being deleted.
    Goes,
    /// It is being created.
    Comes,
}

/// A control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// The version that it runs.
    pub version: Option<KubernetesVersion>,
    /// What it is doing.
    pub doing: Doing,
}

impl From<&types::Cluster> for ControlPlane {
    fn from(cluster: &types::Cluster) -> Self {
        use types::ClusterStatus::{Creating, Deleting, Pending, Updating};
        Self {
            version: cluster.version().and_then(version_of),
            doing: match cluster.status() {
                Some(Updating) => Doing::Updates,
                Some(Deleting) => Doing::Goes,
                Some(Creating | Pending) => Doing::Comes,
                _ => Doing::Rests,
            },
        }
    }
}

/// How many nodes a nodegroup has: the minimum, the maximum, and the desired number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub least: i32,
    pub most: i32,
    pub desired: i32,
}

/// How many nodes EKS replaces at the same time, and whether it creates new ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many nodes.
    pub at_once: Share,
    /// Whether it removes nodes before it creates others.
    pub is_minimal: bool,
}

impl Default for Pace {
    /// Returns what EKS uses if nothing is set.
    fn default() -> Self {
        Self {
            at_once: Share::Nodes(1),
            is_minimal: false,
        }
    }
}

/// A number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// This many nodes.
    Nodes(i32),
    /// This percentage of the nodes.
    Percent(i32),
}

impl Share {
    /// Returns how many nodes of `all` that is, rounded up, at least one.
    pub fn of(self, all: i32) -> i32 {
        match self {
            Self::Nodes(nodes) => nodes,
            Self::Percent(percent) => (all * percent + 99) / 100,
        }
        .max(1)
    }
}

/// A nodegroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodegroup {
    pub name: String,
    /// The version that its nodes run.
    pub version: Option<KubernetesVersion>,
    pub doing: Doing,
    pub sizes: Sizes,
    /// All its labels, also those that don't come from an `AgentPool`.
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<NodeTaint>,
    pub pace: Pace,
    pub is_spot: bool,
    pub instance_type: Option<String>,
    pub is_autoscaled: bool,
    /// Whether EKS reports that it doesn't work.
    pub is_degraded: bool,
}

impl Nodegroup {
    /// Returns the settings of an `AgentPool` that its nodes carry.
    pub fn settings(&self) -> NodeSettings {
        let is_system = self.labels.get(MODE).is_some_and(|mode| mode == "System");
        let own = self.labels.iter().filter(|(key, _)| !is_reserved(key));
        NodeSettings {
            mode: if is_system {
                AgentPoolMode::System
            } else {
                AgentPoolMode::User
            },
            labels: own
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            taints: self.taints.clone(),
        }
    }

    /// Returns the minimum size that it had before it had no nodes.
    pub fn kept_least(&self) -> Option<i32> {
        self.labels.get(LEAST)?.parse().ok()
    }
}

impl From<&types::Nodegroup> for Nodegroup {
    fn from(group: &types::Nodegroup) -> Self {
        use types::NodegroupStatus::{
            CreateFailed, Creating, Degraded, DeleteFailed, Deleting, Updating,
        };
        let sizes = group.scaling_config();
        let size = |size: Option<i32>| size.unwrap_or_default();
        let labels = group.labels().into_iter().flatten();
        let tags = group.tags();
        Self {
            name: group.nodegroup_name().unwrap_or_default().to_owned(),
            version: group.version().and_then(version_of),
            doing: match group.status() {
                Some(Updating) => Doing::Updates,
                Some(Deleting) => Doing::Goes,
                Some(Creating) => Doing::Comes,
                _ => Doing::Rests,
            },
            sizes: Sizes {
                least: size(sizes.and_then(types::NodegroupScalingConfig::min_size)),
                most: size(sizes.and_then(types::NodegroupScalingConfig::max_size)),
                desired: size(sizes.and_then(types::NodegroupScalingConfig::desired_size)),
            },
            labels: labels
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            taints: group.taints().iter().filter_map(taint_of).collect(),
            pace: group.update_config().map(pace_of).unwrap_or_default(),
            is_spot: group.capacity_type() == Some(&types::CapacityTypes::Spot),
            instance_type: group.instance_types().first().cloned(),
            is_autoscaled: tags
                .is_some_and(|tags| tags.get(AUTOSCALED).is_some_and(|is| is == "true")),
            is_degraded: matches!(group.status(), Some(Degraded | CreateFailed | DeleteFailed)),
        }
    }
}

fn pace_of(config: &types::NodegroupUpdateConfig) -> Pace {
    let percent = config.max_unavailable_percentage().map(Share::Percent);
    let nodes = config.max_unavailable().map(Share::Nodes);
    Pace {
        at_once: percent.or(nodes).unwrap_or(Share::Nodes(1)),
        is_minimal: config.update_strategy() == Some(&types::NodegroupUpdateStrategies::Minimal),
    }
}

fn taint_of(taint: &types::Taint) -> Option<NodeTaint> {
    Some(NodeTaint {
        key: taint.key()?.to_owned(),
        value: taint.value().unwrap_or_default().to_owned(),
        effect: match taint.effect()? {
            types::TaintEffect::NoSchedule => TaintEffect::NoSchedule,
            types::TaintEffect::PreferNoSchedule => TaintEffect::PreferNoSchedule,
            types::TaintEffect::NoExecute => TaintEffect::NoExecute,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eks_versions_have_no_patch_number() {
        let version = version_of("1.34").expect("a version");
        assert_eq!(version.to_string(), "1.34.0");
        assert_eq!(written(version), "1.34");
        assert_eq!(version_of("1"), None);
    }

    #[test]
    fn a_share_of_a_nodegroup_is_at_least_one_node() {
        for (share, all, nodes) in [
            (Share::Nodes(2), 5, 2),
            (Share::Percent(33), 3, 1),
            (Share::Percent(50), 5, 3),
            (Share::Percent(10), 0, 1),
        ] {
            assert_eq!(share.of(all), nodes, "{share:?} of {all}");
        }
    }

    #[test]
    fn missing_fields_of_eks_have_their_defaults() {
        let group = Nodegroup::from(&types::Nodegroup::builder().nodegroup_name("np1").build());
        let name = "np1".to_owned();
        assert_eq!(
            group,
            Nodegroup {
                name,
                ..Nodegroup::default()
            }
        );
        assert_eq!(
            group.settings(),
            NodeSettings {
                mode: AgentPoolMode::User,
                ..NodeSettings::default()
            }
        );
    }
}
