//! [`Operation`]: one change to a cluster or a pool, from its request to its end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AbortPolicy, AskedFor, Force, OperationPhase, OperationReference, OperationTarget,
    OperationType,
};

/// A change to a ManagedCluster or an AgentPool. It shows its progress and what blocks it. While it runs, no
/// conflicting Operation can run.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "belay.dev",
    version = "v1alpha1",
    kind = "Operation",
    namespaced,
    shortname = "op",
    category = "belay",
    status = "OperationStatus",
    derive = "PartialEq",
    doc = "A change to a ManagedCluster or an AgentPool. It shows its progress and what blocks it. While it runs, no conflicting Operation can run. To abort it: kubectl annotate operation NAME belay.dev/abort=REASON",
    printcolumn(
        name = "Kind",
        type_ = "string",
        json_path = ".spec.target.kind",
        description = "The kind of the target",
        priority = 1
    ),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.target.name",
        description = "The name of the target"
    ),
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".spec.type",
        description = "The type of the operation"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "The phase of the operation"
    ),
    printcolumn(
        name = "Percent",
        type_ = "integer",
        json_path = ".status.percentComplete",
        description = "The progress in percent"
    ),
    printcolumn(
        name = "Blocked By",
        type_ = "string",
        json_path = ".status.blocked.reason",
        description = "What blocks the operation"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1,
        description = "The current state in one sentence"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    selectable = ".spec.target.name"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("an Operation's spec is immutable: abort the Operation, and create a new one"),
    validation = Rule::new("has(self.kubernetesVersion) == (self.type in ['Upgrade', 'Rollback'])").message("kubernetesVersion is required for types Upgrade and Rollback, and not allowed for other types").field_path(".kubernetesVersion"),
    validation = Rule::new("has(self.count) == (self.type == 'Scale')").message("count is required for type Scale, and not allowed for other types").field_path(".count"),
    validation = Rule::new("self.type != 'Scale' || self.target.kind == 'AgentPool'").message("only an AgentPool can be scaled").field_path(".target.kind"),
)]
pub struct OperationSpec {
    /// What the operation does.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// The target of the operation.
    pub target: OperationTarget,
    /// The version to change to, MAJOR.MINOR.PATCH. Only for Upgrade and Rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}[.][0-9]{1,5}[.][0-9]{1,5}$')").message("must be MAJOR.MINOR.PATCH, for example 1.36.3"))]
    pub kubernetes_version: Option<String>,
    /// The number of nodes to change to. Only for Scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub count: Option<i32>,
    /// How long the operation may be InProgress: 1m to 168h. After that Belay aborts it: after the step in progress, and at
    /// once if that step takes longer than another drain may. If absent, `spec.operationTimeout` of the cluster applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('168h')").message("must be a duration from 1m to 168h, for example 2h"))]
    pub timeout: Option<Duration>,
}

/// How far an operation is, what blocks it, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct OperationStatus {
    /// The phase of the operation.
    #[serde(default)]
    pub phase: OperationPhase,
    /// The progress in percent. It never goes down, and is 100 only if the operation succeeded.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent_complete: i32,
    /// When the operation's work began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the operation ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// The planned steps, in order, and how far each step is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub steps: Vec<Step>,
    /// What the operation is to achieve, as JSON, as it was planned when the operation began. If the spec changes
    /// later, the change is for the next operation. `version` in the JSON says how to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What blocks the operation now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// Why the operation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OperationError>,
    /// What happened to the request to abort the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// A fingerprint of the last abort request that Belay decided on, accepted or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_abort: Option<String>,
    /// Whether pods that PodDisruptionBudgets protect are deleted, by annotation `belay.dev/force-until`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force: Option<Force>,
    /// A fingerprint of the annotation `belay.dev/force-until` that Belay decided on last, accepted or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_force: Option<String>,
    /// The place of the Operation in the order of arrival: the resourceVersion that it had when Belay first saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival: Option<i64>,
    /// The generation of the target's spec when Belay first saw the Operation. A change of the spec after that is newer
    /// than the Operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_generation: Option<i64>,
    /// What the target's spec asked for when Belay first saw the Operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_before: Option<AskedFor>,
    /// Conditions: Succeeded; Finished, however the operation ended; Ready, Reconciling and Stalled as kstatus reads
    /// them; and Preflight, which is False if something was seen to be in the way when the operation began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// One step of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What the step works on: `control-plane`, `node/` with the node's name, or `agentpool/` with the pool's name. If
    /// there are too many nodes to show each, `agentpool/` stands for the remaining nodes of the pool.
    pub name: String,
    /// What the step does.
    pub action: StepAction,
    /// The phase of the step.
    pub phase: StepPhase,
    /// What is happening now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The number of nodes that the step works on, if it is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i32>,
    /// The number of these nodes that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes_done: Option<i32>,
    /// The progress in percent, if the provider's engine reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent_complete: Option<i32>,
    /// The engine's name for its work on this step, such as the id of an update. Belay stores it here before it asks
    /// the engine for progress, so that a restart doesn't lose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// When the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the step ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
}

/// What a step does to the control plane or to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepAction {
    /// It is created.
    Create,
    /// A replacement is created, and the old one is drained and deleted, in the order that `upgradeSettings` asks for.
    Replace,
    /// Its version changes in place.
    Upgrade,
    /// Its settings change in place.
    Update,
    /// It is turned on.
    Start,
    /// It is turned off.
    Stop,
    /// It is drained and deleted.
    Delete,
}

impl StepAction {
    /// All actions.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::Replace,
        Self::Upgrade,
        Self::Update,
        Self::Start,
        Self::Stop,
        Self::Delete,
    ];
}

/// The phase of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepPhase {
    /// It waits for its turn.
    #[default]
    Pending,
    /// It runs.
    InProgress,
    /// It ended as planned.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was stopped where it was.
    Canceled,
    /// It never ran.
    Skipped,
}

/// What blocks an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// The reason as one word, such as `PodDisruptionBudget`.
    pub reason: String,
    /// What exactly blocks the operation, by name.
    pub message: String,
    /// Since when the operation is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Why an operation failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationError {
    /// A code that scripts can check, such as `PodDrainFailure`.
    pub code: String,
    /// What went wrong, and what to do.
    pub message: String,
    /// A more specific code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subcode: String,
    /// Other errors that led to this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ErrorDetail>,
}

impl OperationError {
    /// Creates an error with a code and a message. The message says what went wrong and what to do.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }
}

/// One of the errors that led to an operation's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// A code that scripts can check.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// What the error is about, such as `node/NAME`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
}

/// What happened to a request to abort, in the form of `cancellation` in an update of EKS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// InProgress until the operation has stopped.
    pub status: CancellationStatus,
    /// The reason that was given. If the abort failed, the reason of the failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How the step in progress is treated, as it was requested when Belay accepted the request. A later request may
    /// make the abort more urgent.
    #[serde(default)]
    pub policy: AbortPolicy,
    /// Who requested the abort, as the API server saw it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// When the abort was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,
    /// When Belay wrote the phase `Canceling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Time>,
    /// The newer Operation on the same target that replaced this one while it waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<OperationReference>,
    /// What couldn't be restored when the work stopped, and why: for example, a node that stays cordoned because a
    /// policy refuses Belay's write. Belay keeps trying, although the operation has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<ErrorDetail>,
}

/// The progress of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CancellationStatus {
    /// The operation is stopping.
    InProgress,
    /// The operation has stopped.
    Successful,
    /// The operation ended in another way, or its provider refused to stop it.
    Failed,
}
