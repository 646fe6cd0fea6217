//! What the demo sees: watches of the API server, and everything that they showed.

use std::collections::{BTreeMap, BTreeSet};

use belay::api::{AgentPool, ManagedCluster, Operation, OperationPhase, OperationType};
use futures::{
    StreamExt as _,
    stream::{BoxStream, SelectAll},
};
use k8s_openapi::{
    api::core::v1::Node,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;

/// The namespace of the examples' manifests.
const NAMESPACE: &str = "default";

/// Watches, and what they showed.
pub struct Eyes {
    operations: BTreeMap<String, Vec<Operation>>,
    clusters: Store<ManagedCluster>,
    pools: Store<AgentPool>,
    nodes: Store<Node>,
    changes: SelectAll<BoxStream<'static, Option<Operation>>>,
}

impl Eyes {
    /// Starts to watch.
    pub fn open(client: &Client) -> Self {
        let operations = watcher(
            Api::<Operation>::namespaced(client.clone(), NAMESPACE),
            watcher::Config::default(),
        );
        let operations = operations.default_backoff().applied_objects();
        let operations = operations.filter_map(async |seen| seen.ok().map(Some));
        let (clusters, cluster_changes) = look(Api::namespaced(client.clone(), NAMESPACE));
        let (pools, pool_changes) = look(Api::namespaced(client.clone(), NAMESPACE));
        let (nodes, node_changes) = look(Api::all(client.clone()));
        let changes = [
            operations.boxed(),
            cluster_changes,
            pool_changes,
            node_changes,
        ];
        Self {
            operations: BTreeMap::new(),
            clusters,
            pools,
            nodes,
            changes: changes.into_iter().collect(),
        }
    }

    /// Waits for the next change, and records it.
    pub async fn next(&mut self) {
        if let Some(Some(operation)) = self.changes.next().await {
            let history = self.operations.entry(operation.name_any()).or_default();
            history.push(operation);
        }
    }

    /// Returns the names of all Operations that were ever seen.
    pub fn names(&self) -> BTreeSet<String> {
        self.operations.keys().cloned().collect()
    }

    /// Returns the Operation of that type on that target, as it was last seen.
    pub fn operation(&self, type_: OperationType, target: &str) -> Option<&Operation> {
        let latest = self
            .operations
            .values()
            .filter_map(|history| history.last());
        latest
            .into_iter()
            .find(|seen| seen.spec.type_ == type_ && seen.spec.target.name == target)
    }

    /// Returns the phases in which an Operation was seen, in order.
    pub fn phases(&self, operation: &str) -> Vec<OperationPhase> {
        let history = self.operations.get(operation).into_iter().flatten();
        let mut phases: Vec<_> = history
            .map(|seen| seen.status.clone().unwrap_or_default().phase)
            .collect();
        phases.dedup();
        phases
    }

    /// Returns what blocked an Operation, if it was ever seen blocked.
    pub fn blocked(&self, operation: &str) -> Option<belay::api::Blocked> {
        let history = self.operations.get(operation)?;
        history
            .iter()
            .find_map(|seen| seen.status.as_ref()?.blocked.clone())
    }

    /// Whether the cluster and all its pools match their specs.
    pub fn all_is_ready(&self, pools: usize) -> bool {
        let is_current =
            |metadata: &ObjectMeta, observed: Option<i64>, conditions: &[Condition]| {
                observed == metadata.generation && condition(conditions, "Ready").is_some()
            };
        let clusters = self.clusters.state();
        let cluster_is_ready = clusters.iter().any(|cluster| {
            let status = cluster.status.clone().unwrap_or_default();
            is_current(
                &cluster.metadata,
                status.observed_generation,
                &status.conditions,
            )
        });
        let all = self.pools.state();
        let ready = all.iter().filter(|pool| {
            let status = pool.status.clone().unwrap_or_default();
            is_current(
                &pool.metadata,
                status.observed_generation,
                &status.conditions,
            )
        });
        cluster_is_ready && ready.count() == pools
    }

    /// Returns the condition Stalled, which says why the cluster is on hold, if it is.
    pub fn hold(&self) -> Option<Condition> {
        let clusters = self.clusters.state();
        let status = clusters.first()?.status.as_ref()?;
        condition(&status.conditions, "Stalled").cloned()
    }

    /// Returns the number of nodes of each version.
    pub fn versions(&self) -> BTreeMap<String, usize> {
        let mut versions = BTreeMap::new();
        for node in self.nodes.state() {
            let info = node
                .status
                .as_ref()
                .and_then(|status| status.node_info.as_ref());
            let version = info.map(|info| info.kubelet_version.clone());
            *versions.entry(version.unwrap_or_default()).or_default() += 1;
        }
        versions
    }

    /// Whether a node is cordoned.
    pub fn has_cordoned_nodes(&self) -> bool {
        let nodes = self.nodes.state();
        let specs = nodes.iter().filter_map(|node| node.spec.as_ref());
        specs
            .into_iter()
            .any(|spec| spec.unschedulable == Some(true))
    }
}

/// Returns the condition of that type if it is True.
fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Returns a store that a watch fills, and the watch's changes.
fn look<K>(api: Api<K>) -> (Store<K>, BoxStream<'static, Option<Operation>>)
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync,
    K: 'static,
{
    let (store, writer) = reflector::store();
    let changes = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .map(|_| None);
    (store, changes.boxed())
}
