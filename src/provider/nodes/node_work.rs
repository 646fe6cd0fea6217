//! The work on one node: it is created, given its pool's settings, or drained and deleted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt as _, api::Patch};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    api::OperationError,
    lifecycle::{Job, PoolGoal, Stop, Undrainable},
    machinery::{delete_params_as_read, patch_params, post_params, versions::version},
    provider::{Control, requests::Blocked},
};

use super::{
    Machines,
    drain::{Drain, Draining},
    node,
    requests::{Ended, Requests, refused, was_changed},
    settings,
    stores::Stores,
    undrainable::{GiveUp, Undrained},
};

/// How often Belay checks whether a node that no watch has shown is gone.
const LOOK: Duration = Duration::from_secs(2);

/// What the tasks of a pool share.
#[derive(Clone)]
pub(super) struct Shared {
    pub client: Client,
    pub stores: Stores,
    pub machines: Arc<dyn Machines>,
    pub job: Arc<Job>,
    pub goal: Arc<PoolGoal>,
    pub control: Control,
    /// How long a budget has to refuse an eviction before a force deletes the pod.
    pub force_after: Duration,
    pub reported: Arc<Mutex<Reported>>,
    pub changed: watch::Sender<u64>,
}

/// What the tasks report, by node.
#[derive(Default)]
pub(super) struct Reported {
    /// How far the drains are.
    pub drains: BTreeMap<String, Draining>,
    /// What blocks anything else.
    pub blocked: BTreeMap<String, Blocked>,
}

/// What was done to a node.
pub(super) enum NodeDone {
    /// It was created, now or before.
    Made,
    /// A node that isn't of this cluster has its name.
    NameTaken,
    /// It is part of its pool.
    Joined,
    /// It was drained, and its deletion is under way.
    Removed,
    /// It has its pool's settings.
    Updated,
    /// It couldn't be drained, and is marked so.
    GivenUp,
}

/// Why the work on a node wasn't completed.
#[derive(Debug)]
pub(super) enum NodeEnd {
    /// It was asked to stop.
    Stopped,
    /// The node can't be drained.
    Undrained(Box<Undrained>),
    /// It can't be done.
    Failed(OperationError),
}

impl Shared {
    /// Returns what the tasks report.
    pub fn reported(&self) -> MutexGuard<'_, Reported> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Creates a node. It is cordoned at first: it isn't part of its pool before it is up and has joined.
    pub async fn make(&self, name: &str) -> Result<NodeDone, NodeEnd> {
        tokio::select! {
            () = tokio::time::sleep(self.machines.takes(&self.job)) => {}
            () = self.control.until_stop(Stop::Now) => return Err(NodeEnd::Stopped),
        }
        let node = self.machines.node(&self.job, &self.goal, name);
        let (api, params) = (self.api(), post_params());
        let what = format!("create node {name}");
        let made = self
            .request(name, &what, || async { api.create(&params, &node).await })
            .await;
        match made {
            Ok(_) => tracing::info!(node = name, version = %self.goal.version, "node created"),
            Err(Ended::Refused(status)) if status.code == 409 => {
                // It was created before a crash, or by a request whose answer was lost; or it isn't ours.
                if self.read(name).await?.is_none() {
                    tracing::info!(
                        node = name,
                        "a node of another cluster already has this name, using another name"
                    );
                    return Ok(NodeDone::NameTaken);
                }
            }
            Err(ended) => return Err(node_end(&what, ended)),
        }
        self.until_shown(name).await?;
        Ok(NodeDone::Made)
    }

    /// Waits until the watch shows a node that was created, or until the node is gone: someone may delete it before.
    async fn until_shown(&self, name: &str) -> Result<(), NodeEnd> {
        let gone = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if self.read(name).await?.is_none() {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            end = self.while_shown(name, |seen| seen.is_none()) => end,
            end = gone => end,
        }
    }

    /// Waits while `is_so` returns true for the node that the watch shows. It gets None if the watch shows no node of
    /// that name.
    async fn while_shown(
        &self,
        name: &str,
        is_so: impl Fn(Option<&Node>) -> bool,
    ) -> Result<(), NodeEnd> {
        let mut changes = self.changes();
        while is_so(self.stores.nodes.get("", name).as_deref()) {
            tokio::select! {
                _ = changes.changed() => {}
                () = self.control.until_stop(Stop::Now) => return Err(NodeEnd::Stopped),
            }
        }
        Ok(())
    }

