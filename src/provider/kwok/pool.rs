//! The work on one pool: what the rollout says next is done to each node in a task of its own, until the
//! goal is reached.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::{Client, ResourceExt as _, runtime::reflector::ObjectRef};
use tokio::{sync::watch, task::JoinSet};
use tracing::Instrument as _;

use crate::{
    api::OperationError,
    lifecycle::{
        Job, NodeView, PoolGoal, Progress, Stop, node_steps,
        rollout::{self, NodeAction},
    },
    provider::{Control, End},
};

use super::{
    coming_up::ComingUp,
    node_work::{NodeDone, NodeEnd, Shared},
    nodes, quota,
    stores::Stores,
};

/// How long tasks may take to come to a stop by themselves. Their requests give up before.
const STOPPING: Duration = Duration::from_millis(1200);

/// The work on one pool.
pub(super) struct PoolWork {
    shared: Shared,
    tasks: JoinSet<(String, Result<NodeDone, NodeEnd>)>,
    /// Nodes that a task is busy with.
    busy: BTreeSet<String>,
    /// Nodes that were made and aren't seen yet.
    unseen: BTreeSet<String>,
    /// Nodes whose machines were brought up, and may be seen down still.
    up: BTreeSet<String>,
    /// Nodes that were deleted and may be seen still.
    gone: BTreeSet<String>,
    /// Whether one of those is seen as if it were to stay.
    lags: bool,
}

impl PoolWork {
    pub fn new(
        client: &Client,
        stores: &Stores,
        job: &Job,
        goal: &PoolGoal,
        control: &Control,
    ) -> Self {
        let shared = Shared {
            client: client.clone(),
            stores: stores.clone(),
            job: Arc::new(job.clone()),
            goal: Arc::new(goal.clone()),
            control: control.clone(),
            draining: Arc::default(),
            drains_changed: watch::channel(0).0,
        };
        Self {
            shared,
            tasks: JoinSet::new(),
            busy: BTreeSet::new(),
            unseen: BTreeSet::new(),
            up: BTreeSet::new(),
            gone: BTreeSet::new(),
            lags: false,
        }
    }

