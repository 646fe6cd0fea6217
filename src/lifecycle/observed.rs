//! What a provider observes of a cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::KubernetesVersion;

use super::settings::NodeSettings;

/// What a provider observes of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// The control plane, where there is one.
    pub control_plane: Option<ControlPlaneView>,
    /// The nodes, by pool.
    pub nodes: BTreeMap<String, Vec<NodeView>>,
}

/// A control plane, as much of it as the core needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPlaneView {
    /// What it runs.
    pub version: KubernetesVersion,
    /// Whether it is on.
    pub running: bool,
    /// The version that it is changing to: such a change has begun, and is seen through.
    pub changing_to: Option<KubernetesVersion>,
}

/// A node, as much of it as the core needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub version: KubernetesVersion,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether no new pods come to it.
    pub cordoned: bool,
    /// Whether it was made and isn't part of its pool yet.
    pub joining: bool,
    /// Whether it is going.
    pub deleting: bool,
    /// The settings that it carries.
    pub settings: NodeSettings,
    /// The uid of the Operation that drains it.
    pub drained_by: Option<String>,
    /// The uid of the Operation that made it.
    pub made_by: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}
