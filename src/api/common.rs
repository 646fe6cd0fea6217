//! What more than one of the resources has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The status of what Belay has yet to look at: the API server gives it to a new object, so that who reads
/// conditions only (kstatus, and Flux and Helm by it) doesn't take one without any for done.
pub(super) fn unseen() -> serde_json::Value {
    serde_json::json!({"observedGeneration": -1})
}

/// Whether a cluster or a pool is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PowerState {
    /// Its nodes exist.
    #[default]
    Running,
    /// It keeps its settings and has no nodes.
    Stopped,
}

/// The power state that was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PowerStateStatus {
    /// Running or Stopped.
    pub code: PowerState,
}

/// What is being done to a cluster or a pool, or how the last operation on it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProvisioningState {
    /// It is being made.
    Creating,
    /// Its settings are being changed in place.
    Updating,
    /// Its Kubernetes version is going up.
    Upgrading,
    /// Its Kubernetes version is going down.
    RollingBack,
    /// Its number of nodes is changing.
    Scaling,
    /// Its nodes are coming back.
    Starting,
    /// Its nodes are going.
    Stopping,
    /// It is being deleted.
    Deleting,
    /// Its operation was aborted and is coming to a stop.
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
    /// Makes a cluster or a pool.
    Create,
    /// Changes settings in place.
    Update,
    /// Takes the Kubernetes version up.
    Upgrade,
    /// Takes the Kubernetes version down.
    Rollback,
    /// Changes the number of nodes.
    Scale,
    /// Brings the nodes back.
    Start,
    /// Takes the nodes away and keeps the settings.
    Stop,
    /// Deletes a cluster or a pool.
    Delete,
    /// Brings the target to its spec again, after an operation that was canceled or failed.
    Reconcile,
}

impl OperationType {
    /// All of them.
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

    /// The provisioning state that an operation of this type, in that phase, gives its target.
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

/// How far an operation, or a step of it, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OperationPhase {
    /// It waits for its turn.
    #[default]
    Pending,
    /// It runs.
    InProgress,
    /// It was aborted and is coming to a stop: no new step starts.
    Canceling,
    /// It ended as planned.
    Succeeded,
    /// It ended by an error.
    Failed,
    /// It was aborted and has stopped.
    Canceled,
}

impl OperationPhase {
    /// All of them, in the order of an operation's life.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Canceling,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
    ];

    /// Whether it is an end: such a phase never changes.
    pub fn is_finished(self) -> bool {
        self.successors().is_empty()
    }

    /// The phases that may come next. `docs/states.md` shows them.
    pub fn successors(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::InProgress, Self::Failed, Self::Canceled],
            Self::InProgress => &[Self::Canceling, Self::Succeeded, Self::Failed],
            // Back to InProgress where the abort is refused: a control plane that has begun to go back.
            Self::Canceling => &[
                Self::Canceled,
                Self::InProgress,
                Self::Succeeded,
                Self::Failed,
            ],
            Self::Succeeded | Self::Failed | Self::Canceled => &[],
        }
    }

    /// Whether an operation in this phase may be in that one next, or still.
    pub fn may_become(self, next: Self) -> bool {
        self == next || self.successors().contains(&next)
    }
}

/// The kinds that an operation can be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A whole cluster, its pools included.
    ManagedCluster,
    /// One pool.
    AgentPool,
}

/// The cluster or pool that an operation is on, in the operation's namespace.
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
    /// What it does.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// What it is on.
    pub target: OperationTarget,
    /// How far it is.
    pub phase: OperationPhase,
    /// How far it is, in percent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent_complete: i32,
    /// When it took the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// The generation of the target's spec that it brings about.
    #[serde(default)]
    pub target_generation: i64,
}

/// The operation that ended last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// The Operation's name.
    pub name: String,
    /// What it did.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// What it was on.
    pub target: OperationTarget,
    /// How it ended.
    pub phase: OperationPhase,
    /// When it took the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// The generation of the target's spec that it was to bring about: a target whose operation was
    /// canceled or failed is left alone until its spec has another.
    #[serde(default)]
    pub target_generation: i64,
    /// Why it was canceled or failed, in one line; it outlives the Operation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Conditions, one of a type.
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