    /// Works until the goal is reached or the work is told to stop.
    pub async fn run(mut self) -> Result<End, OperationError> {
        let mut nodes_changed = self.shared.stores.watch_nodes();
        let mut drains_changed = self.shared.drains_changed.subscribe();
        let control = self.shared.control.clone();
        loop {
            let stop = control.stop();
            if stop == Stop::Now {
                self.come_to_a_stop().await;
                return Ok(End::Stopped);
            }
            nodes_changed.mark_unchanged();
            let nodes = self.nodes();
            self.report(&nodes);
            let (goal, uid) = (&self.shared.goal, &self.shared.job.uid);
            let next = rollout::next(goal, uid, &nodes, stop);
            // What ends is judged by what the watch has seen: were a deleted node seen still, the pool would
            // need the same again.
            if next.done && self.tasks.is_empty() && !self.lags {
                let is_reached = rollout::next(goal, uid, &nodes, Stop::No).done;
                return Ok(if is_reached { End::Done } else { End::Stopped });
            }
            if let Err(error) = self.begin(next.actions, &nodes) {
                self.come_to_a_stop().await;
                return Err(error);
            }
            self.bring_up(&nodes);
            let slowest = self.slowest(&nodes);
            tokio::select! {
                _ = nodes_changed.changed() => {}
                _ = drains_changed.changed() => {}
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = self.note(ended) {
                        self.come_to_a_stop().await;
                        return Err(error);
                    }
                }
                () = slowest.times_out(), if stop == Stop::No => {
                    self.come_to_a_stop().await;
                    return Err(slowest.error());
                }
                () = control.told(if stop == Stop::No { Stop::AfterStep } else { Stop::Now }) => {}
            }
        }
    }

    /// The nodes of the pool as they are known: seen by the watch, less what was deleted since.
    fn nodes(&mut self) -> Vec<NodeView> {
        let job = &self.shared.job;
        let mut pools = nodes::by_pool(&self.shared.stores, &job.namespace, &job.cluster);
        let mut nodes = pools.remove(&self.shared.goal.pool).unwrap_or_default();
        self.unseen
            .retain(|name| !nodes.iter().any(|node| node.name == *name));
        self.gone
            .retain(|name| nodes.iter().any(|node| node.name == *name));
        self.lags = nodes
            .iter()
            .any(|node| !node.deleting && self.gone.contains(&node.name));
        nodes.retain(|node| !self.gone.contains(&node.name));
        nodes
    }

    fn begin(
        &mut self,
        actions: Vec<NodeAction>,
        nodes: &[NodeView],
    ) -> Result<(), OperationError> {
        for action in actions {
            let name = action.node().to_owned();
            if self.unseen.contains(&name) || self.busy.contains(&name) {
                continue;
            }
            if matches!(action, NodeAction::Create(_)) {
                let (shared, coming) = (&self.shared, self.busy.union(&self.unseen));
                quota::check(&shared.stores, &shared.job, coming)?;
            }
            let step = node_steps::beginning(&action);
            let is_new = !rollout::has_begun(&action, &self.shared.job.uid, nodes);
            if is_new && !self.shared.control.begin(step) {
                return Ok(());
            }
            self.busy.insert(name.clone());
            let shared = self.shared.clone();
            let work = async move {
                let end = match action {
                    NodeAction::Create(_) => shared.make(&name).await,
                    NodeAction::Remove(_) => shared.remove(&name).await,
                    NodeAction::Update(_) => shared.update(&name).await,
                };
                (name, end)
            };
            self.tasks.spawn(work.in_current_span());
        }
        Ok(())
    }

    /// The node of this operation that hasn't been Ready for longest.
    fn slowest(&self, nodes: &[NodeView]) -> ComingUp {
        let timeout = self.shared.job.provider.kwok.as_ref();
        let uid = &self.shared.job.uid;
        let coming = nodes
            .iter()
            .filter(|node| node.made_by.as_ref() == Some(uid) && !node.ready && !node.deleting)
            .map(|node| {
                let seen = self.shared.stores.nodes.get(&ObjectRef::new(&node.name));
                let told = seen.and_then(|node| nodes::told_unready_since(&node));
                (node.name.clone(), told.unwrap_or(node.created))
            });
        ComingUp {
            node: coming.min_by_key(|(_, since)| *since),
            timeout: timeout
                .map(|kwok| kwok.node_provisioning_timeout.into())
                .unwrap_or_default(),
        }
    }

    /// Brings up the machines of nodes that were made before a restart.
    fn bring_up(&mut self, nodes: &[NodeView]) {
        let uid = self.shared.job.uid.clone();
        for node in nodes
            .iter()
            .filter(|node| node.made_by.as_deref() == Some(&uid) && !node.ready)
        {
            let seen = self.shared.stores.nodes.get(&ObjectRef::new(&node.name));
            let is_down = seen.as_ref().is_some_and(|node| !nodes::is_up(node));
            let is_due = is_down && !self.up.contains(&node.name);
            if let (true, Some(seen)) = (is_due && self.busy.insert(node.name.clone()), seen) {
                let (shared, name) = (self.shared.clone(), node.name.clone());
                let work = async move {
                    let end = shared.bring_up(&seen).await;
                    (name, end)
                };
                self.tasks.spawn(work.in_current_span());
            }
        }
    }

    fn note(
        &mut self,
        ended: Result<(String, Result<NodeDone, NodeEnd>), tokio::task::JoinError>,
    ) -> Result<(), OperationError> {
        let (name, end) = ended.map_err(|error| OperationError {
            code: "InternalError".into(),
            message: format!("the work on a node broke off: {error}"),
            ..OperationError::default()
        })?;
        self.busy.remove(&name);
        self.shared.drains().remove(&name);
        match end {
            Ok(NodeDone::Made) => {
                self.up.insert(name.clone());
                self.unseen.insert(name);
            }
            Ok(NodeDone::Found) => {
                self.unseen.insert(name);
            }
            Ok(NodeDone::Removed) => {
                self.gone.insert(name);
            }
            Ok(NodeDone::Updated) | Err(NodeEnd::Stopped) => {}
            Err(NodeEnd::Failed(error)) => return Err(error),
        }
        Ok(())
    }

    /// Waits until no task acts any more. They stop by themselves; what hangs is dropped.
    async fn come_to_a_stop(&mut self) {
        let stopped = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOPPING, stopped).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    /// What is in the way where a node of this operation tells that it isn't Ready, rather than that it is
    /// coming up.
    fn unready(&self, nodes: &[NodeView]) -> Option<(String, String)> {
        let node = nodes.iter().find(|node| {
            let seen = self.shared.stores.nodes.get(&ObjectRef::new(&node.name));
            let is_told = seen.is_some_and(|node| nodes::told_unready_since(&node).is_some());
            node.made_by.as_ref() == Some(&self.shared.job.uid) && !node.deleting && is_told
        })?;
        let message = format!("node {} is no longer Ready", node.name);
        Some(("NodeNotReady".to_owned(), message))
    }

    fn report(&self, nodes: &[NodeView]) {
        let (job, goal) = (&self.shared.job, &self.shared.goal);
        let drains = self.shared.drains();
        let draining = |name: &str| {
            drains.get(name).map(|draining| match draining.left {
                0 => "draining".to_owned(),
                1 => "draining: 1 pod left".to_owned(),
                left => format!("draining: {left} pods left"),
            })
        };
        let mut steps = node_steps::report(goal, &job.uid, &job.steps, nodes, &draining);
        // Steps of other pools aren't this one's to tell.
        let is_other = |name: &str| {
            let seen = self
                .shared
                .stores
                .nodes
                .get(&ObjectRef::new(name.trim_start_matches("node/")));
            seen.is_some_and(|node| {
                node.labels().get(crate::api::AGENT_POOL_LABEL) != Some(&goal.pool)
            })
        };
        steps.retain(|step| !is_other(&step.name));
        let blocked = drains
            .values()
            .find_map(|draining| draining.blocked.clone())
            .or_else(|| {
                let is_idle = self.tasks.is_empty();
                is_idle
                    .then(|| rollout::waits_for(goal, &job.uid, nodes))
                    .flatten()
            })
            .or_else(|| self.unready(nodes));
        drop(drains);
        self.shared.control.report(Progress { steps, blocked });
    }
}
