//! The work on one pool. Each action that the rollout returns runs in its own task, until the goal is reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{Client, ResourceExt as _};
use tokio::{sync::watch, task::JoinSet};
use tracing::Instrument as _;

use crate::{
    api::{AGENT_POOL_LABEL, MADE_BY, OperationError},
    lifecycle::{Job, NodeView, PoolGoal, Progress, StepReport, Stop, join_sentences},
    machinery::clock,
    provider::Control,
};

use super::{
    Machines,
    coming_up::ComingUp,
    in_the_way, node,
    node_work::{NodeDone, NodeEnd, Shared},
    rollout::{self, NodeAction},
    soak, steps,
    stores::Stores,
    undrainable::{self, Undrained},
};

/// How long tasks may take to stop by themselves. Their requests give up before that.
const STOPPING: Duration = Duration::from_millis(1200);
/// How often the work looks again if nothing wakes it: some things become overdue only because time passes.
const LOOK: Duration = Duration::from_secs(2);

/// The work on one pool.
pub(super) struct PoolWork {
    shared: Shared,
    tasks: JoinSet<(String, Result<NodeDone, NodeEnd>)>,
    /// Nodes that a task is busy with.
    busy: BTreeSet<String>,
    /// The nodes that are being created, and since when.
    making: BTreeMap<String, Instant>,
    /// The nodes that are coming up, and since when this operator has seen that.
    coming: BTreeMap<String, Instant>,
    /// Names that are taken by nodes of other clusters.
    taken: BTreeSet<String>,
    /// The nodes that are being given up because they can't be drained.
    giving_up: BTreeSet<String>,
}

/// How the work on a pool ended.
pub(super) enum PoolEnd {
    /// The goal is reached.
    Done,
    /// All nodes were replaced, but for some that couldn't be drained. The operation fails with this error at its end.
    DoneBut(OperationError),
    /// It was asked to stop and has stopped.
    Stopped,
}

impl PoolWork {
    pub fn new(
        client: &Client,
        stores: &Stores,
        machines: &Arc<dyn Machines>,
        job: &Job,
        goal: &PoolGoal,
        control: &Control,
        force_after: Duration,
    ) -> Self {
        let shared = Shared {
            client: client.clone(),
            stores: stores.clone(),
            machines: machines.clone(),
            job: Arc::new(job.clone()),
            goal: Arc::new(goal.clone()),
            control: control.clone(),
            force_after,
            reported: Arc::default(),
            changed: watch::channel(0).0,
        };
        Self {
            shared,
            tasks: JoinSet::new(),
            busy: BTreeSet::new(),
            making: BTreeMap::new(),
            coming: BTreeMap::new(),
            taken: BTreeSet::new(),
            giving_up: BTreeSet::new(),
        }
    }

