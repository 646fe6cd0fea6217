//! What a provider observes of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{KubernetesVersion, OperationSpec};

use super::{settings::NodeSettings, text::bounded};

/// What a provider observes of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// The control plane. None if there is none.
    pub control_plane: Option<ControlPlaneView>,
    /// The nodes, by pool.
    pub nodes: BTreeMap<String, Vec<NodeView>>,
    /// The number of nodes that an engine keeps in each pool, if the engine creates nodes itself. The actual number
    /// may differ for a while; that is the engine's business.
    pub kept: BTreeMap<String, usize>,
    /// The pools that something other than Belay scales at the engine, such as an autoscaler, each with a description
    /// of what does so, as in "the cluster autoscaler, by annotations of `MachineDeployment` md-0". The count in such
    /// a pool's spec counts only when the pool is started.
    pub scaled_by_others: BTreeMap<String, String>,
    /// The pools that the engine shows as off. For other pools without nodes, Belay's own operations determine this.
    pub off: BTreeSet<String>,
    /// Whether the engine gave up in the middle of a change of the control plane, whatever the control plane looks
    /// like. A Reconcile completes that change.
    pub is_unsettled: bool,
    /// Why the cluster can't be seen now. The other fields then show the last observation, or nothing.
    pub trouble: Option<Trouble>,
    /// What others began at the engine and that hasn't ended: in its console, or with one of its tools.
    pub begun_by_others: Vec<BegunByOthers>,
    /// The Operations, by uid, whose work includes something other than a node, such as the control plane.
    pub in_work_of: BTreeSet<String>,
}

/// Why a cluster can't be seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason in one word, such as `Unreachable`.
    pub reason: String,
    /// The message in the engine's words.
    pub message: String,
    /// When the cluster was last seen. None if it wasn't seen since the operator started.
    pub seen_at: Option<Timestamp>,
}

impl Trouble {
    /// Returns the trouble in one sentence.
    pub fn sentence(&self) -> String {
        let words = bounded(&self.message);
        match self.seen_at {
            Some(seen_at) => {
                format!(
                    "the provider can't read the cluster; the status shows its state at {seen_at}: {words}"
                )
            }
            None => format!("the provider can't read the cluster: {words}"),
        }
    }
}

/// What somebody began at the engine, outside Belay.
#[derive(Clone, Debug, PartialEq)]
pub struct BegunByOthers {
    /// The engine's name for it.
    pub handle: String,
    /// What it does, and to which target.
    pub spec: OperationSpec,
    /// Who began it, if known.
    pub by: String,
}

/// A control plane, as far as the core needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPlaneView {
    /// Its version.
    pub version: KubernetesVersion,
    /// Whether it is on.
    pub running: bool,
    /// The version that it is changing to. Such a change has begun and runs to its end.
    pub changing_to: Option<KubernetesVersion>,
}

/// A node, as far as the core needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: KubernetesVersion,
    /// Whether it is Ready.
    pub ready: bool,
    /// Since when it has been Ready, if that is known.
    pub ready_since: Option<Timestamp>,
    /// Whether it is cordoned: no new pods are scheduled on it.
    pub cordoned: bool,
    /// Whether it was created but hasn't joined its pool yet.
    pub joining: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The settings that it has.
    pub settings: NodeSettings,
    /// The uid of the Operation that drains it.
    pub drained_by: Option<String>,
    /// The uid of the Operation that created it.
    pub made_by: Option<String>,
    /// The last drain that failed, if its Operation went on without the node.
    pub undrainable: Option<Undrainable>,
    /// Whether it stays cordoned because it couldn't be drained. It doesn't count as a node of its pool.
    pub quarantined: bool,
    /// When it was created.
    pub created: Timestamp,
}

/// A drain that failed, as it is written on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undrainable {
    /// The uid of the Operation that drained the node.
    pub operation: String,
    /// What the drain was blocked by, in one word.
    pub reason: String,
    /// What the drain was blocked by.
    pub message: String,
    /// When the Operation gave up.
    pub since: Timestamp,
}

impl NodeView {
    /// Whether it stays in its pool and counts as one of its nodes.
    pub fn stays(&self) -> bool {
        !self.deleting && !self.quarantined
    }

    /// Whether the Operation of that uid gave up draining the node.
    pub fn was_given_up_by(&self, uid: &str) -> bool {
        let undrainable = self.undrainable.as_ref();
        undrainable.is_some_and(|undrainable| undrainable.operation == uid)
    }
}
