//! The work on one pool: what the rollout says next is done to each node in a task of its own, until the
//! goal is reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::reflector::ObjectRef,
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    api::OperationError,
    controller::{FIELD_MANAGER, clock},
    lifecycle::{
        Job, NodeView, PoolGoal, Progress, Stop,
        rollout::{self, NodeAction},
    },
    provider::{Control, End},
};

use super::{
    drain::{Drain, DrainEnd, Draining},
    nodes,
    retry::{Ended, answered, refused},
    stores::Stores,
};

/// How long tasks may take to come to a stop by themselves. Their requests give up before.
const STOPPING: Duration = Duration::from_millis(1200);

/// What the tasks of a pool share.
#[derive(Clone)]
struct Shared {
    client: Client,
    stores: Stores,
    job: Arc<Job>,
    goal: Arc<PoolGoal>,
    control: Control,
    draining: Arc<Mutex<BTreeMap<String, Draining>>>,
    drains_changed: watch::Sender<u64>,
}

/// The work on one pool.
pub(super) struct PoolWork {
    shared: Shared,
    tasks: JoinSet<(String, Result<NodeEnd, DrainEnd>)>,
    /// Nodes that a task is busy with.
    busy: BTreeSet<String>,
    /// Nodes that were made and aren't seen yet.
    unseen: BTreeSet<String>,
    /// Nodes that were deleted and may be seen still.
    gone: BTreeSet<String>,
}

/// How a task on a node ended.
enum NodeEnd {
    Made,
    Removed,
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
            gone: BTreeSet::new(),
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
            let next = rollout::next(&self.shared.goal, &self.shared.job.uid, &nodes, stop);
            if next.done && self.tasks.is_empty() {
                return Ok(if stop == Stop::No {
                    End::Done
                } else {
                    End::Stopped
                });
            }
            self.begin(next.actions);
            self.bring_up(&nodes);
            tokio::select! {
                _ = nodes_changed.changed() => {}
                _ = drains_changed.changed() => {}
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(error) = self.note(ended) {
                        self.come_to_a_stop().await;
                        return Err(error);
                    }
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
        nodes.retain(|node| !self.gone.contains(&node.name));
        nodes
    }

    fn begin(&mut self, actions: Vec<NodeAction>) {
        for action in actions {
            let (NodeAction::Create(name) | NodeAction::Remove(name)) = &action;
            if self.unseen.contains(name) || !self.busy.insert(name.clone()) {
                continue;
            }
            let (shared, name) = (self.shared.clone(), name.clone());
            self.tasks.spawn(async move {
                let end = match action {
                    NodeAction::Create(_) => shared.make(&name).await,
                    NodeAction::Remove(_) => shared.remove(&name).await,
                };
                (name, end)
            });
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
            if let (true, Some(seen)) = (is_down && self.busy.insert(node.name.clone()), seen) {
                let (shared, name) = (self.shared.clone(), node.name.clone());
                self.tasks.spawn(async move {
                    let end = shared.bring_up(&seen).await;
                    (name, end)
                });
            }
        }
    }

    fn note(
        &mut self,
        ended: Result<(String, Result<NodeEnd, DrainEnd>), tokio::task::JoinError>,
    ) -> Result<(), OperationError> {
        let (name, end) = ended.map_err(|error| OperationError {
            code: "InternalError".into(),
            message: format!("the work on a node broke off: {error}"),
            ..OperationError::default()
        })?;
        self.busy.remove(&name);
        self.shared.drains().remove(&name);
        match end {
            Ok(NodeEnd::Made) => {
                self.unseen.insert(name);
            }
            Ok(NodeEnd::Removed) => {
                self.gone.insert(name);
            }
            Err(DrainEnd::Stopped) => {}
            Err(DrainEnd::Failed(error)) => return Err(error),
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
        let mut steps = rollout::report(goal, &job.uid, &job.steps, nodes, &draining);
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
            .find_map(|draining| draining.blocked.clone());
        drop(drains);
        self.shared.control.report(Progress { steps, blocked });
    }
}

impl Shared {
    fn drains(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Draining>> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    async fn make(&self, name: &str) -> Result<NodeEnd, DrainEnd> {
        let takes = self
            .job
            .provider
            .kwok
            .as_ref()
            .map(|kwok| Duration::from(kwok.node_provisioning_time));
        let up_at = clock::now() + takes.unwrap_or_default();
        let node = nodes::make(&self.job, &self.goal, name, up_at);
        let (api, params) = (
            self.api(),
            PostParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..PostParams::default()
            },
        );
        let made = answered(&self.control, "create a node", || {
            api.create(&params, &node)
        })
        .await;
        match made {
            Ok(_) => {}
            // It was made before a crash, or by a request whose answer was lost.
            Err(Ended::Refused(status)) if status.code == 409 => return Ok(NodeEnd::Made),
            Err(ended) => return Err(node_end(&format!("create node {name}"), ended)),
        }
        self.bring_up(&node).await
    }

