//! [`AgentPool`]: nodes of one kind in a cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::{
    apis::meta::v1::{Condition, Time},
    util::intstr::IntOrString,
};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ConcurrencyPolicy, Hold, LastOperation, OperationPhase, OperationType, PowerState,
    PowerStateStatus, ProvisioningState, VersionCount,
};

/// A pool of nodes with the same settings, in a ManagedCluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "belay.dev",
    version = "v1alpha1",
    kind = "AgentPool",
    namespaced,
    shortname = "ap",
    category = "belay",
    status = "AgentPoolStatus",
    derive = "PartialEq",
    doc = "A pool of nodes with the same settings, in a ManagedCluster.",
    scale(
        spec_replicas_path = ".spec.count",
        status_replicas_path = ".status.count",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterName", description = "The ManagedCluster of the pool"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "System or User"),
    printcolumn(name = "Count", type_ = "integer", json_path = ".spec.count", description = "The desired number of nodes"),
    printcolumn(name = "Ready Nodes", type_ = "integer", json_path = ".status.readyCount", description = "The number of nodes that are Ready"),
    printcolumn(name = "Power", type_ = "string", json_path = ".status.powerState.code", description = "Running or Stopped. While State is Starting or Stopping, this is the state that the pool changes to"),
    printcolumn(name = "Versions", type_ = "string", json_path = ".status.versionSummary", description = "The Kubernetes versions of the nodes, each with the number of nodes"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.provisioningState", description = "The operation in progress, or how the last operation ended"),
    printcolumn(name = "Operation", type_ = "string", json_path = ".status.operation.name", description = "The operation in flight on the pool"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the actual state matches the spec"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1, description = "Why it is Ready or not"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name can have at most 63 characters, because it becomes a label of the nodes"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode != 'System' || self.count >= 1").message("a System pool has at least 1 node; use a User pool for a count of 0").field_path(".count"),
    validation = Rule::new("self.mode != 'System' || self.powerState != 'Stopped'").message("a System pool can't be Stopped; stop the whole cluster instead").field_path(".powerState"),
    validation = Rule::new("has(self.vmSize) == has(oldSelf.vmSize) && (!has(self.vmSize) || self.vmSize == oldSelf.vmSize)").message("vmSize is immutable: create a new pool with the other size, then delete this one"),
)]
pub struct AgentPoolSpec {
    /// The cluster that the pool belongs to, in the same namespace. Immutable.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterName is immutable: create a new pool in the other cluster"))]
    pub cluster_name: String,

    /// What the pool is for. System pools are upgraded first, and always have at least one node.
    #[serde(default)]
    pub mode: AgentPoolMode,

    /// The number of nodes that the pool should have.
    #[schemars(range(min = 0, max = 1000))]
    pub count: i32,

    /// The size of the machines, as the provider names it. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("must be valid as a label of the nodes: letters, digits, '-', '_' and '.', with a letter or digit at both ends, for example Standard_D4s_v5"))]
    pub vm_size: Option<String>,

    /// The Kubernetes version of the nodes, MAJOR.MINOR.PATCH. If absent, the pool follows its cluster's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}[.][0-9]{1,5}[.][0-9]{1,5}$')").message("must be MAJOR.MINOR.PATCH, for example 1.36.3"))]
    pub kubernetes_version: Option<String>,

    /// Whether the machines are bought at a discount, and the provider may take them away. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("scaleSetPriority is immutable: create a new pool with the other priority"))]
    pub scale_set_priority: ScaleSetPriority,

    /// Whether the pool should run.
    #[serde(default)]
    pub power_state: PowerState,

    /// Labels of the nodes. Keys of the domains kubernetes.io, k8s.io and belay.dev are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(
        validation = Rule::new("self.all(key, key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && key.indexOf('/') <= 253)").message("a key must be NAME or DOMAIN/NAME, for example example.com/team: NAME has at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends; DOMAIN has at most 253 lowercase letters, digits, '-' and '.'"),
        validation = Rule::new("self.all(key, self[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))").message("a value must be empty, or have at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"),
        validation = Rule::new("self.all(key, !key.matches('^([^/]*[.])?(kubernetes[.]io|k8s[.]io|belay[.]dev)/'))").message("keys of the domains kubernetes.io, k8s.io and belay.dev, and of their subdomains, are reserved for Kubernetes and Belay: write a domain of your own, for example example.com/team"),
    )]
    pub node_labels: BTreeMap<String, NodeLabelValue>,

    /// Taints of the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(taint, self.exists_one(other, other.key == taint.key && other.effect == taint.effect))").message("a node can have only one taint with the same key and effect: remove the duplicate"))]
    pub node_taints: Vec<NodeTaint>,

    /// How nodes are replaced.
    #[serde(default)]
    pub upgrade_settings: UpgradeSettings,
}

