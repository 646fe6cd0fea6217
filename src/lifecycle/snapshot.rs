//! All that [`decide`](super::decide) looks at: one cluster, its pools, its Operations, what its
//! provider observes, and how the work in hand is doing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::ResourceExt as _;

use crate::api::{
    AbortPolicy, AgentPool, KubernetesVersion, ManagedCluster, Operation, OperationError,
    OperationInFlight, StepPhase,
};

use super::{
    observed::{NodeView, Observation},
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
    /// What the provider can do, and how.
    pub rules: &'static dyn Rules,
    /// The work in hand, by the Operation's uid. A restart loses it, and nothing with it.
    pub work: BTreeMap<String, Work>,
    /// Why a person's Operation couldn't be written into its target's spec, by the Operation's uid. A
    /// restart loses it; then it is tried, and refused, again.
    pub refused_specs: BTreeMap<String, OperationError>,
    /// Why somebody refuses Belay's writes, in whose words, by the uid of the object. A restart
    /// loses it; then it is refused again.
    pub refused_writes: BTreeMap<String, String>,
    /// Whether the namespace has a pool that can't be read: it may be the cluster's, with nodes.
    pub has_unreadable_pools: bool,
    /// Operations, by uid, that the API server said are no more. That a store doesn't show one is no proof.
    pub gone: BTreeSet<String>,
    /// Whether the API server said that the namespace is being deleted, or that the kind Operation is and this
    /// cluster too: nothing can be created there. A restart loses it; then it is said again.
    pub namespace_is_terminating: bool,
}

impl Snapshot {
    /// A cluster with all that belongs to it, and no work in hand.
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

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&AgentPool> {
        self.pools
            .iter()
            .find(|pool| pool.metadata.name.as_deref() == Some(name))
            .map(AsRef::as_ref)
    }

    /// The Operation of that name.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|op| op.metadata.name.as_deref() == Some(name))
            .map(AsRef::as_ref)
    }

    /// The Operation of that uid.
    pub fn operation_of_uid(&self, uid: &str) -> Option<&Operation> {
        let mut operations = self.operations.iter();
        operations
            .find(|operation| operation.metadata.uid.as_deref() == Some(uid))
            .map(AsRef::as_ref)
    }

    /// What the control plane runs.
    pub fn control_plane(&self) -> Option<KubernetesVersion> {
        let control_plane = self.observed.control_plane.as_ref()?;
        Some(control_plane.version)
    }

    /// Whether the cluster has a control plane and it is on.
    pub fn is_running(&self) -> bool {
        let control_plane = self.observed.control_plane.as_ref();
        control_plane.is_some_and(|control_plane| control_plane.running)
    }

    /// The lock as it was read.
    pub fn lock(&self) -> &[OperationInFlight] {
        let status = self.cluster.status.as_ref();
        status.map_or(&[], |status| &status.operations)
    }

    /// The nodes of a pool.
    pub fn nodes(&self, pool: &str) -> &[NodeView] {
        self.observed.nodes.get(pool).map_or(&[], Vec::as_slice)
    }

    /// Whether an Operation has ended, or is no more. One that holds the lock and that nobody shows may go on.
    pub fn is_over(&self, uid: &str) -> bool {
        let Some(operation) = self.operation_of_uid(uid) else {
            let is_held = self.lock().iter().any(|held| held.uid == uid);
            return !is_held || self.gone.contains(uid);
        };
        let status = operation.status.as_ref();
        status.is_some_and(|status| status.phase.is_finished())
    }

    /// Those nodes of a pool that are a part of it, or may become one. A node that never joined, and whose Operation is
    /// over, goes by itself: nothing is to be done about its version or its settings.
    pub fn lasting<'n>(
        &'n self,
        nodes: &'n [NodeView],
    ) -> impl Iterator<Item = &'n NodeView> + Clone {
        nodes.iter().filter(|node| {
            let made_by = node.made_by.as_ref().filter(|_| node.joining);
            !made_by.is_some_and(|uid| self.is_over(uid))
        })
    }

    /// The nodes of pools that there aren't any more, by the pools' names: somebody removed a pool's finalizer
    /// by hand. They go with the cluster.
    pub fn nodes_of_no_pool(&self) -> impl Iterator<Item = (&String, &Vec<NodeView>)> {
        let is_left = |(pool, nodes): &(&String, &Vec<NodeView>)| {
            self.pool(pool).is_none() && !nodes.is_empty()
        };
        self.observed.nodes.iter().filter(is_left)
    }

    /// The order in which the core looks at them: pools by name, Operations oldest first.
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

/// How the work of one Operation is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It goes on, and was asked to stop in that way.
    Running(Progress, Stop),
    /// It was asked to stop and has: nothing half-done is left, nothing of it acts any more.
    Stopped(Progress),
    /// It was asked to stop, and the engine refused, with these words. The engine goes on; nobody follows it
    /// until the work is started again.
    Refused(String, Progress),
    /// All that the Operation asked for is there.
    Done(Progress),
    /// It can't be done.
    Failed(OperationError, Progress),
}

impl Work {
    /// How far it is.
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

/// How far a piece of work is, and what is in its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What became of the steps; those that aren't named are as they were.
    pub steps: Vec<StepReport>,
    /// What is in its way: a reason in one word, and a message.
    pub blocked: Option<(String, String)>,
    /// What couldn't be left as it was when the work stopped: a name, such as a node's, and in whose words.
    pub left: Vec<(String, String)>,
}

/// How far one step is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// How far it is.
    pub phase: StepPhase,
    /// What is going on.
    pub message: String,
    /// How many nodes are done, of a step that is about more than one.
    pub nodes_done: Option<i32>,
    /// How far it is in percent, where the engine says so.
    pub percent: Option<i32>,
    /// What the engine calls its work on it.
    pub handle: Option<String>,
}

/// Whether the work of an Operation may go on. It only ever rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It may.
    #[default]
    No,
    /// What has begun is finished; nothing new begins.
    AfterStep,
    /// What has begun is stopped where it stands.
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
