//! A cluster in memory, for the tests of the core: what people do to it ([`World`]'s methods here), what
//! the shell does with what was decided (`shell`), and machines that take their time (`work`). What the
//! objects consist of is known to this folder alone.

mod reading;
mod shell;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use crate::api::{
    ABORT_ANNOTATION, ABORT_POLICY_ANNOTATION, AgentPool, AgentPoolMode, ConcurrencyPolicy,
    KubernetesVersion, ManagedCluster, NodeLabelValue, Operation, OperationError, OperationTarget,
    OperationType, PowerState, ScaleSetPriority, TargetKind,
};

use crate::provider::NodeByNode;

use super::{
    observed::{NodeView, Observation},
    plan::PoolGoal,
    rules::Rules,
    settings::NodeSettings,
    snapshot::{ObjectId, Snapshot},
};

pub(crate) use super::edit::leave_nothing_half_done;
pub(super) use reading::{Decided, condition};
pub(crate) use work::grow;

/// The cluster's name.
pub(super) const CLUSTER: &str = "demo";
/// The version that a new world's cluster has.
pub(crate) const OLD: &str = "1.35.7";
/// One that it can be upgraded to.
pub(crate) const NEW: &str = "1.36.3";

pub(super) fn version(text: &str) -> KubernetesVersion {
    text.parse().expect("a version")
}

/// A Ready node. The number in its name is its age: `a1` was made before `a2`.
pub(crate) fn node(name: &str, runs: &str) -> NodeView {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    NodeView {
        name: name.into(),
        version: version(runs),
        ready: true,
        cordoned: false,
        joining: false,
        deleting: false,
        settings: NodeSettings::default(),
        drained_by: None,
        made_by: None,
        created: Timestamp::from_second(digits.parse().unwrap_or_default()).expect("a time"),
    }
}

/// A pool of `count` nodes of [`NEW`]; one more may exist while they are replaced.
pub(crate) fn goal(count: usize) -> PoolGoal {
    PoolGoal {
        pool: "np1".into(),
        node_prefix: "demo-np1".into(),
        count,
        version: version(NEW),
        replace_outdated: true,
        update_settings: true,
        surge: 1,
        unavailable: 0,
        drain: true,
        drain_timeout: std::time::Duration::from_mins(30),
        settings: NodeSettings::default(),
        vm_size: None,
        priority: ScaleSetPriority::default(),
    }
}

/// What an old cache is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Clusters,
    Pools,
    Operations,
    Nodes,
    /// No cache is old: it is only another operator.
    None,
}

/// The cluster, as an Operation's target.
pub(super) fn cluster() -> OperationTarget {
    OperationTarget {
        kind: TargetKind::ManagedCluster,
        name: CLUSTER.into(),
    }
}

/// A pool, as an Operation's target.
pub(super) fn pool(name: &str) -> OperationTarget {
    OperationTarget {
        kind: TargetKind::AgentPool,
        name: name.into(),
    }
}

fn op(name: &str) -> ObjectId {
    ObjectId::Operation(name.into())
}

/// A cluster with all that belongs to it. What a person changes is taken at any time: admission, which
/// reads caches, may have let it pass.
pub(super) struct World {
    state: Snapshot,
    workers: BTreeMap<String, work::Worker>,
    /// Pools of which a disruption budget lets no pod be evicted.
    guarded: BTreeSet<String>,
    /// Whether the API server refuses what Operations ask for of specs (a field that GitOps owns).
    refuses_specs: bool,
    /// What was refused, by the Operations' uids. A restart loses it.
    refused: BTreeMap<String, OperationError>,
    /// What an old cache shows.
    old: Option<Box<Snapshot>>,
    /// Whether the namespace is being deleted, so that nothing can be created.
    namespace_goes: bool,
    now: Timestamp,
    /// The last resourceVersion that was given.
    written: u64,
    is_gone: bool,
}

impl World {
    /// A cluster that was created a moment ago.
    pub fn new() -> Self {
        let spec = json!({"kubernetesVersion": OLD, "provider": {"kwok": {}}});
        let cluster = ManagedCluster::new(CLUSTER, serde_json::from_value(spec).expect("a spec"));
        let mut world = Self {
            state: Snapshot::new(
                Arc::new(cluster),
                Vec::new(),
                Vec::new(),
                Observation::default(),
                &NodeByNode,
            ),
            workers: BTreeMap::new(),
            guarded: BTreeSet::new(),
            refuses_specs: false,
            old: None,
            refused: BTreeMap::new(),
            namespace_goes: false,
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            written: 0,
            is_gone: false,
        };
        world.created(&ObjectId::Cluster);
        world
    }

