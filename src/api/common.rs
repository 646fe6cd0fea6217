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
    /// The Operation's uid, by which the lock knows it: a name can be used again.
    #[serde(default)]
    pub uid: String,
    /// What it does.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// What it is on.
    pub target: OperationTarget,
    /// How far it is.
    pub phase: OperationPhase,
    /// About how far it is, in percent: it is written again with each tenth. The Operation itself shows each
    /// percent.
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
    /// The Operation's uid: a name can be used again.
    #[serde(default)]
    pub uid: String,
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
    /// The generation of the target's spec that it was to bring about.
    #[serde(default)]
    pub target_generation: i64,
    /// Why it was canceled or failed, in one line; it outlives the Operation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl LastOperation {
    /// Whether its target has nothing any more.
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

/// What a spec asks for, divided by what an operation can leave undone.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Aspect {
    /// The Kubernetes version.
    Version,
    /// The number of nodes.
    Count,
    /// Whether it runs.
    Power,
    /// The nodes' labels and taints, and the mode.
    Settings,
    /// That it is deleted. Only an Operation ends the hold on this.
    Deletion,
}

/// What a spec asked for, aspect by aspect. A fingerprint differs where what it is made of differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedFor {
    /// The Kubernetes version; of a pool that names none, its cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// The number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
    /// Whether it is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_state: Option<PowerState>,
    /// A fingerprint of the nodes' labels and taints, and of the mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// A fingerprint of how the work is done: the provider's options and `upgradeSettings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}

impl AskedFor {
    /// Whether something else is asked for of an aspect. A deletion isn't asked for by a value.
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

/// What a canceled or failed operation left undone. Belay leaves it alone until the spec asks for something
/// else, or someone asks with an Operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The Operation that was canceled or failed.
    pub operation: OperationReference,
    /// What that Operation was on.
    pub target: OperationTarget,
    /// How it ended: Canceled or Failed.
    pub phase: OperationPhase,
    /// Why it ended so, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What is left alone.
    pub aspects: Vec<Aspect>,
    /// Of these, what an earlier operation left undone, which was Canceled where `phase` is Failed, or Failed where
    /// it is Canceled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_otherwise: Vec<Aspect>,
    /// What was asked for then: the hold of an aspect ends when the spec asks for something else.
    #[serde(default)]
    pub asked_for: AskedFor,
}

impl Hold {
    /// Whether an aspect is left alone after a failure, and not after an abort.
    pub fn is_after_failure(&self, aspect: Aspect) -> bool {
        let failed = self.phase == OperationPhase::Failed;
        failed != self.ended_otherwise.contains(&aspect)
    }
}

/// How an abort treats the step in process.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AbortPolicy {
    /// It is finished.
    AfterStep,
    /// It stops where it stands.
    #[default]
    Now,
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
