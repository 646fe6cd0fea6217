//! A cluster in memory, for the tests of the core: what people do to it (`people`), what the shell does with the
//! decisions (`shell`), and machines that take time (`work`). Only this folder knows how the objects are built.

mod forcing;
mod key;
mod people;
mod reading;
mod shell;
mod views;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use crate::api::{
    AgentPool, KubernetesVersion, ManagedCluster, Operation, OperationError, OperationStatus,
    OperationTarget, ScaleSetPriority, TargetKind,
};

use crate::provider::NodeByNode;

use super::{
    observed::{NodeView, Observation},
    plan::{PoolGoal, UndrainableNodes},
    settings::NodeSettings,
    snapshot::{ObjectId, Snapshot},
};

pub(crate) use super::edit::leave_nothing_half_done;
pub(super) use reading::{Decided, condition};
pub(super) use shell::Pass;
pub(crate) use work::grow;

/// The cluster's name.
pub(super) const CLUSTER: &str = "demo";
/// The version of the cluster in a new world.
pub(crate) const OLD: &str = "1.35.7";
/// A version that it can be upgraded to.
pub(crate) const NEW: &str = "1.36.3";

pub(super) fn version(text: &str) -> KubernetesVersion {
    text.parse().expect("a version")
}

/// Returns a Ready node. The number in its name is its age: `a1` was made before `a2`.
pub(crate) fn node(name: &str, runs: &str) -> NodeView {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    NodeView {
        name: name.into(),
        version: version(runs),
        ready: true,
        ready_since: None,
        cordoned: false,
        joining: false,
        deleting: false,
        settings: NodeSettings::default(),
        drained_by: None,
        made_by: None,
        undrainable: None,
        quarantined: false,
        created: Timestamp::from_second(digits.parse().unwrap_or_default()).expect("a time"),
    }
}

/// Returns the goal of `count` nodes of [`NEW`]; one more may exist while nodes are replaced.
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
        stopped: false,
        deleted: false,
        drain_timeout: std::time::Duration::from_mins(30),
        soak: std::time::Duration::ZERO,
        undrainable: UndrainableNodes::Fail,
        settings: NodeSettings::default(),
        vm_size: None,
        priority: ScaleSetPriority::default(),
    }
}

/// The kind of objects that a stale cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Clusters,
    Pools,
    Operations,
    Nodes,
    /// No cache is stale: there is only another operator.
    None,
}

/// Returns the cluster as an Operation's target.
pub(super) fn cluster() -> OperationTarget {
    OperationTarget {
        kind: TargetKind::ManagedCluster,
        name: CLUSTER.into(),
    }
}

/// Returns a pool as an Operation's target.
pub(super) fn pool(name: &str) -> OperationTarget {
    OperationTarget {
        kind: TargetKind::AgentPool,
        name: name.into(),
    }
}

fn op(name: &str) -> ObjectId {
    ObjectId::Operation(name.into())
}

/// A cluster with everything that belongs to it. It accepts any change by a person at any time, because admission
/// reads caches and may have let it pass.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct World {
    state: Snapshot,
    workers: BTreeMap<String, work::Worker>,
    /// Pools whose pods a disruption budget protects from every eviction.
    guarded: BTreeSet<String>,
    /// Whether the API server refuses the spec changes that Operations ask for (a field that GitOps owns).
    refuses_specs: bool,
    /// Whether the engine refuses to stop its work.
    refuses_to_stop: bool,
    /// Whether the provider makes no progress, until somebody stops it.
    stalls: bool,
    /// The uids of the Operations whose work has stopped because somebody asked for it.
    rested: BTreeSet<String>,
    /// The status that the last write of an Operation's status replaced.
    replaced: Option<Box<OperationStatus>>,
    /// The errors of refused spec changes, by the Operations' uids. A restart loses them.
    refused: BTreeMap<String, OperationError>,
    /// The objects that a stale cache shows.
    old: Option<Box<Snapshot>>,
    /// The kind for which the operator's own cache is stale.
    lagging: Option<Kind>,
    /// A step that began although `Canceling` was written.
    violation: Option<(String, String)>,
    /// Whether the namespace is being deleted. Then nothing can be created in it.
    namespace_goes: bool,
    now: Timestamp,
    /// The last resourceVersion that was assigned.
    written: u64,
    /// The number of objects made so far, so that no uid is used twice.
    made: u64,
    is_gone: bool,
}

impl World {
    /// Returns a world with a cluster that was just created.
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
            refuses_to_stop: false,
            stalls: false,
            rested: BTreeSet::new(),
            replaced: None,
            old: None,
            lagging: None,
            violation: None,
            refused: BTreeMap::new(),
            namespace_goes: false,
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            written: 0,
            made: 0,
            is_gone: false,
        };
        world.created(&ObjectId::Cluster);
        world
    }

    /// Returns a world with a cluster and a pool of two nodes, `np1`, in which nothing is left to do.
    pub fn settled() -> Self {
        Self::new().with_pool("np1", 2).at_rest()
    }

    /// Adds a pool.
    pub fn with_pool(mut self, name: &str, count: i32) -> Self {
        self.create_pool(name, count);
        self
    }

    /// Runs until nothing is left to do.
    pub fn at_rest(mut self) -> Self {
        self.settle();
        self
    }

    // Events that happen by themselves.

    /// Lets time pass.
    pub fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += SignedDuration::from_secs(seconds);
        self
    }

    /// Removes a node of the pool, as if it broke.
    pub fn lose_node(&mut self, pool: &str) -> &mut Self {
        if let Some(nodes) = self.state.observed.nodes.get_mut(pool) {
            nodes.pop();
        }
        self
    }

    /// Removes the control plane, as if it broke.
    pub fn lose_control_plane(&mut self) -> &mut Self {
        self.state.observed.control_plane = None;
        self
    }

    /// Lets a disruption budget protect the pods of a pool.
    pub fn guard(&mut self, pool: &str) -> &mut Self {
        self.guarded.insert(pool.into());
        self
    }

    /// Removes all disruption budgets.
    pub fn unguard(&mut self) -> &mut Self {
        self.guarded.clear();
        self
    }

    /// Increases the generation, as a change of any spec field does.
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

    /// Fills in the fields that the API server sets.
    fn created(&mut self, id: &ObjectId) -> &mut Self {
        self.made += 1;
        let (now, uid) = (self.now, format!("uid-{}", self.made));
        let metadata = self.metadata_mut(id).expect("what was created");
        metadata.namespace = Some("team-a".into());
        metadata.uid = Some(uid);
        metadata.generation = Some(1);
        metadata.creation_timestamp = Some(Time(now));
        self.default_status(id);
        self.wrote(id);
        self
    }

    /// Sets the status that the schema gives to an object created without one.
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