    /// A cluster with a pool of two nodes, `np1`, where nothing is left to do.
    pub fn settled() -> Self {
        Self::new().with_pool("np1", 2).at_rest()
    }

    /// With one more pool.
    pub fn with_pool(mut self, name: &str, count: i32) -> Self {
        self.create_pool(name, count);
        self
    }

    /// Once nothing is left to do.
    pub fn at_rest(mut self) -> Self {
        self.settle();
        self
    }

    // What a person does.

    /// Creates a pool that follows its cluster's version.
    pub fn create_pool(&mut self, name: &str, count: i32) -> &mut Self {
        let spec = json!({"clusterName": CLUSTER, "count": count});
        let pool = AgentPool::new(name, serde_json::from_value(spec).expect("a spec"));
        self.state.pools.push(Arc::new(pool));
        self.state.put_in_order();
        self.created(&ObjectId::Pool(name.into()))
    }

    /// Makes a pool one of those that the cluster can't be without.
    pub fn make_system(&mut self, pool: &str) -> &mut Self {
        self.pool_mut(pool).spec.mode = AgentPoolMode::System;
        self.spec_changed(&ObjectId::Pool(pool.into()))
    }

    /// Gives the cluster another version.
    pub fn set_version(&mut self, runs: &str) -> &mut Self {
        let cluster = Arc::make_mut(&mut self.state.cluster);
        cluster.spec.kubernetes_version = runs.into();
        self.spec_changed(&ObjectId::Cluster)
    }

    /// Gives a pool another size.
    pub fn set_count(&mut self, pool: &str, count: i32) -> &mut Self {
        self.pool_mut(pool).spec.count = count;
        self.spec_changed(&ObjectId::Pool(pool.into()))
    }

    /// Gives a pool a version of its own, or lets it follow its cluster.
    pub fn set_pool_version(&mut self, pool: &str, runs: Option<&str>) -> &mut Self {
        self.pool_mut(pool).spec.kubernetes_version = runs.map(Into::into);
        self.spec_changed(&ObjectId::Pool(pool.into()))
    }

    /// Turns the cluster on or off.
    pub fn set_power(&mut self, power: PowerState) -> &mut Self {
        Arc::make_mut(&mut self.state.cluster).spec.power_state = power;
        self.spec_changed(&ObjectId::Cluster)
    }

    /// Turns a pool on or off.
    pub fn set_pool_power(&mut self, pool: &str, power: PowerState) -> &mut Self {
        self.pool_mut(pool).spec.power_state = power;
        self.spec_changed(&ObjectId::Pool(pool.into()))
    }

    /// Gives the nodes of a pool a label.
    pub fn set_label(&mut self, pool: &str, value: &str) -> &mut Self {
        let labels = &mut self.pool_mut(pool).spec.node_labels;
        labels.insert("tier".into(), NodeLabelValue(value.into()));
        self.spec_changed(&ObjectId::Pool(pool.into()))
    }

    /// Says what a new change meets while an operation is in flight.
    pub fn set_policy(&mut self, policy: ConcurrencyPolicy) -> &mut Self {
        Arc::make_mut(&mut self.state.cluster)
            .spec
            .concurrency_policy = policy;
        self.spec_changed(&ObjectId::Cluster)
    }

    /// Edits the cluster's spec in fields that no operation is about.
    pub fn edit_cluster(&mut self, fields: &serde_json::Value) -> &mut Self {
        self.state.change_spec(&cluster(), fields);
        self.spec_changed(&ObjectId::Cluster)
    }

    /// Edits a pool's spec.
    pub fn edit_pool(&mut self, name: &str, fields: &serde_json::Value) -> &mut Self {
        self.state.change_spec(&pool(name), fields);
        self.spec_changed(&ObjectId::Pool(name.into()))
    }

    /// Deletes the namespace, and with it everything in it.
    pub fn delete_namespace(&mut self) -> &mut Self {
        self.namespace_goes = true;
        self.delete(&ObjectId::Cluster);
        let pools: Vec<_> = self.pools().collect();
        for pool in pools {
            self.delete(&ObjectId::Pool(pool));
        }
        let operations: Vec<_> = self.operations().collect();
        for operation in operations {
            self.delete(&ObjectId::Operation(operation));
        }
        self
    }

    /// Creates an Operation as a backup tool does: as it was, without its status, as another object.
    pub fn restore(&mut self, operation: &Operation) -> &mut Self {
        let name = operation.metadata.name.clone().unwrap_or_default();
        self.state
            .operations
            .retain(|other| other.metadata.name.as_ref() != Some(&name));
        let mut restored = Operation::new(&name, operation.spec.clone());
        restored
            .metadata
            .labels
            .clone_from(&operation.metadata.labels);
        self.add_operation(restored);
        self
    }

