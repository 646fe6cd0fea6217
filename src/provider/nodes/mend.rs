//! Mends the nodes that are in the middle of an Operation's work when the Operation ends. A node that hasn't joined its
//! pool is deleted, because no pod ever ran there. A node whose drain isn't done takes pods again.
//!
//! A policy or a webhook of somebody else may refuse the change. The node keeps its marks, so that any operator can
//! find and mend it later.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch},
};

use crate::{
    api::{CLUSTER_LABEL, DRAINED_BY, NAMESPACE_LABEL},
    machinery::{delete_params_as_read, patch_params},
};

use super::{node, requests::was_changed};

/// How long one request may take.
const REQUEST: Duration = Duration::from_millis(600);

/// A node that couldn't be mended: its name, and the error message.
pub type Left = (String, String);

/// The nodes of one cluster, as the API server has them.
pub struct Mender {
    nodes: Api<Node>,
    ours: ListParams,
}

impl Mender {
    /// Returns the mender of a cluster's nodes.
    pub fn new(client: &Client, namespace: &str, cluster: &str) -> Self {
        let ours = format!("{NAMESPACE_LABEL}={namespace},{CLUSTER_LABEL}={cluster}");
        Self {
            nodes: Api::all(client.clone()),
            ours: ListParams::default().labels(&ours),
        }
    }

    /// Mends the nodes that are in the middle of the work of these Operations, given by uid. It tries once. It reads
    /// from the API server, because a watch may lag behind.
    ///
    /// Returns the nodes that couldn't be mended.
    pub async fn mend(&self, uids: &BTreeSet<String>) -> Vec<Left> {
        let listed = match bounded(self.nodes.list(&self.ours)).await {
            Ok(listed) => listed.map(|listed| listed.items).unwrap_or_default(),
            Err(words) => return vec![("nodes".to_owned(), words)],
        };
        let is_left = |node: &&Node| node::in_work_of(node).any(|uid| uids.contains(uid));
        let mended = join_all(listed.iter().filter(is_left).map(|node| self.one(node))).await;
        mended.into_iter().flatten().collect()
    }

    /// Mends a node. Returns what blocked that if it failed.
    async fn one(&self, node: &Node) -> Option<Left> {
        let name = node.name_any();
        if node.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let mended = if node::is_joining(node) {
            let params = delete_params_as_read(node);
            bounded(async { self.nodes.delete(&name, &params).await.map(|_| ()) }).await
        } else if node.annotations().contains_key(DRAINED_BY) {
            let patch = Patch::Merge(node::uncordon(node));
            let (nodes, params) = (&self.nodes, patch_params());
            bounded(async { nodes.patch(&name, &params, &patch).await.map(|_| ()) }).await
        } else {
            Ok(None)
        };
        mended.err().map(|words| {
            tracing::warn!(
                node = name,
                error = words,
                "failed to restore the node, trying again"
            );
            (format!("node/{name}"), words)
        })
    }
}

/// Makes a request with a timeout. Returns None if the node is gone, which is as good as mended. The error is the
/// message of what blocks it.
pub async fn bounded<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, String> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(kube::Error::Api(status))) if was_changed(&status) => {
            Err("another client changed it at the same time".into())
        }
        Ok(Err(kube::Error::Api(status))) => Err(status.message),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the API server doesn't answer".into()),
    }
}
