//! The settings of a pool that each of its nodes carries and that an Update changes in place, without replacing
//! nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::{AgentPool, AgentPoolMode, NodeTaint};

/// The settings of a pool that its nodes carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSettings {
    /// The purpose of the pool.
    pub mode: AgentPoolMode,
    /// The nodes' labels.
    pub labels: BTreeMap<String, String>,
    /// The nodes' taints.
    pub taints: Vec<NodeTaint>,
}

impl NodeSettings {
    /// Returns the settings that a pool's spec asks for.
    pub fn of(pool: &AgentPool) -> Self {
        let spec = &pool.spec;
        let labels = spec
            .node_labels
            .iter()
            .map(|(key, value)| (key.clone(), value.0.clone()));
        Self {
            mode: spec.mode,
            labels: labels.collect(),
            taints: spec.node_taints.clone(),
        }
    }
}
