//! What is done to one node: it is made, given its pool's settings, or drained and deleted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::reflector::ObjectRef,
};
use tokio::sync::watch;

use crate::{
    api::OperationError,
    lifecycle::{Job, PoolGoal, Stop},
    machinery::{FIELD_MANAGER, clock},
    provider::Control,
};

use super::{
    drain::{Drain, Draining},
    nodes,
    retry::{Ended, answered, refused},
    settings,
    stores::Stores,
};

/// What the tasks of a pool share.
#[derive(Clone)]
pub(super) struct Shared {
    pub client: Client,
    pub stores: Stores,
    pub job: Arc<Job>,
    pub goal: Arc<PoolGoal>,
    pub control: Control,
    pub draining: Arc<Mutex<BTreeMap<String, Draining>>>,
    pub drains_changed: watch::Sender<u64>,
}

/// What was done to a node.
pub(super) enum NodeDone {
    /// It was made, and its machine is up.
    Made,
    /// It was made before.
    Found,
    /// It was drained and deleted.
    Removed,
    /// It has its pool's settings.
    Updated,
}

/// How the work on a node ended that wasn't completed.
#[derive(Debug)]
pub(super) enum NodeEnd {
    /// It was told to stop.
    Stopped,
    /// It can't be done.
    Failed(OperationError),
}

impl Shared {
    /// How far the drains are, by node.
    pub fn drains(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Draining>> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Makes a node and waits until it is Ready.
    pub async fn make(&self, name: &str) -> Result<NodeDone, NodeEnd> {
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
            Ok(_) => tracing::info!(node = name, version = %self.goal.version, "node made"),
            // It was made before a crash, or by a request whose answer was lost.
            Err(Ended::Refused(status)) if status.code == 409 => return Ok(NodeDone::Found),
            Err(ended) => return Err(node_end(&format!("create node {name}"), ended)),
        }
        self.bring_up(&node).await
    }

    /// Waits for the machine to be up, then lets kwok keep the node alive.
    pub async fn bring_up(&self, node: &Node) -> Result<NodeDone, NodeEnd> {
        let left = nodes::provisioned_at(node).duration_since(clock::now());
        tokio::select! {
            () = tokio::time::sleep(Duration::try_from(left).unwrap_or_default()) => {}
            () = self.control.told(Stop::Now) => return Err(NodeEnd::Stopped),
        }
        let (api, name, params, patch) = (self.api(), node.name_any(), params(), nodes::up_patch());
        match answered(&self.control, "bring a node up", || {
            api.patch(&name, &params, &patch)
        })
        .await
        {
            Ok(_) => {
                tracing::info!(node = name, "node's machine is up");
                Ok(NodeDone::Made)
            }
            Err(Ended::Refused(status)) if status.code == 404 => Ok(NodeDone::Made),
            Err(ended) => Err(node_end(&format!("bring node {name} up"), ended)),
        }
    }

    /// Gives a node its pool's settings.
    pub async fn update(&self, name: &str) -> Result<NodeDone, NodeEnd> {
        let patch = |node: &Node| settings::update(node, &self.goal.settings);
        self.change(name, "update", patch).await?;
        Ok(NodeDone::Updated)
    }

    /// Cordons, drains and deletes a node.
    pub async fn remove(&self, name: &str) -> Result<NodeDone, NodeEnd> {
        let api = self.api();
        let Some(node) = self.cordon(name).await? else {
            return Ok(NodeDone::Removed);
        };
        if self.goal.drain {
            self.drain(&node).await?;
        }
        if self.control.stop() == Stop::Now {
            return Err(NodeEnd::Stopped);
        }
        let params = nodes::only(&node);
        let deleted = answered(&self.control, "delete a node", || async {
            api.delete(name, &params).await.map(|_| ())
        });
        match deleted.await {
            Ok(()) => {
                tracing::info!(node = name, "node deleted");
                Ok(NodeDone::Removed)
            }
            Err(Ended::Refused(status)) if matches!(status.code, 404 | 409) => {
                Ok(NodeDone::Removed)
            }
            Err(ended) => Err(node_end(&format!("delete node {name}"), ended)),
        }
    }

    /// The node, cordoned for this operation; none where there is no such node any more.
    async fn cordon(&self, name: &str) -> Result<Option<Node>, NodeEnd> {
        let patch = |node: &Node| nodes::cordon(node, &self.job, clock::now());
        let node = self.change(name, "cordon", patch).await?;
        if node.is_some() {
            tracing::info!(node = name, "node cordoned");
        }
        Ok(node)
    }

    /// The node, changed; none where there is no such node any more. Someone else may write to it at the
    /// same time; then it is read and tried again.
    async fn change(
        &self,
        name: &str,
        what: &str,
        patch: impl Fn(&Node) -> serde_json::Value,
    ) -> Result<Option<Node>, NodeEnd> {
        let (api, params) = (self.api(), params());
        loop {
            let read = answered(&self.control, "read a node", || api.get_opt(name)).await;
            let Some(node) = read.map_err(|ended| node_end("read a node", ended))? else {
                return Ok(None);
            };
            let patch = Patch::Merge(patch(&node));
            match answered(&self.control, &format!("{what} a node"), || {
                api.patch(name, &params, &patch)
            })
            .await
            {
                Ok(node) => return Ok(Some(node)),
                Err(Ended::Refused(status)) if matches!(status.code, 404 | 409) => {}
                Err(ended) => return Err(node_end(&format!("{what} node {name}"), ended)),
            }
        }
    }

    async fn drain(&self, node: &Node) -> Result<(), NodeEnd> {
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
        tokio::select! {
            end = drain.run() => end,
            // Its pods end with it.
            () = self.is_gone(node) => Ok(()),
        }
    }

    /// Waits until someone else has deleted a node.
    async fn is_gone(&self, node: &Node) {
        let mut changes = self.stores.watch_nodes();
        let key = ObjectRef::from_obj(node);
        let is_there = || {
            let seen = self.stores.nodes.get(&key);
            seen.is_some_and(|seen| seen.uid() == node.uid())
        };
        while is_there() {
            // The sender is gone only while the process ends.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn tell(&self, node: &str, draining: Draining) {
        self.drains().insert(node.to_owned(), draining);
        self.drains_changed.send_modify(|changes| *changes += 1);
    }
}

fn node_end(what: &str, ended: Ended) -> NodeEnd {
    match ended {
        Ended::Stopped => NodeEnd::Stopped,
        Ended::Refused(status) => NodeEnd::Failed(refused(what, &status)),
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}
