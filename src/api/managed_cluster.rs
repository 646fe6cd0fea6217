//! [`ManagedCluster`]: a cluster, its provider, and the lock of its operations.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AgentPoolMode, AwsProviderSpec, AzureProviderSpec, ClusterApiProviderSpec, Hold, LastOperation,
    MaintenanceWindow, OperationInFlight, PowerState, PowerStateStatus, ProvisioningState,
};

/// A Kubernetes cluster that Belay manages. Each change to it is an Operation, which shows its progress and can be
/// aborted. Conflicting Operations don't run at the same time.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "belay.dev",
    version = "v1alpha1",
    kind = "ManagedCluster",
    namespaced,
    shortname = "mc",
    category = "belay",
    status = "ManagedClusterStatus",
    derive = "PartialEq",
    doc = "A Kubernetes cluster that Belay manages. Each change to it is an Operation, which shows its progress and can be aborted. Conflicting Operations don't run at the same time.",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.kubernetesVersion", description = "The Kubernetes version of the control plane"),
    printcolumn(name = "Power", type_ = "string", json_path = ".status.powerState.code", description = "Running or Stopped"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.provisioningState", description = "The operation in progress, or how the last operation ended"),
    printcolumn(name = "Operations", type_ = "string", json_path = ".status.operations[*].name", description = "The operations in flight on the cluster and its pools"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the actual state matches the spec"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1, description = "Why it is Ready or not"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.provider.aws) || self.spec.kubernetesVersion.endsWith('.0')").message("EKS chooses the patch version itself: write 0 for it, for example 1.34.0").field_path(".spec.kubernetesVersion"),
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name can have at most 63 characters, because it becomes a label of the nodes"),
)]
#[serde(rename_all = "camelCase")]
pub struct ManagedClusterSpec {
    /// The version of the control plane, MAJOR.MINOR.PATCH. Pools that don't set a version follow it.
    #[schemars(length(min = 5, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}[.][0-9]{1,5}[.][0-9]{1,5}$')").message("must be MAJOR.MINOR.PATCH, for example 1.36.3"))]
    pub kubernetes_version: String,

    /// Whether the cluster should run.
    #[serde(default)]
    pub power_state: PowerState,

    /// What happens to a new change while an operation is in flight.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,

    /// How long an operation on the cluster or on one of its pools may be InProgress: 1m to 168h. After that Belay aborts it:
    /// after the step in progress, and at once if that step takes longer than another drain may. If absent, there is no
    /// limit. `spec.timeout` of an Operation takes precedence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('168h')").message("must be a duration from 1m to 168h, for example 2h"))]
    pub operation_timeout: Option<Duration>,

    /// When changes of a version that the spec of the cluster or of one of its pools asks for may begin. Outside these
    /// windows such a change waits. All other changes, and Operations that people create, begin at once. If absent, all
    /// changes begin at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 14))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub maintenance_windows: Vec<MaintenanceWindow>,

    /// How many finished Operations are kept for this cluster, and for each of its pools. Operations that never ran are
    /// counted separately.
    #[serde(default = "default_operation_history_limit")]
    #[schemars(range(min = 0, max = 50))]
    pub operation_history_limit: i32,

    /// Where the nodes come from. Exactly one member is set, and which one it is can't change.
    pub provider: ProviderSpec,
}

fn default_operation_history_limit() -> i32 {
    50
}

/// What happens to a new change while an operation is in flight. The names of the values are those of `CronJob`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// The new change is refused.
    #[default]
    Forbid,
    /// The new change waits until the operation in flight ends.
    Queue,
    /// The operation in flight is aborted, then the new change runs.
    Replace,
}

/// Where the nodes of a cluster come from. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.kwok), has(self.clusterAPI), has(self.azure), has(self.aws)].exists_one(set, set)").message("exactly one provider must be set; this version supports: kwok, clusterAPI, azure, aws"),
    validation = Rule::new("has(self.kwok) == has(oldSelf.kwok) && has(self.clusterAPI) == has(oldSelf.clusterAPI) && has(self.azure) == has(oldSelf.azure)").message("the provider of a cluster is immutable: create a new ManagedCluster for another provider"),
)]
pub struct ProviderSpec {
    /// Node objects on the cluster that Belay runs in. kwok keeps them alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kwok: Option<KwokProviderSpec>,

    /// A Cluster of Cluster API, on the cluster that Belay runs in.
    #[serde(rename = "clusterAPI", skip_serializing_if = "Option::is_none")]
    pub cluster_api: Option<ClusterApiProviderSpec>,

    /// An AKS cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureProviderSpec>,

    /// An EKS cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsProviderSpec>,
}

/// Settings of the kwok provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KwokProviderSpec {
    /// How long a node takes to come up, and how long the control plane takes to change its version: 0s to 24h.
    #[serde(default = "default_node_provisioning_time")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('24h')").message("must be a duration from 0s to 24h, for example 2s or 1m30s"))]
    pub node_provisioning_time: Duration,

    /// How long a node may take to become Ready: 1s to 24h. After that, the operation that creates the node fails with
    /// `NodeProvisioningTimeout`.
    #[serde(default = "default_node_provisioning_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("must be a duration from 1s to 24h, for example 15m"))]
    pub node_provisioning_timeout: Duration,

    /// The largest number of nodes that the cluster may have, like a cloud's quota. An operation that needs more nodes
    /// fails with `QuotaExceeded`. If absent, there is no quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_nodes: Option<i32>,

    /// Whether new nodes carry the taint `kwok.x-k8s.io/node=fake:NoSchedule`. It keeps away pods that don't tolerate
    /// it, because no container runs on these nodes. A change applies to new nodes only; existing nodes keep their
    /// taints.
    #[serde(default = "default_taint")]
    pub taint: bool,
}

fn default_taint() -> bool {
    true
}

fn default_node_provisioning_time() -> Duration {
    std::time::Duration::from_secs(2).into()
}

fn default_node_provisioning_timeout() -> Duration {
    std::time::Duration::from_mins(15).into()
}

/// What Belay reports about a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct ManagedClusterStatus {
    /// The operation in progress on the cluster, or how the last operation on it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<ProvisioningState>,
    /// The power state. While `provisioningState` is Starting or Stopping, this is the state that the cluster changes
    /// to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_state: Option<PowerStateStatus>,
    /// The version that the control plane runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub kubernetes_version: Option<String>,
    /// The operations in flight on this cluster and its pools. This list is the lock: an operation in it excludes
    /// others.
    #[serde(default)]
    // Belay always writes this list, and writes it whole, so an entry that somebody else wrote locks nothing.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub operations: Vec<OperationInFlight>,
    /// The pools of the cluster, with the state that a change of the cluster or of another pool depends on. The API
    /// server reads it when it admits such a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub agent_pools: Vec<ClusterPool>,
    /// The last operation on this cluster that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// What a canceled or failed operation left undone. Belay doesn't resume it by itself. Absent if nothing was left
    /// undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The generation of the spec that this status was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A fingerprint of the last value of the abort annotation that Belay honoured. Belay honours each value once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_abort: Option<String>,
    /// Conditions: Ready; Reconciling and Stalled as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A pool, as its cluster's status shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPool {
    /// Its name.
    pub name: String,
    /// System or User.
    pub mode: AgentPoolMode,
    /// The version that the pool's own spec sets. If absent, the pool follows the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// The oldest version that the pool's nodes run. Absent if the pool has no nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_version: Option<String>,
}
