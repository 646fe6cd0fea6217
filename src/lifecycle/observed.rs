//! What a provider observes of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::{KubernetesVersion, OperationSpec};

use super::{settings::NodeSettings, text::bounded};

/// What a provider observes of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// The control plane, where there is one.
    pub control_plane: Option<ControlPlaneView>,
    /// The nodes, by pool.
    pub nodes: BTreeMap<String, Vec<NodeView>>,
    /// How many nodes an engine that orders them itself keeps in a pool. That there are more or fewer of them for a
    /// while is its own affair.
    pub kept: BTreeMap<String, usize>,
    /// The pools that something else than Belay scales at the engine, such as an autoscaler, each with what does so,
    /// as in "the cluster autoscaler, by annotations of `MachineDeployment` md-0". The count in such a pool's spec counts
    /// only when the pool is started.
    pub scaled_by_others: BTreeMap<String, String>,
    /// The pools that the engine shows as off. Of others without nodes, Belay's own operations say it.
    pub off: BTreeSet<String>,
    /// Whether the engine gave up in the middle of a change of the control plane, whatever that seems to be. Who asks for it
    /// by a Reconcile has it brought to its end.
    pub is_unsettled: bool,
    /// Why the cluster can't be seen now. The other fields then show what was seen last, or nothing.
    pub trouble: Option<Trouble>,
    /// What others began at the engine and hasn't ended: by its console, by a tool of its own.
    pub begun_by_others: Vec<BegunByOthers>,
    /// The Operations, by uid, in whose work something other than a node is, such as the control plane.
    pub in_work_of: BTreeSet<String>,
}

/// Why a cluster can't be seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In one word, such as `Unreachable`.
    pub reason: String,
    /// In the engine's words.
    pub message: String,
    /// When the cluster was seen last; none where it never was since the operator started.
    pub seen_at: Option<Timestamp>,
}

impl Trouble {
    /// The trouble in one sentence.
    pub fn sentence(&self) -> String {
        let words = bounded(&self.message);
        match self.seen_at {
            Some(seen_at) => {
                format!(
                    "the provider can't show the cluster, what is shown is of {seen_at}: {words}"
                )
            }
            None => format!("the provider can't show the cluster: {words}"),
        }
    }
}

/// What somebody began at the engine, outside Belay.
#[derive(Clone, Debug, PartialEq)]
pub struct BegunByOthers {
    /// What the engine calls it.
    pub handle: String,
    /// What it does, to what.
    pub spec: OperationSpec,
    /// By whom, as far as that is known.
    pub by: String,
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
