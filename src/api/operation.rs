//! [`Operation`]: one change to a cluster or a pool, from its request to its end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AbortPolicy, AskedFor, OperationPhase, OperationReference, OperationTarget, OperationType,
};

/// One change to a cluster or a pool: seen, exclusive, abortable.
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
    doc = "One change to a cluster or a pool: seen, exclusive, abortable. To abort: kubectl annotate operation NAME belay.dev/abort=REASON",
    printcolumn(
        name = "Kind",
        type_ = "string",
        json_path = ".spec.target.kind",
        description = "What kind of thing it is on",
        priority = 1
    ),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".spec.target.name",
        description = "What it is on"
    ),
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".spec.type",
        description = "What it does"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "How far it is"
    ),
    printcolumn(
        name = "Percent",
        type_ = "integer",
        json_path = ".status.percentComplete",
        description = "How far it is, in percent"
    ),
    printcolumn(
        name = "Blocked By",
        type_ = "string",
        json_path = ".status.blocked.reason",
        description = "What stands in its way"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1,
        description = "What is going on"
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
    validation = Rule::new("self == oldSelf").message("an Operation's spec is immutable: abort it, and create another"),
    validation = Rule::new("has(self.kubernetesVersion) == (self.type in ['Upgrade', 'Rollback'])").message("kubernetesVersion is for type Upgrade and Rollback, and needed there").field_path(".kubernetesVersion"),
    validation = Rule::new("has(self.count) == (self.type == 'Scale')").message("count is for type Scale, and needed there").field_path(".count"),
    validation = Rule::new("self.type != 'Scale' || self.target.kind == 'AgentPool'").message("only an AgentPool can be scaled").field_path(".target.kind"),
)]
pub struct OperationSpec {
    /// What is to be done.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// What it is to be done to.
    pub target: OperationTarget,
    /// The version to go to, MAJOR.MINOR.PATCH, for Upgrade and Rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}[.][0-9]{1,5}[.][0-9]{1,5}$')").message("must be MAJOR.MINOR.PATCH, for example 1.36.3"))]
    pub kubernetes_version: Option<String>,
    /// The number of nodes to go to, for Scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub count: Option<i32>,
}

/// How far an operation is, what is in its way, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct OperationStatus {
    /// How far it is.
    #[serde(default)]
    pub phase: OperationPhase,
    /// How far it is, in percent: never goes down, and is 100 only when it succeeded.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent_complete: i32,
    /// When its work began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// What was planned, in order, and how far each is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub steps: Vec<Step>,
    /// What it is to bring about, as JSON, as it was planned when it began: a change of the spec meanwhile
    /// is for the next operation. `version` in it says how to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What stands in its way now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<OperationError>,
    /// What became of the request to abort it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// A fingerprint of the abort request that was decided on last, accepted or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_abort: Option<String>,
    /// Its place in the order in which Operations arrived: the resourceVersion that it had when Belay first
    /// saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival: Option<i64>,
    /// The generation of its target's spec when Belay first saw it: a change of the spec after that is newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_generation: Option<i64>,
    /// What its target's spec asked for when Belay first saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_before: Option<AskedFor>,
    /// Succeeded; Finished at any end; and Ready, Reconciling and Stalled as kstatus reads them.
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
    /// What it is about: `control-plane`, `node/` with the node's name, or, where there are too many
    /// nodes to show each, `agentpool/` with the pool's name for the rest of them.
    pub name: String,
    /// What is done to it.
    pub action: StepAction,
    /// How far it is.
    pub phase: StepPhase,
    /// What is going on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How many nodes it is about, where it is about more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i32>,
    /// How many of them are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes_done: Option<i32>,
    /// How far it is in percent, where the provider's engine says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent_complete: Option<i32>,
    /// What the provider's engine calls its work on this step, such as the id of an update. Belay keeps it
    /// here before it asks the engine how far that is, so that a restart doesn't lose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
}

/// What a step does to what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepAction {
    /// It is made.
    Create,
    /// Another takes its place: made, drained, deleted, in the order that `upgradeSettings` asks for.
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
    /// All of them.
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

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepPhase {
    /// It waits for its turn.
    #[default]
    Pending,
    /// It runs.
    InProgress,
    /// It ended as planned.
    Succeeded,
    /// It ended by an error.
    Failed,
    /// It was stopped where it stood.
    Canceled,
    /// It never ran.
    Skipped,
}

/// What stands in an operation's way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// A word for it, such as `PodDisruptionBudget`.
    pub reason: String,
    /// What exactly it is, by name.
    pub message: String,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Why an operation failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationError {
    /// A word to script against, such as `PodDrainFailure`.
    pub code: String,
    /// What went wrong, and what to do.
    pub message: String,
    /// A narrower word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subcode: String,
    /// More errors that led to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ErrorDetail>,
}

impl OperationError {
    /// An error of that code, which says what went wrong and what to do.
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
    /// A word to script against.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// What it is about, such as `node/NAME`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
}

/// What became of a request to abort, as EKS shows it in an update's `cancellation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// InProgress until the operation has stopped.
    pub status: CancellationStatus,
    /// The reason that was given; where it failed, why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How the step in process is treated, as it was when the request was accepted. A later request may
    /// hurry it.
    #[serde(default)]
    pub policy: AbortPolicy,
    /// Who asked, as the API server saw it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,
    /// When `Canceling` was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Time>,
    /// The newer Operation on the same target that took its place while it waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<OperationReference>,
    /// What couldn't be left as it was when the work stopped, and why: such as a node that stays cordoned,
    /// since a policy refuses Belay's write. Belay goes on trying; the operation has ended all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<ErrorDetail>,
}

/// How far a cancellation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CancellationStatus {
    /// The operation is coming to a stop.
    InProgress,
    /// The operation has stopped.
    Successful,
    /// The operation ended otherwise, or its provider refused.
    Failed,
}