    /// Waits while the watch shows exactly this node, and `is_so` returns true for it.
    async fn while_it_is(&self, node: &Node, is_so: impl Fn(&Node) -> bool) -> Result<(), NodeEnd> {
        let is_it = |seen: &Node| seen.uid() == node.uid() && is_so(seen);
        self.while_shown(&node.name_any(), |seen| seen.is_some_and(is_it))
            .await
    }

    /// Makes a node that is up part of its pool.
    pub async fn join(&self, name: &str) -> Result<NodeDone, NodeEnd> {
        let patch = |node: &Node| node::is_joining(node).then(|| node::join(node));
        self.change(name, "join", patch).await?;
        tracing::info!(node = name, "node joined");
        Ok(NodeDone::Joined)
    }

    /// Gives a node its pool's settings.
    pub async fn update(&self, name: &str) -> Result<NodeDone, NodeEnd> {
        let patch = |node: &Node| Some(settings::update(node, &self.goal.settings));
        self.change(name, "update", patch).await?;
        Ok(NodeDone::Updated)
    }

    /// Cordons, drains and deletes a node.
    ///
    /// The node is deleted as it was read: cordoned and marked as this Operation's. After that read, a complete list of
    /// its pods has to show that none is left. If the node or its pods have changed since, the removal begins again.
    pub async fn remove(&self, name: &str) -> Result<NodeDone, NodeEnd> {
        let api = self.api();
        while let Some(node) = self.cordon(name).await? {
            if self.goal.drain && !self.drain(&node).await? {
                continue;
            }
            let Some(node) = self.read(name).await? else {
                return Ok(NodeDone::Removed);
            };
            let is_going = node.metadata.deletion_timestamp.is_some();
            if !node::is_drained_by(&node, &self.job.uid)
                || (!is_going && !self.is_empty(&node).await?)
            {
                continue;
            }
            if is_going {
                return Ok(NodeDone::Removed);
            }
            if self.control.stop() == Stop::Now {
                return Err(NodeEnd::Stopped);
            }
            let (params, what) = (delete_params_as_read(&node), format!("delete node {name}"));
            let deleted = self.request(name, &what, || async {
                api.delete(name, &params).await.map(|_| ())
            });
            match deleted.await {
                Ok(()) => {
                    tracing::info!(node = name, "node deleted");
                    let stays = |seen: &Node| seen.metadata.deletion_timestamp.is_none();
                    self.while_it_is(&node, stays).await?;
                    return Ok(NodeDone::Removed);
                }
                Err(Ended::Refused(status)) if status.code == 404 => return Ok(NodeDone::Removed),
                // It was changed since it was read.
                Err(Ended::Refused(status)) if status.code == 409 => {}
                Err(ended) => return Err(node_end(&what, ended)),
            }
        }
        Ok(NodeDone::Removed)
    }

    /// Marks a node that this operation can't drain, and goes on without it.
    pub async fn give_up(
        &self,
        name: &str,
        undrainable: Undrainable,
        how: GiveUp,
    ) -> Result<NodeDone, NodeEnd> {
        let is_quarantined = how == GiveUp::Quarantine;
        let patch = |node: &Node| {
            node::is_drained_by(node, &self.job.uid)
                .then(|| node::give_up(node, &undrainable, is_quarantined))
        };
        self.change(name, "give up the drain of", patch).await?;
        tracing::warn!(
            node = name,
            is_quarantined,
            reason = undrainable.reason,
            message = undrainable.message,
            "the node could not be drained, going on with the others"
        );
        Ok(NodeDone::GivenUp)
    }

    /// Returns whether the API server shows no pod on the node that has to go first.
    async fn is_empty(&self, node: &Node) -> Result<bool, NodeEnd> {
        if !self.goal.drain {
            return Ok(true);
        }
        let (api, name) = (Api::all(self.client.clone()), node.name_any());
        let of_node = super::drain::pods_of(&name);
        let what = format!("list the pods of node {name}");
        let listed = self.request(&name, &what, || api.list(&of_node)).await;
        let pods = listed.map_err(|ended| node_end(&what, ended))?;
        Ok(!pods.items.iter().any(super::drain::has_to_go))
    }

    /// Returns the node, cordoned for this operation. None if the node no longer exists.
    async fn cordon(&self, name: &str) -> Result<Option<Node>, NodeEnd> {
        let uid = &self.job.uid;
        loop {
            let patch = |node: &Node| {
                let is_of_another = node::in_work_of(node).any(|by| by != uid);
                let needs_it = !is_of_another && !node::is_drained_by(node, uid);
                needs_it.then(|| node::cordon(node, uid))
            };
            let Some(node) = self.change(name, "cordon", patch).await? else {
                return Ok(None);
            };
            if node::is_drained_by(&node, uid) {
                tracing::info!(node = name, "node cordoned");
                return Ok(Some(node));
            }
            self.wait_for_another(&node).await?;
        }
    }