    /// Somebody loses the cluster's status and its pools'.
    pub fn lose_statuses(&mut self) -> &mut Self {
        Arc::make_mut(&mut self.state.cluster).status = None;
        self.wrote(&ObjectId::Cluster);
        let pools: Vec<_> = self.pools().collect();
        for pool in pools {
            self.pool_mut(&pool).status = None;
            self.wrote(&ObjectId::Pool(pool));
        }
        self
    }

    /// The provider is another, with ways of its own.
    pub fn set_rules(&mut self, rules: &'static dyn Rules) -> &mut Self {
        self.state.rules = rules;
        self
    }

    /// From now on the API server refuses what Operations ask for of specs, or no longer.
    pub fn refuse_specs(&mut self, refuses: bool) -> &mut Self {
        self.refuses_specs = refuses;
        self
    }

    /// Annotates an Operation.
    pub fn annotate_operation(&mut self, name: &str, key: &str, value: &str) -> &mut Self {
        self.annotate(&op(name), key, Some(value))
    }

    /// Says how an abort treats the step in process, and nothing else.
    pub fn set_abort_policy(&mut self, id: &ObjectId, policy: Option<&str>) -> &mut Self {
        self.annotate(id, ABORT_POLICY_ANNOTATION, policy)
    }

    /// Takes the abort annotation away.
    pub fn take_abort_from(&mut self, id: &ObjectId) -> &mut Self {
        self.annotate(id, ABORT_ANNOTATION, None)
    }

    /// Makes a plan one that nobody can read.
    pub fn spoil_plan(&mut self, operation: &str) -> &mut Self {
        let object = self.state.operation_mut(operation).expect("an Operation");
        let status = object.status.as_mut().expect("a status");
        status.plan = Some(r#"{"version":9,"stages":[]}"#.into());
        self.wrote(&op(operation));
        self
    }

    /// Asks for the abort of what is in flight on a cluster or a pool.
    pub fn abort_on(&mut self, id: &ObjectId, reason: &str) -> &mut Self {
        self.annotate(id, ABORT_ANNOTATION, Some(reason))
    }

    /// Creates an Operation of that name.
    pub fn ask(&mut self, name: &str, type_: OperationType, target: &OperationTarget) -> &mut Self {
        self.ask_with(name, json!({"type": type_, "target": target}))
    }

    /// Creates an Upgrade to that version.
    pub fn ask_for_version(&mut self, name: &str, to: &str, target: &OperationTarget) -> &mut Self {
        let spec = json!({"type": "Upgrade", "target": target, "kubernetesVersion": to});
        self.ask_with(name, spec)
    }

    /// Creates a Rollback to that version.
    pub fn ask_to_go_back(&mut self, name: &str, to: &str, target: &OperationTarget) -> &mut Self {
        let spec = json!({"type": "Rollback", "target": target, "kubernetesVersion": to});
        self.ask_with(name, spec)
    }

    /// Creates a Scale to that count.
    pub fn ask_for_count(&mut self, name: &str, to: i32, target: &OperationTarget) -> &mut Self {
        self.ask_with(
            name,
            json!({"type": "Scale", "target": target, "count": to}),
        )
    }

    fn ask_with(&mut self, name: &str, spec: serde_json::Value) -> &mut Self {
        let spec = serde_json::from_value(spec).expect("a spec");
        self.add_operation(Operation::new(name, spec));
        self
    }

    /// Asks for an operation's abort.
    pub fn abort(&mut self, operation: &str, reason: &str) -> &mut Self {
        self.annotate(&op(operation), ABORT_ANNOTATION, Some(reason))
    }

    /// Asks for an operation's abort, once the step in process is done.
    pub fn abort_after_step(&mut self, operation: &str, reason: &str) -> &mut Self {
        self.annotate(&op(operation), ABORT_POLICY_ANNOTATION, Some("AfterStep"));
        self.abort(operation, reason)
    }

    /// Asks for an operation's abort at once, whatever was asked for before.
    pub fn abort_now(&mut self, operation: &str, reason: &str) -> &mut Self {
        self.annotate(&op(operation), ABORT_POLICY_ANNOTATION, Some("Now"));
        self.abort(operation, reason)
    }

    /// Takes a request to abort back.
    pub fn take_abort_back(&mut self, operation: &str) -> &mut Self {
        self.annotate(&op(operation), ABORT_ANNOTATION, None)
    }

    fn annotate(&mut self, id: &ObjectId, key: &str, value: Option<&str>) -> &mut Self {
        let metadata = self.metadata_mut(id).expect("what is annotated");
        let annotations = metadata.annotations.get_or_insert_default();
        match value {
            Some(value) => annotations.insert(key.into(), value.into()),
            None => annotations.remove(key),
        };
        self.wrote(id);
        self
    }

    /// Deletes an object, which then stays for as long as Belay keeps it.
    pub fn delete(&mut self, id: &ObjectId) -> &mut Self {
        let now = self.now;
        if let Some(metadata) = self.metadata_mut(id)
            && metadata.deletion_timestamp.is_none()
        {
            metadata.deletion_timestamp = Some(Time(now));
            self.spec_changed(id);
            self.remove_if_let_go(id);
        }
        self
    }

    /// Deletes an object whatever keeps it.
    pub fn delete_by_force(&mut self, id: &ObjectId) -> &mut Self {
        if let Some(metadata) = self.metadata_mut(id) {
            metadata.finalizers = None;
        }
        self.delete(id);
        self.remove_if_let_go(id);
        self
    }

    // What happens by itself.

    /// Time passes.
    pub fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += SignedDuration::from_secs(seconds);
        self
    }

