//! Stores of Belay's own objects, filled by watches and indexed by cluster.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use kube::{
    Client, ResourceExt as _,
    runtime::{
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};
use tokio::sync::mpsc;

use crate::{
    api::{AgentPool, CLUSTER_LABEL, ManagedCluster, Operation, TargetKind, is_kept},
    machinery::{
        index::{Change, Index, Key, key},
        watches::{self, Scope},
    },
};

use super::trimmed;

/// The stores of Belay's own kinds. Clones share the stores.
///
/// The stores hold as little as possible about clusters that other operators manage. If an Operation's target is a
/// pool, Belay takes the cluster's name from the pool. The Operation has a label with that name too, but a user may
/// have set a wrong one.
#[derive(Clone)]
pub struct Stores {
    /// All clusters.
    pub clusters: Index<ManagedCluster>,
    /// All pools, by cluster. A pool of others' clusters shows only which cluster it belongs to.
    pub pools: Index<AgentPool>,
    /// Operations, by target and by cluster. Operations on others' clusters are missing, and so are most of those on
    /// others' pools.
    pub operations: Index<Operation>,
    scope: Scope,
}

/// Receives each object that a watch reported as changed.
pub struct Touched {
    /// Clusters, for the controller's own queue.
    pub clusters: mpsc::UnboundedReceiver<ManagedCluster>,
    /// Clusters that no longer exist.
    pub gone: mpsc::UnboundedReceiver<ObjectRef<ManagedCluster>>,
    /// Pools.
    pub pools: mpsc::UnboundedReceiver<Arc<AgentPool>>,
    /// Operations.
    pub operations: mpsc::UnboundedReceiver<Arc<Operation>>,
}

impl Stores {
    /// Returns stores of these namespaces, the objects that change in them, the same clusters for kube's controller,
    /// and the future that fills all of this.
    pub fn new(
        client: &Client,
        scope: &Scope,
    ) -> (Self, Touched, Store<ManagedCluster>, BoxFuture<'static, ()>) {
        let (of_clusters, of_pools, of_operations) = (scope.clone(), scope.clone(), scope.clone());
        let stores = Self {
            clusters: Index::keeping(
                |cluster| vec![key(cluster)],
                |_| (),
                move |cluster| has(&of_clusters, &key(cluster)),
            ),
            pools: Index::new(
                |pool| vec![cluster_key(pool)],
                move |pool: &mut AgentPool| {
                    if !has(&of_pools, &cluster_key(pool)) {
                        trimmed::pool_of_others(pool);
                    }
                },
            ),
            operations: Index::keeping(groups_of, trimmed::operation, move |operation| {
                concerns(&of_operations, operation)
            }),
            scope: scope.clone(),
        };
        let (store, writer) = reflector::store();
        let (cluster_sender, clusters) = mpsc::unbounded_channel();
        let (pool_sender, pools) = mpsc::unbounded_channel();
        let (operation_sender, operations) = mpsc::unbounded_channel();
        let (gone_sender, gone) = mpsc::unbounded_channel();
        let mirror = Mirror::new(writer, cluster_sender, gone_sender);
        let filling = futures::future::join3(
            fill(client, scope, &stores.clusters, move |change| {
                mirror.note(change);
            }),
            fill(client, scope, &stores.pools, send_to(pool_sender)),
            fill(client, scope, &stores.operations, send_to(operation_sender)),
        );
        let touched = Touched {
            clusters,
            gone,
            pools,
            operations,
        };
        (stores, touched, store, filling.map(|_| ()).boxed())
    }
}

impl Stores {
    /// Whether the first list of each kind is complete now.
    pub fn are_ready(&self) -> bool {
        self.clusters.is_complete() && self.pools.is_complete() && self.operations.is_complete()
    }

    /// Waits until the first list of each kind is complete.
    pub async fn ready(&self) {
        self.clusters.complete().await;
        self.pools.complete().await;
        self.operations.complete().await;
    }

    /// Returns the cluster with this key.
    pub fn cluster(&self, key: &ObjectRef<ManagedCluster>) -> Option<Arc<ManagedCluster>> {
        let namespace = key.namespace.as_deref().unwrap_or_default();
        self.clusters.get(namespace, &key.name)
    }

    /// The pools of a cluster.
    pub fn pools_of(&self, cluster: &ObjectRef<ManagedCluster>) -> Vec<Arc<AgentPool>> {
        self.pools.of(&group(cluster))
    }

