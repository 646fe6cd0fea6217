//! What watches tell of nodes, control planes and PodDisruptionBudgets.

use std::collections::HashMap;

use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Node},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::{broadcast, watch};

use crate::{
    api::{CLUSTER_LABEL, ManagedCluster, NAMESPACE_LABEL},
    machinery::watches::{Readiness, WATCH_TIMEOUT_SECONDS, reflected, scoped},
};

/// How many changes may wait to be looked at; where more came, all clusters are looked at.
const WAITING_CHANGES: usize = 4096;

/// The stores, filled by watches.
#[derive(Clone)]
pub(super) struct Stores {
    pub nodes: Store<Node>,
    pub records: Store<ConfigMap>,
    pub budgets: Store<PodDisruptionBudget>,
    ready: [Readiness; 3],
    nodes_changed: watch::Sender<u64>,
    budgets_changed: watch::Sender<u64>,
    clusters_changed: broadcast::Sender<ObjectRef<ManagedCluster>>,
}

impl Stores {
    /// The stores for the clusters of a namespace, or of all, and the future that fills them.
    pub fn new(client: &Client, namespace: Option<&str>) -> (Self, BoxFuture<'static, ()>) {
        let of_namespace = namespace.map(|name| format!(",{NAMESPACE_LABEL}={name}"));
        let selector = format!("{CLUSTER_LABEL}{}", of_namespace.unwrap_or_default());
        let ours = watcher::Config::default()
            .labels(&selector)
            .timeout(WATCH_TIMEOUT_SECONDS);
        let all = watcher::Config::default().timeout(WATCH_TIMEOUT_SECONDS);
        let nodes = watcher(Api::<Node>::all(client.clone()), ours.clone()).default_backoff();
        let records = watcher(scoped::<ConfigMap>(client, namespace), ours).default_backoff();
        let budgets =
            watcher(Api::<PodDisruptionBudget>::all(client.clone()), all).default_backoff();
        let (nodes, nodes_ready, node_events) = reflected(nodes);
        let (records, records_ready, record_events) = reflected(records);
        let (budgets, budgets_ready, budget_events) = reflected(budgets);
        let stores = Self {
            nodes,
            records,
            budgets,
            ready: [nodes_ready, records_ready, budgets_ready],
            nodes_changed: watch::channel(0).0,
            budgets_changed: watch::channel(0).0,
            clusters_changed: broadcast::channel(WAITING_CHANGES).0,
        };
        let filling = futures::future::join3(
            stores
                .clone()
                .tell_clusters(node_events, super::nodes::view),
            stores
                .clone()
                .tell_clusters(record_events, |record| record.data.clone()),
            stores.clone().tell_drains(budget_events),
        );
        (stores, filling.map(|_| ()).boxed())
    }

    /// Tells of clusters whose nodes or control planes changed, as far as `view` tells them: a heartbeat
    /// changes nothing. That a first look is complete is a change too.
    async fn tell_clusters<K: Resource, V: PartialEq>(
        self,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>>,
        view: impl Fn(&K) -> Option<V>,
    ) {
        let mut events = std::pin::pin!(events);
        let mut known = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object)) => {
                    let view = view(&object);
                    if known.get(&object.uid()) == Some(&view) {
                        continue;
                    }
                    known.insert(object.uid(), view);
                    self.tell_cluster(&object);
                }
                Ok(Event::Delete(object)) => {
                    known.remove(&object.uid());
                    self.tell_cluster(&object);
                }
                Ok(Event::InitDone) => {
                    let all = self.nodes.state();
                    for node in all {
                        self.tell_cluster(node.as_ref());
                    }
                }
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "failed to watch nodes or control planes, trying again");
                    continue;
                }
            }
            self.nodes_changed.send_modify(|changes| *changes += 1);
        }
    }

    /// Tells drains that a `PodDisruptionBudget` changed.
    async fn tell_drains(
        self,
        events: impl Stream<Item = Result<Event<PodDisruptionBudget>, watcher::Error>>,
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => self.budgets_changed.send_modify(|changes| *changes += 1),
                Err(error) => {
                    tracing::warn!(%error, "failed to watch PodDisruptionBudgets, trying again");
                }
            }
        }
    }

    /// Whether the first look is complete.
    pub fn are_ready(&self) -> bool {
        self.ready.iter().all(Readiness::is_ready)
    }

    /// Waits until the first look is complete.
    pub async fn ready(&self) {
        for readiness in &self.ready {
            readiness.ready().await;
        }
    }

    /// Counts the changes of nodes and control planes.
    pub fn watch_nodes(&self) -> watch::Receiver<u64> {
        self.nodes_changed.subscribe()
    }

    /// Counts the changes of `PodDisruptionBudgets`.
    pub fn watch_budgets(&self) -> watch::Receiver<u64> {
        self.budgets_changed.subscribe()
    }

    /// Clusters of which a node or the control plane changed.
    pub fn changed_clusters(&self) -> impl Stream<Item = ObjectRef<ManagedCluster>> + use<> {
        let changes = self.clusters_changed.subscribe();
        futures::stream::unfold(changes, |mut changes| async move {
            loop {
                match changes.recv().await {
                    Ok(cluster) => return Some((cluster, changes)),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        tracing::warn!(
                            missed,
                            "changes of nodes came faster than they were looked at"
                        );
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
    }

    fn tell_cluster(&self, object: &impl Resource) {
        let labels = object.labels();
        if let (Some(namespace), Some(name)) =
            (labels.get(NAMESPACE_LABEL), labels.get(CLUSTER_LABEL))
        {
            // Nobody may be listening yet; then all clusters will be looked at anyway.
            let _ = self
                .clusters_changed
                .send(ObjectRef::new(name).within(namespace));
        }
    }
}