/// The value of a node's label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct NodeLabelValue(#[schemars(length(max = 63))] pub String);

/// What a pool is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AgentPoolMode {
    /// For the pods that keep the cluster itself running.
    System,
    /// For all other pods.
    #[default]
    User,
}

/// How the machines are bought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScaleSetPriority {
    /// The machines stay.
    #[default]
    Regular,
    /// The provider may take the machines away.
    Spot,
}

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct NodeTaint {
    /// The taint's key.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(
        validation = Rule::new("self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self.indexOf('/') <= 253").message("a key must be NAME or DOMAIN/NAME, for example example.com/team: NAME has at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends; DOMAIN has at most 253 lowercase letters, digits, '-' and '.'"),
        validation = Rule::new("!self.startsWith('belay.dev/')").message("taints that start with belay.dev/ are reserved for Belay: write a domain of your own, for example example.com/team"),
    )]
    pub key: String,
    /// The taint's value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')").message("a value must be empty, or have at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"))]
    pub value: String,
    /// What happens to pods that don't tolerate the taint.
    pub effect: TaintEffect,
}

/// What happens to pods that don't tolerate a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// No new pods are scheduled to the node.
    NoSchedule,
    /// New pods are scheduled to the node only if there is no other node for them.
    PreferNoSchedule,
    /// All pods are evicted from the node.
    NoExecute,
}

/// How nodes are replaced, and how long a drain may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.maxBlockedNodes) || (has(self.undrainableNodeBehavior) && self.undrainableNodeBehavior == 'Cordon')").message("maxBlockedNodes needs undrainableNodeBehavior: Cordon: otherwise no node stays blocked"),
    validation = Rule::new("!((self.maxSurge == 0 || self.maxSurge == '0%') && (self.maxUnavailable == 0 || self.maxUnavailable == '0%'))").message("maxSurge and maxUnavailable can't both be 0: no node could be replaced"),
)]
pub struct UpgradeSettings {
    /// How many nodes may exist beyond `count`: a number, or a percentage of `count` rounded up.
    #[serde(default = "default_max_surge")]
    #[schemars(extend("maxLength" = 4))]
    #[x_kube(validation = Rule::new("type(self) == int ? int(self) >= 0 && int(self) <= 1000 : string(self).matches('^(100|[0-9]{1,2})%$')").message("must be a number from 0 to 1000, or a percentage from 0% to 100%"))]
    pub max_surge: IntOrString,

    /// How many of `count` nodes may be unavailable: a number, or a percentage of `count` rounded down.
    #[serde(default = "default_max_unavailable")]
    #[schemars(extend("maxLength" = 4))]
    #[x_kube(validation = Rule::new("type(self) == int ? int(self) >= 0 && int(self) <= 1000 : string(self).matches('^(100|[0-9]{1,2})%$')").message("must be a number from 0 to 1000, or a percentage from 0% to 100%"))]
    pub max_unavailable: IntOrString,

    /// How long the drain of one node may take: 1s to 24h.
    #[serde(default = "default_drain_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("must be a duration from 1s to 24h, for example 30m"))]
    pub drain_timeout: Duration,

    /// How long Belay waits after a node is replaced before it replaces the next one: 0s to 30m. The wait begins when the
    /// newest new node is Ready.
    #[serde(default = "default_node_soak_duration")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(ns|us|µs|ms|s|m|h))+$') && duration(self) <= duration('30m')").message("must be a duration from 0s to 30m, for example 5m"))]
    pub node_soak_duration: Duration,

    /// What happens to a node that can't be drained within `drainTimeout` while it is replaced. If absent, the operation
    /// fails at the first such node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undrainable_node_behavior: Option<UndrainableNodeBehavior>,

    /// With Cordon, how many nodes may be quarantined: a number, or a percentage of `count` rounded up. The operation
    /// fails at the next node that can't be drained. If absent, it is `maxSurge`, but at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 4))]
    #[x_kube(validation = Rule::new("type(self) == int ? int(self) >= 1 && int(self) <= 1000 : string(self).matches('^(100|[1-9][0-9]?)%$')").message("must be a number from 1 to 1000, or a percentage from 1% to 100%"))]
    pub max_blocked_nodes: Option<IntOrString>,
}