    /// Works until the goal is reached or the work is asked to stop.
    pub async fn run(mut self) -> Result<PoolEnd, OperationError> {
        let mut nodes_changed = self.shared.changes();
        let mut reports_changed = self.shared.changed.subscribe();
        let control = self.shared.control.clone();
        loop {
            let stop = control.stop();
            if stop == Stop::Now {
                self.come_to_a_stop().await;
                return Ok(PoolEnd::Stopped);
            }
            nodes_changed.mark_unchanged();
            reports_changed.mark_unchanged();
            let nodes = self.nodes();
            let views: Vec<_> = nodes.iter().filter_map(|node| node::view(node)).collect();
            let (goal, uid) = (&self.shared.goal, &self.shared.job.uid);
            let soaking = soaks_until(goal, uid, &views);
            self.report(&nodes, &views, soaking);
            let mut next = rollout::next_beside(&self.taken, goal, uid, &views, stop);
            if soaking.is_some() {
                next.actions = soak::during(next.actions, goal, uid, &views);
            }
            if next.done && self.tasks.is_empty() {
                return Ok(ended(goal, uid, &views));
            }
            if let Err(error) = self.begin(next.actions, &views) {
                self.come_to_a_stop().await;
                return Err(error);
            }
            self.join(&nodes);
            let slowest = self.slowest(&nodes);
            tokio::select! {
                _ = nodes_changed.changed() => {}
                _ = reports_changed.changed() => {}
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = self.note(ended, &views) {
                        self.come_to_a_stop().await;
                        return Err(error);
                    }
                }
                () = slowest.times_out(), if stop == Stop::No => {
                    self.come_to_a_stop().await;
                    return Err(slowest.error());
                }
                () = control.until_stop(if stop == Stop::No { Stop::AfterStep } else { Stop::Now }) => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Returns the nodes of the pool as the watch shows them, by name.
    fn nodes(&self) -> Vec<Arc<Node>> {
        let (job, pool) = (&self.shared.job, &self.shared.goal.pool);
        let mut nodes = self.shared.stores.nodes_of(&job.namespace, &job.cluster);
        nodes.retain(|node| node.labels().get(AGENT_POOL_LABEL) == Some(pool));
        nodes
    }

    fn begin(
        &mut self,
        actions: Vec<NodeAction>,
        nodes: &[NodeView],
    ) -> Result<(), OperationError> {
        for action in actions {
            let name = action.node().to_owned();
            if self.busy.contains(&name) {
                continue;
            }
            let is_creation = matches!(action, NodeAction::Create(_));
            if is_creation {
                self.check_room()?;
            }
            let step = steps::beginning(&action);
            let is_new = !rollout::has_begun(&action, &self.shared.job.uid, nodes);
            if is_new && !self.shared.control.begin(step) {
                return Ok(());
            }
            if is_creation {
                self.making.insert(name.clone(), Instant::now());
            }
            let shared = self.shared.clone();
            self.spawn(name.clone(), async move {
                match action {
                    NodeAction::Create(_) => shared.make(&name).await,
                    NodeAction::Remove(_) => Box::pin(shared.remove(&name)).await,
                    NodeAction::Update(_) => shared.update(&name).await,
                }
            });
        }
        Ok(())
    }

    fn spawn(
        &mut self,
        name: String,
        work: impl Future<Output = Result<NodeDone, NodeEnd>> + Send + 'static,
    ) {
        self.busy.insert(name.clone());
        let work = async move { (name, work.await) };
        self.tasks.spawn(work.in_current_span());
    }

    /// Checks whether the cluster may have one more node.
    fn check_room(&self) -> Result<(), OperationError> {
        let job = &self.shared.job;
        let nodes = self.shared.stores.nodes_of(&job.namespace, &job.cluster);
        let mut names: BTreeSet<_> = nodes.iter().map(|node| node.name_any()).collect();
        names.extend(self.making.keys().cloned());
        self.shared.machines.check_room(job, names.len())
    }

    /// Makes the nodes that are up part of their pool.
    fn join(&mut self, nodes: &[Arc<Node>]) {
        let uid = self.shared.job.uid.clone();
        for node in nodes {
            let name = node.name_any();
            let is_ours = node.annotations().get(MADE_BY) == Some(&uid);
            let is_due = node::is_joining(node) && node::is_ready(node);
            if is_ours && is_due && !self.busy.contains(&name) {
                let (shared, of) = (self.shared.clone(), name.clone());
                self.spawn(name, async move { shared.join(&of).await });
            }
        }
    }

    /// Returns the node of this operation that has been not Ready for the longest time.
    fn slowest(&mut self, nodes: &[Arc<Node>]) -> ComingUp {
        let uid = &self.shared.job.uid;
        let is_coming = |node: &&Arc<Node>| {
            node.annotations().get(MADE_BY) == Some(uid)
                && node.metadata.deletion_timestamp.is_none()
                && !node::is_ready(node)
        };
        let (before, now) = (std::mem::take(&mut self.coming), Instant::now());
        let coming = nodes.iter().filter(is_coming).map(|node| {
            let name = node.name_any();
            let since = before.get(&name).copied().unwrap_or(now);
            (name, since)
        });
        self.coming = coming.collect();
        let coming = self.coming.iter();
        let coming = coming.map(|(name, since)| (name.clone(), *since));
        let making = self
            .making
            .iter()
            .map(|(name, since)| (name.clone(), *since));
        ComingUp {
            node: coming.chain(making).min_by_key(|(_, since)| *since),
            timeout: self.shared.machines.patience(&self.shared.job),
        }
    }

    fn note(
        &mut self,
        ended: Result<(String, Result<NodeDone, NodeEnd>), tokio::task::JoinError>,
        nodes: &[NodeView],
    ) -> Result<(), OperationError> {
        let (name, end) = ended.map_err(|error| {
            OperationError::new(
                "InternalError",
                join_sentences(
                    &format!("the work on a node panicked: {error}"),
                    "This is a bug in Belay, please report it",
                ),
            )
        })?;
        self.busy.remove(&name);
        self.making.remove(&name);
        self.giving_up.remove(&name);
        let mut reported = self.shared.reported();
        reported.drains.remove(&name);
        reported.blocked.remove(&name);
        drop(reported);
        match end {
            Ok(NodeDone::NameTaken) => {
                self.taken.insert(name);
                Ok(())
            }
            Ok(
                NodeDone::Made
                | NodeDone::Joined
                | NodeDone::Removed
                | NodeDone::Updated
                | NodeDone::GivenUp,
            )
            | Err(NodeEnd::Stopped) => Ok(()),
            Err(NodeEnd::Undrained(undrained)) => self.give_up(*undrained, nodes),
            Err(NodeEnd::Failed(error)) => Err(error),
        }
    }

    /// Goes on without a node that can't be drained, if the pool wants that.
    fn give_up(&mut self, undrained: Undrained, nodes: &[NodeView]) -> Result<(), OperationError> {
        let (goal, uid) = (&self.shared.goal, &self.shared.job.uid);
        let how = undrainable::give_up(goal, uid, nodes, &undrained, self.giving_up.len())?;
        let mark = undrainable::mark(uid, undrained.blocked, clock::now());
        let name = undrained.node;
        self.giving_up.insert(name.clone());
        let (shared, of) = (self.shared.clone(), name.clone());
        self.spawn(name, async move { shared.give_up(&of, mark, how).await });
        Ok(())
    }

    /// Waits until all tasks have stopped. They stop by themselves. A task that hangs is dropped.
    async fn come_to_a_stop(&mut self) {
        let stopped = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOPPING, stopped).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    fn report(&self, nodes: &[Arc<Node>], views: &[NodeView], soaking: Option<Timestamp>) {
        let (job, goal) = (&self.shared.job, &self.shared.goal);
        let reported = self.shared.reported();
        let draining = |name: &str| {
            let left = reported.drains.get(name)?.left;
            Some(match left {
                0 => "draining".to_owned(),
                1 => "draining: 1 pod left".to_owned(),
                left => format!("draining: {left} pods left"),
            })
        };
        let making: Vec<_> = self.making.keys().map(String::as_str).collect();
        let seen = steps::Seen {
            nodes: views,
            making: &making,
            draining: &draining,
            soaking: soaking.map(|until| soak::message(until, clock::now())),
        };
        let mut steps = steps::report(goal, &job.uid, &job.steps, &seen);
        // This pool doesn't report the steps of other pools.
        steps.retain(|step| !self.is_of_another_pool(&step.name));
        let blocked = in_the_way::of(&self.shared, nodes, views, &reported, self.tasks.is_empty());
        drop(reported);
        let progress = Progress {
            steps,
            blocked,
            ..Progress::default()
        };
        let is_its_own = |step: &StepReport| steps::is_its_own(&job.steps, step, &job.uid, views);
        self.shared.control.report_seen(progress, is_its_own);
    }

    fn is_of_another_pool(&self, step: &str) -> bool {
        let name = step.trim_start_matches(crate::lifecycle::step_names::NODE_STEP_PREFIX);
        let node = self.shared.stores.nodes.get("", name);
        node.is_some_and(|node| node.labels().get(AGENT_POOL_LABEL) != Some(&self.shared.goal.pool))
    }
}

/// Returns how the work ended that has nothing left to do.
fn ended(goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> PoolEnd {
    if !rollout::next(goal, uid, nodes, Stop::No).done {
        return PoolEnd::Stopped;
    }
    undrainable::error(uid, nodes).map_or(PoolEnd::Done, PoolEnd::DoneBut)
}

/// Returns until when no further node is replaced. None if one may be replaced now.
fn soaks_until(goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Option<Timestamp> {
    soak::until(goal, uid, nodes).filter(|until| *until > clock::now())
}