    /// Waits because the node carries another Operation's mark, although that Operation has ended. What it left is
    /// mended first.
    async fn wait_for_another(&self, node: &Node) -> Result<(), NodeEnd> {
        let name = node.name_any();
        let others: Vec<_> = node::in_work_of(node).collect();
        let message = format!(
            "node {name} is still marked by another Operation ({})",
            others.join(", ")
        );
        self.report(&name, Some(("NodeInUse".into(), message)));
        let mut changes = self.changes();
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(super::drain::RETRY) => {}
            () = self.control.until_stop(Stop::Now) => return Err(NodeEnd::Stopped),
        }
        self.report(&name, None);
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<Option<Node>, NodeEnd> {
        let (api, what) = (self.api(), format!("read node {name}"));
        let read = self.request(name, &what, || api.get_opt(name)).await;
        let node = read.map_err(|ended| node_end(&what, ended))?;
        // A node without the labels doesn't count any more: someone took it out of the cluster.
        Ok(node.filter(|node| node::is_of(node, &self.job.namespace, &self.job.cluster)))
    }

    /// Returns the node, changed if `patch` returns a patch. None if the node no longer exists. If someone else writes
    /// to it at the same time, it is read and tried again.
    async fn change(
        &self,
        name: &str,
        verb: &str,
        patch: impl Fn(&Node) -> Option<Value>,
    ) -> Result<Option<Node>, NodeEnd> {
        let (api, params, what) = (self.api(), patch_params(), format!("{verb} node {name}"));
        loop {
            let Some(node) = self.read(name).await? else {
                return Ok(None);
            };
            let Some(patch) = patch(&node) else {
                return Ok(Some(node));
            };
            let patch = Patch::Merge(patch);
            let patched = self.request(name, &what, || api.patch(name, &params, &patch));
            match patched.await {
                Ok(node) => {
                    // The next decision depends on what the watch shows.
                    let lags = |seen: &Node| version(seen) < version(&node);
                    self.while_it_is(&node, lags).await?;
                    return Ok(Some(node));
                }
                Err(Ended::Refused(status)) if was_changed(&status) => {}
                Err(ended) => return Err(node_end(&what, ended)),
            }
        }
    }

    /// Drains the node. Returns whether it is drained. False if the node isn't this Operation's any more, or takes pods
    /// again: then the removal begins again.
    async fn drain(&self, node: &Node) -> Result<bool, NodeEnd> {
        let name = node.name_any();
        self.report_drain(&name, Draining::default());
        let drain = Drain {
            shared: self,
            node,
            report: &|draining| self.report_drain(&name, draining),
        };
        // Someone may delete it, uncordon it, or remove the mark.
        let is_ours = |seen: &Node| node::is_drained_by(seen, &self.job.uid);
        tokio::select! {
            end = drain.run() => end.map(|()| true),
            end = self.while_it_is(node, is_ours) => end.map(|()| false),
        }
    }

    /// Returns a receiver that counts the changes of the cluster's nodes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let group = (self.job.namespace.clone(), self.job.cluster.clone());
        self.stores.nodes.changes_of(&group)
    }

    /// Makes a request about a node. Reports what blocks it.
    pub async fn request<T, F>(
        &self,
        node: &str,
        what: &str,
        request: impl Fn() -> F,
    ) -> Result<T, Ended>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let requests = Requests {
            control: &self.control,
            report: &|blocked| self.report(node, blocked),
        };
        requests.answered(what, request).await
    }

    fn report(&self, node: &str, blocked: Option<Blocked>) {
        match blocked {
            Some(blocked) => self.reported().blocked.insert(node.to_owned(), blocked),
            None => self.reported().blocked.remove(node),
        };
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn report_drain(&self, node: &str, draining: Draining) {
        self.reported().drains.insert(node.to_owned(), draining);
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Notes on the node how long its drain has taken, for an operator that takes over.
    pub async fn note_drained_for(&self, name: &str, seconds: u64) -> Result<(), NodeEnd> {
        let uid = &self.job.uid;
        let patch = |node: &Node| {
            node::is_drained_by(node, uid).then(|| node::note_drained_for(node, seconds))
        };
        self.change(name, "record the drain time of", patch)
            .await
            .map(|_| ())
    }
}

pub(super) fn node_end(what: &str, ended: Ended) -> NodeEnd {
    match ended {
        Ended::Stopped => NodeEnd::Stopped,
        Ended::Refused(status) => NodeEnd::Failed(refused(what, &status)),
    }
}