    /// The Operations on a cluster and on its pools.
    pub fn operations_of(&self, cluster: &ObjectRef<ManagedCluster>) -> Vec<Arc<Operation>> {
        let (namespace, name) = group(cluster);
        let on = |kind, name: &str| target_group(&namespace, kind, name);
        let mut groups = vec![
            label_group(&namespace, &name),
            on(TargetKind::ManagedCluster, &name),
        ];
        let pools = self.pools_of(cluster);
        groups.extend(
            pools
                .iter()
                .map(|pool| on(TargetKind::AgentPool, &pool.name_any())),
        );
        let found = groups.iter().flat_map(|group| self.operations.of(group));
        let found = found.map(|operation| (operation.name_any(), operation));
        let of_cluster = found.filter(|(_, it)| self.cluster_of(it).as_ref() == Some(cluster));
        let by_name: HashMap<_, _> = of_cluster.collect();
        by_name.into_values().collect()
    }

    /// Returns all pools of clusters that are managed here, even if the cluster doesn't exist.
    pub fn own_pools(&self) -> Vec<Arc<AgentPool>> {
        let mut pools = self.pools.all();
        pools.retain(|pool| self.is_own(&cluster_of_pool(pool)));
        pools
    }

    /// Returns all Operations that are managed here, even if their cluster doesn't exist.
    pub fn own_operations(&self) -> Vec<Arc<Operation>> {
        let mut operations = self.operations.all();
        operations.retain(|operation| self.is_own_operation(operation));
        operations
    }

    /// Whether a cluster, if it exists, is managed here. If it isn't, its absence from the stores means nothing.
    pub fn is_own(&self, cluster: &ObjectRef<ManagedCluster>) -> bool {
        has(&self.scope, &group(cluster))
    }

    /// Whether an Operation is managed here. An Operation on an unknown pool belongs to exactly one of all operators.
    pub fn is_own_operation(&self, operation: &Operation) -> bool {
        let cluster = self.cluster_of(operation);
        let cluster = cluster.unwrap_or_else(|| {
            let namespace = operation.namespace().unwrap_or_default();
            ObjectRef::new(&operation.spec.target.name).within(&namespace)
        });
        self.is_own(&cluster)
    }

    /// Returns the cluster that an Operation is about, if the cluster exists.
    pub fn existing_cluster_of(&self, operation: &Operation) -> Option<ObjectRef<ManagedCluster>> {
        let cluster = self.cluster_of(operation);
        cluster.filter(|key| self.cluster(key).is_some())
    }

    /// Returns the cluster that an Operation is about, as far as it is known.
    fn cluster_of(&self, operation: &Operation) -> Option<ObjectRef<ManagedCluster>> {
        let namespace = operation.namespace()?;
        let target = &operation.spec.target;
        let name = match target.kind {
            TargetKind::ManagedCluster => Some(target.name.clone()),
            TargetKind::AgentPool => {
                let pool = self.pools.get(&namespace, &target.name);
                pool.map(|pool| pool.spec.cluster_name.clone())
                    .or_else(|| operation.labels().get(CLUSTER_LABEL).cloned())
            }
        };
        Some(ObjectRef::new(&name?).within(&namespace))
    }
}

/// Returns the cluster that a pool names.
pub fn cluster_of_pool(pool: &AgentPool) -> ObjectRef<ManagedCluster> {
    ObjectRef::new(&pool.spec.cluster_name).within(&pool.namespace().unwrap_or_default())
}

fn has(scope: &Scope, (namespace, cluster): &Key) -> bool {
    scope.has_cluster(namespace, cluster)
}

/// Whether this operator may have to manage an Operation. An Operation on a pool stays in the store until it has ended
/// and its label names a cluster of others. Before that, the pool decides whose it is, and the pool may become known
/// later than the Operation.
fn concerns(scope: &Scope, operation: &Operation) -> bool {
    let namespace = operation.namespace().unwrap_or_default();
    let target = &operation.spec.target;
    if target.kind == TargetKind::ManagedCluster {
        return scope.has_cluster(&namespace, &target.name);
    }
    let status = operation.status.as_ref();
    let is_over = status.is_some_and(|status| status.phase.is_finished());
    let labelled = operation.labels().get(CLUSTER_LABEL);
    let is_of_others = labelled.is_some_and(|cluster| !scope.has_cluster(&namespace, cluster));
    !(is_over && is_of_others && !is_kept(&operation.metadata))
}

