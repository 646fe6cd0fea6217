//! Providers that manage their nodes themselves. They create, join, cordon, drain and delete nodes one by one, as the
//! rollout says. [`Machines`] hides where the machines come from.

mod coming_up;
mod drain;
mod foresight;
mod in_the_way;
mod mend;
mod node;
mod node_work;
mod outcome;
mod pool;
pub mod preflight;
mod requests;
pub mod rollout;
mod settings;
mod soak;
pub mod steps;
mod stores;
mod undrainable;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::ListParams, runtime::reflector::ObjectRef};

use crate::{
    api::{CLUSTER_LABEL, ManagedCluster, NAMESPACE_LABEL, OperationError, Step},
    lifecycle::{
        ControlPlaneGoal, ControlPlaneView, Job, NodeView, Observation, PoolGoal, Rules, Stage,
        Stop, step_names::CONTROL_PLANE_STEP,
    },
    machinery::watches::Scope,
};

use super::{Changed, Changes, Control, End, LeftBehind, Provider};
pub use drain::{budget_in_the_way, has_to_go, pods_of, protecting_budget};
use foresight::Foresight;
use mend::Mender;
pub use mend::bounded;
use pool::{PoolEnd, PoolWork};
pub use requests::{Ended, Requests, passing, refused, was_changed};
pub use settings::{labels, taints, to_annotation};
use stores::Stores;

/// How long mending may take when work stops: the whole stop takes less than two seconds. What takes longer is mended
/// later.
const MEND_WITHIN: Duration = Duration::from_millis(500);
/// How long mending may take if nothing waits for it.
const MEND_LATER: Duration = Duration::from_secs(5);
/// How soon mending is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Where machines come from.
#[async_trait]
pub trait Machines: Send + Sync {
    /// Returns a new Node of a pool, cordoned and marked as this Operation's. It joins its pool when it is Ready.
    fn node(&self, job: &Job, goal: &PoolGoal, name: &str) -> Node;

    /// Returns how long it takes until a new machine shows as a node.
    fn takes(&self, job: &Job) -> Duration;

    /// Returns how long a node may take to be Ready.
    fn patience(&self, job: &Job) -> Duration;

    /// Checks whether a cluster that has `nodes` nodes may have one more.
    ///
    /// # Errors
    /// `QuotaExceeded` if it may not.
    fn check_room(&self, job: &Job, nodes: usize) -> Result<(), OperationError>;

    /// Returns how many nodes a cluster may have. None if any number is allowed.
    fn quota(&self, job: &Job) -> Option<usize>;

    /// Returns the control plane of a cluster as it was last seen.
    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<ControlPlaneView>;

    /// Returns whether the first look at the control planes is complete.
    fn is_ready(&self) -> bool;

    /// Waits until the first look at the control planes is complete.
    async fn ready(&self);

    /// Brings the control plane to the goal, or deletes it if there is no goal. If it doesn't get there, the control
    /// plane is released afterwards.
    async fn bring_control_plane_to(
        &self,
        job: &Job,
        goal: Option<ControlPlaneGoal>,
        control: &Control,
    ) -> Result<End, OperationError>;

    /// Returns the uid of the Operation that is working on a control plane, as it was last seen.
    fn in_work_of(&self, namespace: &str, cluster: &str) -> Option<String>;

    /// Makes sure that these Operations, given by uid, no longer change the control plane. This includes requests in
    /// flight from an operator that died. It tries once.
    ///
    /// # Errors
    /// The error message if that failed.
    async fn release_control_plane(
        &self,
        namespace: &str,
        cluster: &str,
        uids: &BTreeSet<String>,
    ) -> Result<(), String>;
}

/// A provider that manages the nodes of its machines itself.
pub struct NodeProvider {
    client: Client,
    stores: Stores,
    machines: Arc<dyn Machines>,
    force_after: Duration,
    changes: Changes,
}

