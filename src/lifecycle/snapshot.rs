//! The complete input of [`decide`](super::decide): one cluster, its pools, its Operations, what its provider
//! observes, and the state of the work that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::ResourceExt as _;

use crate::api::{
    AbortPolicy, AgentPool, ForcedPod, KubernetesVersion, ManagedCluster, Operation,
    OperationError, OperationInFlight, StepPhase,
};

use super::{
    observed::{NodeView, Observation},
    preflight::Preflight,
    rules::Rules,
};

/// One cluster with everything that belongs to it, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The cluster.
    pub cluster: Arc<ManagedCluster>,
    /// Its pools, by name.
    pub pools: Vec<Arc<AgentPool>>,
    /// The Operations on it and on its pools, oldest first.
    pub operations: Vec<Arc<Operation>>,
    /// What the provider observes.
    pub observed: Observation,
    /// What the provider can do, and how it does it.
    pub rules: &'static dyn Rules,
    /// The work that this process runs, by the Operation's uid. A restart loses it without harm.
    pub work: BTreeMap<String, Work>,
    /// Why a person's Operation couldn't be written into its target's spec, by the Operation's uid. A restart loses
    /// this; then Belay tries again, and the write is refused again.
    pub refused_specs: BTreeMap<String, OperationError>,
    /// Why somebody refuses Belay's writes, in that component's words, by the uid of the object. A restart loses
    /// this; then the write is refused again.
    pub refused_writes: BTreeMap<String, String>,
    /// Whether the namespace has a pool that can't be read. It may belong to the cluster and have nodes.
    pub has_unreadable_pools: bool,
    /// The uids of Operations that, according to the API server, no longer exist. A cache that doesn't show an
    /// Operation is no proof of that.
    pub gone: BTreeSet<String>,
    /// Whether nothing can be created in the namespace: the API server reported that the namespace is being deleted,
    /// or that the kind Operation is while this cluster is being deleted, too. A restart loses this; then the API
    /// server reports it again.
    pub namespace_is_terminating: bool,
}

impl Snapshot {
    /// Returns a cluster with everything that belongs to it, and no running work.
    pub fn new(
        cluster: Arc<ManagedCluster>,
        pools: Vec<Arc<AgentPool>>,
        operations: Vec<Arc<Operation>>,
        observed: Observation,
        rules: &'static dyn Rules,
    ) -> Self {
        let mut this = Self {
            cluster,
            pools,
            operations,
            observed,
            rules,
            work: BTreeMap::new(),
            refused_specs: BTreeMap::new(),
            refused_writes: BTreeMap::new(),
            has_unreadable_pools: false,
            gone: BTreeSet::new(),
            namespace_is_terminating: false,
        };
        this.put_in_order();
        this
    }

    /// Returns the pool of that name.
    pub fn pool(&self, name: &str) -> Option<&AgentPool> {
        self.pools
            .iter()
            .find(|pool| pool.metadata.name.as_deref() == Some(name))
            .map(AsRef::as_ref)
    }

