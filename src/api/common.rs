//! Types that more than one of the resources uses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The status of an object that Belay hasn't looked at yet. The API server gives it to each new object. Without it, a
/// tool that reads only conditions (kstatus, and through it Flux and Helm) would take an object without conditions for
/// done.
pub(super) fn unseen() -> serde_json::Value {
    serde_json::json!({"observedGeneration": -1})
}

/// Whether a cluster or a pool should run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PowerState {
    /// Its nodes exist.
    #[default]
    Running,
    /// It keeps its settings and has no nodes.
    Stopped,
}

/// The power state of a cluster or a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PowerStateStatus {
    /// Running or Stopped.
    pub code: PowerState,
}

/// The operation in progress on a cluster or a pool, or how the last operation on it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProvisioningState {
    /// It is being created.
    Creating,
    /// Its settings are being changed in place.
    Updating,
    /// Its Kubernetes version is going up.
    Upgrading,
    /// Its Kubernetes version is going down.
    RollingBack,
    /// Its number of nodes is changing.
    Scaling,
    /// Its nodes are being brought back.
    Starting,
    /// Its nodes are being removed.
    Stopping,
    /// It is being deleted.
    Deleting,
    /// Its operation was aborted and is stopping.
    Canceling,
    /// The last operation succeeded.
    Succeeded,
    /// The last operation failed: see `lastOperation`.
    Failed,
    /// The last operation was aborted: see `lastOperation`.
    Canceled,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OperationType {
    /// Creates a cluster or a pool.
    Create,
    /// Changes settings in place.
    Update,
    /// Raises the Kubernetes version.
    Upgrade,
    /// Lowers the Kubernetes version.
    Rollback,
    /// Changes the number of nodes.
    Scale,
    /// Brings the nodes back.
    Start,
    /// Removes the nodes and keeps the settings.
    Stop,
    /// Deletes a cluster or a pool.
    Delete,
    /// Brings the target to its spec after an operation that was canceled or failed.
    Reconcile,
}

impl OperationType {
    /// All types.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Update,
        Self::Upgrade,
        Self::Rollback,
        Self::Scale,
        Self::Start,
        Self::Stop,
        Self::Delete,
        Self::Reconcile,
    ];

    /// The provisioning state of a target while an operation of this type runs on it.
    pub fn provisioning_state(self) -> ProvisioningState {
        match self {
            Self::Create => ProvisioningState::Creating,
            Self::Update | Self::Reconcile => ProvisioningState::Updating,
            Self::Upgrade => ProvisioningState::Upgrading,
            Self::Rollback => ProvisioningState::RollingBack,
            Self::Scale => ProvisioningState::Scaling,
            Self::Start => ProvisioningState::Starting,
            Self::Stop => ProvisioningState::Stopping,
            Self::Delete => ProvisioningState::Deleting,
        }
    }

    /// The provisioning state of a target while an operation of this type on it is in `phase`.
    pub fn provisioning_state_in(self, phase: OperationPhase) -> ProvisioningState {
        match phase {
            OperationPhase::Pending | OperationPhase::InProgress => self.provisioning_state(),
            OperationPhase::Canceling => ProvisioningState::Canceling,
            OperationPhase::Succeeded => ProvisioningState::Succeeded,
            OperationPhase::Failed => ProvisioningState::Failed,
            OperationPhase::Canceled => ProvisioningState::Canceled,
        }
    }
}

/// The phase of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OperationPhase {
    /// It waits for its turn.
    #[default]
    Pending,
    /// It runs.
    InProgress,
    /// It was aborted and is stopping: no new step starts.
    Canceling,
    /// It ended as planned.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was aborted and has stopped.
    Canceled,
}

impl OperationPhase {
    /// All phases, in the order of an operation's life.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Canceling,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
    ];

    /// Whether an operation in this phase has ended. Such a phase never changes.
    pub fn is_finished(self) -> bool {
        self.successors().is_empty()
    }

    /// The phases that may come next, as `docs/states.md` shows them.
    pub fn successors(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::InProgress, Self::Failed, Self::Canceled],
            Self::InProgress => &[Self::Canceling, Self::Succeeded, Self::Failed],
            // Back to InProgress if the abort is refused, because a control plane has already begun to go back.
            Self::Canceling => &[
                Self::Canceled,
                Self::InProgress,
                Self::Succeeded,
                Self::Failed,
            ],
            Self::Succeeded | Self::Failed | Self::Canceled => &[],
        }
    }

    /// Whether an operation in this phase may go to phase `next`, or stay in its phase if `next` is the same.
    pub fn may_become(self, next: Self) -> bool {
        self == next || self.successors().contains(&next)
    }
}