impl NodeProvider {
    /// Returns a provider on the cluster that `client` reaches, for the clusters of these namespaces, and the future
    /// that keeps its watches running. `machines` sends the clusters whose control planes changed.
    ///
    /// `client` must not retry by itself: if a PDB refuses an eviction, that has to be reported, not repeated.
    /// `force_after` is how long a PDB has to refuse an eviction before a force deletes the pod.
    pub fn new<M: Machines + 'static>(
        client: Client,
        scope: &Scope,
        force_after: Duration,
        machines: impl FnOnce(Changed) -> (M, BoxFuture<'static, ()>),
    ) -> (Self, BoxFuture<'static, ()>) {
        let (changed, changes) = Changes::new();
        let (stores, nodes) = Stores::new(&client, scope, changed.clone());
        let (machines, control_planes) = machines(changed);
        let provider = Self {
            client,
            stores,
            machines: Arc::new(machines),
            force_after,
            changes,
        };
        let watching = futures::future::join(nodes, control_planes);
        (provider, watching.map(|_| ()).boxed())
    }

    /// Mends everything that is in the middle of the work of these Operations, given by uid, as far as `within` allows.
    /// It mends the control plane only if `has_control_plane` is true. Returns what is left.
    async fn leave_nothing(
        &self,
        (namespace, cluster): (&str, &str),
        uids: &BTreeSet<String>,
        has_control_plane: bool,
        within: Duration,
    ) -> LeftBehind {
        let mender = Mender::new(&self.client, namespace, cluster);
        let release = || async {
            if !has_control_plane {
                return Ok(());
            }
            let machines = &self.machines;
            machines
                .release_control_plane(namespace, cluster, uids)
                .await
        };
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let (mut left, released) = tokio::join!(mender.mend(uids).boxed(), release());
            let control_plane = released.err();
            left.extend(control_plane.map(|words| (CONTROL_PLANE_STEP.to_owned(), words)));
            if left.is_empty() || tokio::time::Instant::now() + PAUSE >= deadline {
                return left;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns what is known of a job before it begins. None if it drains no node, or if that is reported already.
    fn foresight(&self, job: &Job) -> Option<Foresight> {
        if job.has_preflight {
            return None;
        }
        let (namespace, cluster) = (&*job.namespace, &*job.cluster);
        let control_plane = self.machines.control_plane(namespace, cluster);
        let nodes = self.stores.nodes_of(namespace, cluster);
        Foresight::of(
            job,
            &node::by_pool(nodes.iter().map(AsRef::as_ref)),
            control_plane.map(|view| view.version),
            self.machines.quota(job),
            || self.stores.budgets.of(&stores::all_budgets()),
        )
    }

    async fn stages(&self, job: &Job, control: &Control) -> Result<End, OperationError> {
        let mut undrained = None;
        for stage in &job.stages {
            if control.stop() == Stop::Now {
                return Ok(End::Stopped);
            }
            let end = match stage {
                Stage::ControlPlane(goal) => {
                    let machines = &self.machines;
                    machines.bring_control_plane_to(job, *goal, control).await?
                }
                // There is no engine at which others could have begun work.
                Stage::Follow(_) => End::Done,
                Stage::Pool(goal) => match self.pool(job, goal, control).await? {
                    PoolEnd::Done => End::Done,
                    PoolEnd::DoneBut(error) => {
                        undrained = Some(undrainable::join(undrained, error));
                        End::Done
                    }
                    PoolEnd::Stopped => End::Stopped,
                },
            };
            if end == End::Stopped {
                return Ok(end);
            }
        }
        undrained.map_or(Ok(End::Done), Err)
    }

    async fn pool(
        &self,
        job: &Job,
        goal: &PoolGoal,
        control: &Control,
    ) -> Result<PoolEnd, OperationError> {
        let (client, stores, machines) = (&self.client, &self.stores, &self.machines);
        let after = self.force_after;
        let work = PoolWork::new(client, stores, machines, job, goal, control, after);
        work.run().await
    }
}

#[async_trait]
impl Provider for NodeProvider {
    fn rules(&self) -> &'static dyn Rules {
        &NodeByNode
    }

    fn observe(&self, cluster: &ManagedCluster) -> Option<Observation> {
        let metadata = &cluster.metadata;
        let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
        self.is_ready().then(|| Observation {
            control_plane: self.machines.control_plane(namespace, name),
            in_work_of: self
                .machines
                .in_work_of(namespace, name)
                .into_iter()
                .collect(),
            nodes: node::by_pool(
                self.stores
                    .nodes_of(namespace, name)
                    .iter()
                    .map(AsRef::as_ref),
            ),
            ..Observation::default()
        })
    }

    fn is_ready(&self) -> bool {
        self.stores.are_ready() && self.machines.is_ready()
    }

    async fn ready(&self) {
        self.stores.ready().await;
        self.machines.ready().await;
    }

    fn nodes(&self) -> Vec<(ObjectRef<ManagedCluster>, Vec<String>)> {
        self.stores.by_cluster()
    }

    fn forget(&self, _: &ObjectRef<ManagedCluster>) {}

    fn changes(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>> {
        self.changes.take()
    }

    async fn run(&self, job: &Job, control: &Control) -> Result<End, OperationError> {
        tokio::select! {
            () = self.ready() => {}
            () = control.until_stop(Stop::Now) => {}
        }
        let end = match self.foresight(job) {
            Some(foresight) => {
                let (look, work) = (foresight.look(&self.client), self.stages(job, control));
                preflight::beside((job, control), look, work).await
            }
            None => self.stages(job, control).await,
        };
        // Work that is done leaves nothing half-done. Work that stopped or failed may.
        if end != Ok(End::Done) {
            let uids = BTreeSet::from([job.uid.clone()]);
            let is_control_plane = |stage: &Stage| matches!(stage, Stage::ControlPlane(_));
            let has_control_plane = job.stages.iter().any(is_control_plane);
            let of = (&*job.namespace, &*job.cluster);
            let left = self.leave_nothing(of, &uids, has_control_plane, MEND_WITHIN);
            let left = left.await;
            control.leave(left);
        }
        end
    }

    async fn mend(&self, namespace: &str, cluster: &str, uids: &BTreeSet<String>) -> LeftBehind {
        self.leave_nothing((namespace, cluster), uids, true, MEND_LATER)
            .await
    }

    async fn mend_abandoned(&self, cluster: &ObjectRef<ManagedCluster>) {
        let namespace = cluster.namespace.as_deref().unwrap_or_default();
        let nodes = self.stores.nodes_of(namespace, &cluster.name);
        let uids = nodes.iter().flat_map(|node| node::in_work_of(node));
        let uids: BTreeSet<_> = uids.map(ToOwned::to_owned).collect();
        if !uids.is_empty() {
            self.leave_nothing((namespace, &cluster.name), &uids, false, MEND_LATER)
                .await;
        }
    }
}

/// Returns the nodes that carry a cluster's labels, read from the API server. It is for callers that look once, without
/// watches.
///
/// # Errors
/// If they can't be read.
pub async fn look(
    client: &Client,
    namespace: &str,
    cluster: &str,
) -> kube::Result<BTreeMap<String, Vec<NodeView>>> {
    let ours = format!("{CLUSTER_LABEL}={cluster},{NAMESPACE_LABEL}={namespace}");
    let nodes = Api::<Node>::all(client.clone());
    let listed = nodes.list(&ListParams::default().labels(&ours)).await?;
    Ok(node::by_pool(listed.items))
}

/// The rules of a provider that manages its nodes itself.
#[derive(Debug)]
pub struct NodeByNode;

impl Rules for NodeByNode {
    fn instead_of_force(&self) -> Option<&'static str> {
        None
    }

    fn steps(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView], most: usize) -> Vec<Step> {
        steps::plan(goal, uid, nodes, most)
    }

    fn drained(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Vec<String> {
        if goal.drain {
            rollout::removed(goal, uid, nodes)
        } else {
            Vec::new()
        }
    }

    fn outcome(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        let mut nodes = nodes.to_vec();
        outcome::roll_out(&mut nodes, goal, uid);
        nodes
    }
}