/// What happens to a node that can't be drained while it is replaced. The words and their meanings are those of AKS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UndrainableNodeBehavior {
    /// The node takes pods again and stays as it is. The other nodes are replaced, then the operation fails.
    Schedule,
    /// The node stays cordoned, with the label `belay.dev/upgrade-status: Quarantined`, and its replacement stays too.
    /// The other nodes are replaced, then the operation fails. The next Reconcile or Upgrade drains the node again.
    Cordon,
}

impl Default for UpgradeSettings {
    fn default() -> Self {
        Self {
            max_surge: default_max_surge(),
            max_unavailable: default_max_unavailable(),
            drain_timeout: default_drain_timeout(),
            node_soak_duration: default_node_soak_duration(),
            undrainable_node_behavior: None,
            max_blocked_nodes: None,
        }
    }
}

fn default_max_surge() -> IntOrString {
    IntOrString::Int(1)
}

fn default_max_unavailable() -> IntOrString {
    IntOrString::Int(0)
}

fn default_drain_timeout() -> Duration {
    std::time::Duration::from_mins(30).into()
}

fn default_node_soak_duration() -> Duration {
    std::time::Duration::ZERO.into()
}

/// What Belay reports about a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct AgentPoolStatus {
    /// The operation in progress on the pool, or how the last operation on it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<ProvisioningState>,
    /// The power state. While `provisioningState` is Starting or Stopping, this is the state that the pool changes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_state: Option<PowerStateStatus>,
    /// The number of nodes that exist, without those in `quarantinedNodes`.
    #[serde(default)]
    pub count: i32,
    /// The number of these nodes that are Ready.
    #[serde(default)]
    pub ready_count: i32,
    /// The versions that the nodes run, oldest first. If there are no nodes, the version that the next nodes will run,
    /// with a count of 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub versions: Vec<VersionCount>,
    /// The nodes that couldn't be drained and stay cordoned beside `count` others, at most 50 of them. The next Reconcile
    /// or Upgrade drains them again, and deletes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub quarantined_nodes: Vec<QuarantinedNode>,
    /// `versions` in one line, because each column of `kubectl get` shows one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_summary: Option<String>,
    /// The operation in flight on this pool, or on its cluster if that operation includes this pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<PoolOperation>,
    /// The state of the pool's cluster that a change of this pool depends on. The API server reads it when it admits
    /// such a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<PoolCluster>,
    /// Why the pool can't be scaled now, in the words in which the API server refuses to scale it. If absent, the pool
    /// can be scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub scale_refusal: Option<String>,
    /// The last operation on this pool that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// What a canceled or failed operation on this pool left undone. Belay doesn't resume it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// What a canceled or failed operation on the whole cluster left undone on this pool. Belay doesn't resume it by
    /// itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_hold: Option<Hold>,
    /// The generation of the spec that this status was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A fingerprint of the last value of the abort annotation that Belay honoured. Belay honours each value once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_abort: Option<String>,
    /// Conditions: Ready; Reconciling and Stalled as kstatus reads them; Autoscaled if something other than Belay
    /// scales the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Selects the pool's nodes by label, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// A node that couldn't be drained and stays cordoned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedNode {
    /// The node's name.
    pub name: String,
    /// What its drain was blocked by, in one word, such as `PodDisruptionBudget`.
    pub reason: String,
    /// What its drain was blocked by.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when it has been quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// The cluster of a pool, as the pool's status shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolCluster {
    /// The version that the control plane runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// What happens to a new change while an operation is in flight.
    pub concurrency_policy: ConcurrencyPolicy,
    /// The operation in progress on the cluster, or how the last operation on it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<ProvisioningState>,
    /// Its power state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_state: Option<PowerStateStatus>,
    /// The name of the operation in flight on the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The number of its System pools.
    #[serde(default)]
    pub system_pools: i32,
    /// Since when the cluster is being deleted. Absent if it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
}

/// An operation in flight, as a pool's status shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolOperation {
    /// The Operation's name.
    pub name: String,
    /// What the operation does.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// The phase of the operation.
    pub phase: OperationPhase,
    /// The approximate progress of the operation, in percent, as the cluster's lock shows it.
    #[schemars(range(min = 0, max = 100))]
    pub percent_complete: i32,
    /// When the operation took the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
}