/// The kinds of target that an operation can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A whole cluster, including its pools.
    ManagedCluster,
    /// One pool.
    AgentPool,
}

/// The target of an operation: a cluster or a pool in the operation's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct OperationTarget {
    /// ManagedCluster or AgentPool.
    pub kind: TargetKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An operation in flight, as its cluster's lock holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationInFlight {
    /// The Operation's name.
    pub name: String,
    /// The Operation's uid. The lock identifies the Operation by it, because a name can be used again.
    #[serde(default)]
    pub uid: String,
    /// What the operation does.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// The target of the operation.
    pub target: OperationTarget,
    /// The phase of the operation.
    pub phase: OperationPhase,
    /// The approximate progress of the operation, in percent. It is updated at each 10 percent. The Operation itself
    /// shows each percent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent_complete: i32,
    /// When the operation took the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// The generation of the target's spec that the operation applies.
    #[serde(default)]
    pub target_generation: i64,
}

/// The last operation that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// The Operation's name.
    pub name: String,
    /// The Operation's uid, because a name can be used again.
    #[serde(default)]
    pub uid: String,
    /// What the operation did.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// The target of the operation.
    pub target: OperationTarget,
    /// The phase in which the operation ended.
    pub phase: OperationPhase,
    /// When the operation took the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the operation ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// The generation of the target's spec that the operation was to apply.
    #[serde(default)]
    pub target_generation: i64,
    /// Why the operation was canceled or failed, in one line. This message outlives the Operation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl LastOperation {
    /// Whether the operation deleted its target.
    pub fn has_deleted(&self) -> bool {
        self.type_ == OperationType::Delete && self.phase == OperationPhase::Succeeded
    }
}

/// An Operation, by its name and its uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationReference {
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(default)]
    pub uid: String,
}

/// An aspect of a spec: a part that an operation can leave undone.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Aspect {
    /// The Kubernetes version.
    Version,
    /// The number of nodes.
    Count,
    /// The power state.
    Power,
    /// The nodes' labels and taints, and the mode.
    Settings,
    /// The deletion. Only an Operation ends the hold on it.
    Deletion,
}

/// What a spec asked for, for each aspect. A fingerprint changes when a value that it is made of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedFor {
    /// The Kubernetes version. For a pool that doesn't set one, its cluster's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// The number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
    /// Whether the target should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_state: Option<PowerState>,
    /// A fingerprint of the nodes' labels and taints, and of the mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// A fingerprint of the settings that say how the work is done: the provider's options and `upgradeSettings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}

impl AskedFor {
    /// Whether `other` asks for something else in an aspect. Always false for the deletion, because no value asks for
    /// it.
    pub fn differs(&self, other: &Self, aspect: Aspect) -> bool {
        match aspect {
            Aspect::Version => self.kubernetes_version != other.kubernetes_version,
            Aspect::Count => self.count != other.count,
            Aspect::Power => self.power_state != other.power_state,
            Aspect::Settings => self.settings != other.settings,
            Aspect::Deletion => false,
        }
    }
}

/// What a canceled or failed operation left undone. Belay doesn't resume it until the spec asks for something else, or
/// someone asks for it with an Operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The Operation that was canceled or failed.
    pub operation: OperationReference,
    /// The target of that Operation.
    pub target: OperationTarget,
    /// How it ended: Canceled or Failed.
    pub phase: OperationPhase,
    /// Why it ended in that phase, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when the hold exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The aspects that are on hold.
    pub aspects: Vec<Aspect>,
    /// Those of `aspects` that an earlier operation left undone, and that operation ended in the other phase: Canceled
    /// if `phase` is Failed, and Failed if `phase` is Canceled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_otherwise: Vec<Aspect>,
    /// Those of `aspects` that Belay paused because a maintenance window closed. Belay goes on with them when a window
    /// opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until_window: Vec<Aspect>,
    /// What the spec asked for when the hold began. The hold on an aspect ends when the spec asks for something else.
    #[serde(default)]
    pub asked_for: AskedFor,
}

impl Hold {
    /// Whether an aspect is on hold because of a failure, and not because of an abort.
    pub fn is_after_failure(&self, aspect: Aspect) -> bool {
        let failed = self.phase == OperationPhase::Failed;
        failed != self.ended_otherwise.contains(&aspect)
    }
}

/// How an abort treats the step in progress.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AbortPolicy {
    /// The step finishes.
    AfterStep,
    /// The step stops where it is.
    #[default]
    Now,
}

/// Conditions, one of each type.
pub type Conditions = Vec<Condition>;

/// How many nodes run a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionCount {
    /// The Kubernetes version.
    pub kubernetes_version: String,
    /// The number of nodes that run it.
    pub count: i32,
}