    /// A node of the pool breaks and is gone.
    pub fn lose_node(&mut self, pool: &str) -> &mut Self {
        if let Some(nodes) = self.state.observed.nodes.get_mut(pool) {
            nodes.pop();
        }
        self
    }

    /// The control plane breaks and is gone.
    pub fn lose_control_plane(&mut self) -> &mut Self {
        self.state.observed.control_plane = None;
        self
    }

    /// A disruption budget begins to guard the pods of a pool.
    pub fn guard(&mut self, pool: &str) -> &mut Self {
        self.guarded.insert(pool.into());
        self
    }

    /// No disruption budget guards anything any more.
    pub fn unguard(&mut self) -> &mut Self {
        self.guarded.clear();
        self
    }

    /// Another generation of the same fields, as a change of any of them brings it.
    fn spec_changed(&mut self, id: &ObjectId) -> &mut Self {
        if let Some(metadata) = self.metadata_mut(id) {
            metadata.generation = metadata.generation.map(|generation| generation + 1);
        }
        self.wrote(id);
        self
    }

    fn add_operation(&mut self, operation: Operation) {
        let id = ObjectId::Operation(operation.metadata.name.clone().unwrap_or_default());
        if self.metadata_mut(&id).is_none() {
            self.state.operations.push(Arc::new(operation));
            self.created(&id);
            self.state.put_in_order();
        }
    }

    /// What the API server fills in.
    fn created(&mut self, id: &ObjectId) -> &mut Self {
        let (now, uid) = (self.now, format!("uid-{}", self.written));
        let metadata = self.metadata_mut(id).expect("what was created");
        metadata.namespace = Some("team-a".into());
        metadata.uid = Some(uid);
        metadata.generation = Some(1);
        metadata.creation_timestamp = Some(Time(now));
        self.default_status(id);
        self.wrote(id);
        self
    }

    /// The status that the schema gives to what is created without one.
    fn default_status(&mut self, id: &ObjectId) {
        let unseen = json!({"observedGeneration": -1});
        let unseen = || unseen.clone();
        match id {
            ObjectId::Cluster => {
                let cluster = Arc::make_mut(&mut self.state.cluster);
                cluster.status = serde_json::from_value(unseen()).ok();
            }
            ObjectId::Pool(name) => {
                self.pool_mut(name).status = serde_json::from_value(unseen()).ok();
            }
            ObjectId::Operation(name) => {
                let operation = self.state.operation_mut(name).expect("an Operation");
                operation.status = serde_json::from_value(unseen()).ok();
            }
        }
    }

    fn wrote(&mut self, id: &ObjectId) {
        self.written += 1;
        let version = self.written.to_string();
        if let Some(metadata) = self.metadata_mut(id) {
            metadata.resource_version = Some(version);
        }
    }

    fn remove_if_let_go(&mut self, id: &ObjectId) {
        let is_let_go = self.state.remove_if_let_go(id);
        self.is_gone |= is_let_go && *id == ObjectId::Cluster;
    }

    fn metadata_mut(&mut self, id: &ObjectId) -> Option<&mut ObjectMeta> {
        let is_there = *id != ObjectId::Cluster || !self.is_gone;
        self.state.metadata_mut(id).filter(|_| is_there)
    }

    fn pool_mut(&mut self, name: &str) -> &mut AgentPool {
        self.state.pool_mut(name).expect("a pool of that name")
    }
}