    /// Returns the Operation of that name.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|op| op.metadata.name.as_deref() == Some(name))
            .map(AsRef::as_ref)
    }

    /// Returns the Operation with that uid.
    pub fn operation_of_uid(&self, uid: &str) -> Option<&Operation> {
        let mut operations = self.operations.iter();
        operations
            .find(|operation| operation.metadata.uid.as_deref() == Some(uid))
            .map(AsRef::as_ref)
    }

    /// Returns the version of the control plane. None if the cluster has no control plane.
    pub fn control_plane(&self) -> Option<KubernetesVersion> {
        let control_plane = self.observed.control_plane.as_ref()?;
        Some(control_plane.version)
    }

    /// Whether the cluster has a control plane and it is on.
    pub fn is_running(&self) -> bool {
        let control_plane = self.observed.control_plane.as_ref();
        control_plane.is_some_and(|control_plane| control_plane.running)
    }

    /// Returns the lock as it was read.
    pub fn lock(&self) -> &[OperationInFlight] {
        let status = self.cluster.status.as_ref();
        status.map_or(&[], |status| &status.operations)
    }

    /// Returns the nodes of a pool.
    pub fn nodes(&self, pool: &str) -> &[NodeView] {
        self.observed.nodes.get(pool).map_or(&[], Vec::as_slice)
    }

    /// Whether an Operation has ended or no longer exists. One that holds the lock may still run even if no cache
    /// shows it.
    pub fn is_over(&self, uid: &str) -> bool {
        let Some(operation) = self.operation_of_uid(uid) else {
            let is_held = self.lock().iter().any(|held| held.uid == uid);
            return !is_held || self.gone.contains(uid);
        };
        let status = operation.status.as_ref();
        status.is_some_and(|status| status.phase.is_finished())
    }

    /// Iterates over those nodes of a pool that belong to it or may join it. A node that never joined and whose
    /// Operation is over is cleaned up anyway, so its version and settings don't matter.
    pub fn lasting<'n>(
        &'n self,
        nodes: &'n [NodeView],
    ) -> impl Iterator<Item = &'n NodeView> + Clone {
        nodes.iter().filter(|node| {
            let made_by = node.made_by.as_ref().filter(|_| node.joining);
            !made_by.is_some_and(|uid| self.is_over(uid))
        })
    }

    /// Iterates over the nodes of pools that no longer exist, with the pools' names: somebody removed a pool's
    /// finalizer by hand. These nodes are deleted with the cluster.
    pub fn nodes_of_no_pool(&self) -> impl Iterator<Item = (&String, &Vec<NodeView>)> {
        let is_left = |(pool, nodes): &(&String, &Vec<NodeView>)| {
            self.pool(pool).is_none() && !nodes.is_empty()
        };
        self.observed.nodes.iter().filter(is_left)
    }

    /// Sorts the objects in the order that the core expects: pools by name, Operations oldest first.
    pub(super) fn put_in_order(&mut self) {
        self.pools.sort_by_key(|pool| pool.name_any());
        self.operations
            .sort_by_key(|operation| (operation.creation_timestamp(), operation.name_any()));
    }
}

/// One of Belay's objects, in the cluster's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectId {
    /// The cluster.
    Cluster,
    /// The pool of that name.
    Pool(String),
    /// The Operation of that name.
    Operation(String),
}

/// The state of the work of one Operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It runs; the second value is how it was asked to stop.
    Running(Progress, Stop),
    /// It was asked to stop and has stopped: nothing half-done is left, and nothing of it acts any more.
    Stopped(Progress),
    /// It was asked to stop, and the engine refused, with these words. The engine goes on; nobody follows it until
    /// the work is started again.
    Refused(String, Progress),
    /// Everything that the Operation asked for is reached.
    Done(Progress),
    /// It failed.
    Failed(OperationError, Progress),
}

impl Work {
    /// Returns its progress.
    pub fn progress(&self) -> &Progress {
        match self {
            Self::Running(progress, _)
            | Self::Stopped(progress)
            | Self::Refused(_, progress)
            | Self::Done(progress)
            | Self::Failed(_, progress) => progress,
        }
    }
}

/// The progress of a piece of work, and what blocks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The state of the steps. Steps that aren't listed are unchanged.
    pub steps: Vec<StepReport>,
    /// What blocks it: a reason in one word, and a message.
    pub blocked: Option<(String, String)>,
    /// What will be in the way, as it was seen when the work began. None until somebody has looked.
    pub preflight: Option<Preflight>,
    /// The pods that it deletes by force once the Operation's status names them.
    pub forcing: Vec<ForcedPod>,
    /// What couldn't be cleaned up when the work stopped: a name, such as a node's, and the reason in the words of
    /// the API server or the provider.
    pub left: Vec<(String, String)>,
}

/// The progress of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// Its phase.
    pub phase: StepPhase,
    /// What is happening.
    pub message: String,
    /// How many nodes are done, in a step about more than one node.
    pub nodes_done: Option<i32>,
    /// Its progress in percent, if the engine reports it.
    pub percent: Option<i32>,
    /// The engine's name for its work on the step.
    pub handle: Option<String>,
}

/// Whether and how the work of an Operation has to stop. The value only increases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It may go on.
    #[default]
    No,
    /// What has begun is finished, and nothing new begins.
    AfterStep,
    /// What has begun is stopped at once.
    Now,
}

impl From<AbortPolicy> for Stop {
    fn from(policy: AbortPolicy) -> Self {
        match policy {
            AbortPolicy::Now => Self::Now,
            AbortPolicy::AfterStep => Self::AfterStep,
        }
    }
}