fn group(cluster: &ObjectRef<ManagedCluster>) -> Key {
    (
        cluster.namespace.clone().unwrap_or_default(),
        cluster.name.clone(),
    )
}

fn cluster_key(pool: &AgentPool) -> Key {
    group(&cluster_of_pool(pool))
}

fn label_group(namespace: &str, cluster: &str) -> Key {
    (namespace.to_owned(), format!("label/{cluster}"))
}

fn target_group(namespace: &str, kind: TargetKind, name: &str) -> Key {
    (namespace.to_owned(), format!("{kind:?}/{name}"))
}

fn groups_of(operation: &Operation) -> Vec<Key> {
    let namespace = operation.namespace().unwrap_or_default();
    let target = &operation.spec.target;
    let labelled = operation.labels().get(CLUSTER_LABEL);
    let label = labelled.map(|cluster| label_group(&namespace, cluster));
    let on = target_group(&namespace, target.kind, &target.name);
    label.into_iter().chain([on]).collect()
}

fn fill<K, F>(
    client: &Client,
    scope: &Scope,
    index: &Index<K>,
    sink: F,
) -> impl Future<Output = ()> + Send + use<K, F>
where
    F: Fn(Change<K>) + Send + 'static,
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let apis = scope.apis(client);
    let sources = apis.len();
    let events = watches::events(apis, &watches::config());
    index.clone().follow(sources, events, sink)
}

fn send_to<K>(sender: mpsc::UnboundedSender<Arc<K>>) -> impl Fn(Change<K>) {
    move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            // The receiver is dropped only when the process ends.
            let _ = sender.send(object);
        }
    }
}

/// Shows kube's controller the clusters that exist, and only as much of each as it needs.
struct Mirror(Mutex<Mirrored>);

struct Mirrored {
    store: Writer<ManagedCluster>,
    touched: mpsc::UnboundedSender<ManagedCluster>,
    gone: mpsc::UnboundedSender<ObjectRef<ManagedCluster>>,
    is_complete: bool,
    gone_before: Vec<ManagedCluster>,
}

impl Mirror {
    fn new(
        mut store: Writer<ManagedCluster>,
        touched: mpsc::UnboundedSender<ManagedCluster>,
        gone: mpsc::UnboundedSender<ObjectRef<ManagedCluster>>,
    ) -> Self {
        store.apply_watcher_event(&Event::Init);
        Self(Mutex::new(Mirrored {
            store,
            touched,
            gone,
            is_complete: false,
            gone_before: Vec::new(),
        }))
    }

    fn note(&self, change: Change<ManagedCluster>) {
        let mut mirrored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_complete = mirrored.is_complete;
        if let Change::Deleted(cluster) = &change {
            // The receiver is dropped only when the process ends.
            let _ = mirrored.gone.send(ObjectRef::from_obj(cluster.as_ref()));
        }
        let (event, touched) = match change {
            Change::Applied(cluster) if is_complete => {
                let cluster = name_of(&cluster);
                (Event::Apply(cluster.clone()), Some(cluster))
            }
            Change::Applied(cluster) => {
                let cluster = name_of(&cluster);
                (Event::InitApply(cluster.clone()), Some(cluster))
            }
            Change::Deleted(cluster) if is_complete => {
                let cluster = name_of(&cluster);
                (Event::Delete(cluster.clone()), Some(cluster))
            }
            Change::Deleted(cluster) => {
                mirrored.gone_before.push(name_of(&cluster));
                return;
            }
            Change::Complete if is_complete => return,
            Change::Complete => (Event::InitDone, None),
        };
        mirrored.store.apply_watcher_event(&event);
        if matches!(event, Event::InitDone) {
            mirrored.is_complete = true;
            for gone in std::mem::take(&mut mirrored.gone_before) {
                mirrored.store.apply_watcher_event(&Event::Delete(gone));
            }
        }
        if let Some(touched) = touched {
            let _ = mirrored.touched.send(touched);
        }
    }
}

/// Returns the part of a cluster that identifies it.
fn name_of(cluster: &ManagedCluster) -> ManagedCluster {
    let metadata = &cluster.metadata;
    ManagedCluster {
        metadata: kube::api::ObjectMeta {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
            deletion_timestamp: metadata.deletion_timestamp.clone(),
            ..kube::api::ObjectMeta::default()
        },
        spec: cluster.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
#[path = "stores_tests.rs"]
mod tests;