    /// Waits for the machine to be up, then lets kwok keep the node alive.
    async fn bring_up(&self, node: &Node) -> Result<NodeEnd, DrainEnd> {
        let left = nodes::provisioned_at(node).duration_since(clock::now());
        tokio::select! {
            () = tokio::time::sleep(Duration::try_from(left).unwrap_or_default()) => {}
            () = self.control.told(Stop::Now) => return Err(DrainEnd::Stopped),
        }
        let (api, name, params, patch) = (self.api(), node.name_any(), params(), nodes::up_patch());
        match answered(&self.control, "bring a node up", || {
            api.patch(&name, &params, &patch)
        })
        .await
        {
            Ok(_) => Ok(NodeEnd::Made),
            Err(Ended::Refused(status)) if status.code == 404 => Ok(NodeEnd::Made),
            Err(ended) => Err(node_end(&format!("bring node {name} up"), ended)),
        }
    }

    /// Cordons, drains and deletes a node.
    async fn remove(&self, name: &str) -> Result<NodeEnd, DrainEnd> {
        let api = self.api();
        let Some(node) = self.cordon(&api, name).await? else {
            return Ok(NodeEnd::Removed);
        };
        if self.goal.drain {
            self.drain(&node).await?;
        }
        if self.control.stop() == Stop::Now {
            return Err(DrainEnd::Stopped);
        }
        let this = Preconditions {
            uid: node.uid(),
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(this),
            ..DeleteParams::default()
        };
        let deleted = answered(&self.control, "delete a node", || async {
            api.delete(name, &params).await.map(|_| ())
        });
        match deleted.await {
            Ok(()) => Ok(NodeEnd::Removed),
            Err(Ended::Refused(status)) if matches!(status.code, 404 | 409) => Ok(NodeEnd::Removed),
            Err(ended) => Err(node_end(&format!("delete node {name}"), ended)),
        }
    }

    /// The node, cordoned for this operation; none where there is no such node any more. Someone else may
    /// write to it at the same time; then it is read and tried again.
    async fn cordon(&self, api: &Api<Node>, name: &str) -> Result<Option<Node>, DrainEnd> {
        loop {
            let read = answered(&self.control, "read a node", || api.get_opt(name)).await;
            let Some(node) = read.map_err(|ended| node_end("read a node", ended))? else {
                return Ok(None);
            };
            let patch = Patch::Merge(nodes::cordon(&node, &self.job, clock::now()));
            let params = params();
            match answered(&self.control, "cordon a node", || {
                api.patch(name, &params, &patch)
            })
            .await
            {
                Ok(node) => return Ok(Some(node)),
                Err(Ended::Refused(status)) if matches!(status.code, 404 | 409) => {}
                Err(ended) => return Err(node_end(&format!("cordon node {name}"), ended)),
            }
        }
    }

    async fn drain(&self, node: &Node) -> Result<(), DrainEnd> {
        let name = node.name_any();
        self.tell(&name, Draining::default());
        let since = node
            .annotations()
            .get(nodes::DRAINED_SINCE)
            .and_then(|since| since.parse().ok());
        let drain = Drain {
            client: &self.client,
            stores: &self.stores,
            control: &self.control,
            node: &name,
            deadline: since.unwrap_or_else(clock::now) + self.goal.drain_timeout,
            timeout: self.goal.drain_timeout,
            report: &|draining| self.tell(&name, draining),
        };
        drain.run().await
    }

    fn tell(&self, node: &str, draining: Draining) {
        self.drains().insert(node.to_owned(), draining);
        self.drains_changed.send_modify(|changes| *changes += 1);
    }
}

fn node_end(what: &str, ended: Ended) -> DrainEnd {
    match ended {
        Ended::Stopped => DrainEnd::Stopped,
        Ended::Refused(status) => DrainEnd::Failed(refused(what, &status)),
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}
