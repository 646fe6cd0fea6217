//! What watches show of nodes and `PodDisruptionBudgets`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::{core::v1::Node, policy::v1::PodDisruptionBudget};
use kube::{Api, Client, Resource, ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    api::{CLUSTER_LABEL, ManagedCluster, NAMESPACE_LABEL},
    lifecycle::NodeView,
    machinery::{
        index::{Change, Index, Key},
        watches::{self, Scope},
    },
    provider::Changed,
};

use super::node;

/// The stores, filled by watches. Clones share them.
#[derive(Clone)]
pub struct Stores {
    /// The nodes of all clusters that are managed, by cluster.
    pub nodes: Index<Node>,
    /// The budgets of all namespaces, by namespace.
    pub budgets: Index<PodDisruptionBudget>,
}

impl Stores {
    /// Returns the stores for the clusters of these namespaces, and the future that fills them and sends the clusters
    /// that changed.
    pub fn new(client: &Client, scope: &Scope, changed: Changed) -> (Self, BoxFuture<'static, ()>) {
        let of = scope.clone();
        let stores = Self {
            nodes: Index::keeping(
                |node| cluster_of(node).into_iter().collect(),
                prune,
                move |node| has(&of, node),
            ),
            budgets: Index::new(
                |budget| {
                    vec![
                        (budget.namespace().unwrap_or_default(), String::new()),
                        all_budgets(),
                    ]
                },
                prune,
            ),
        };
        let ours = watches::config().labels(CLUSTER_LABEL);
        let nodes = watches::events(vec![Api::all(client.clone())], &ours);
        let wakes = Wakes {
            known: Mutex::default(),
            nodes: stores.nodes.clone(),
            changed,
        };
        let wake = move |change| wakes.note(change);
        let budgets = watches::events(vec![Api::all(client.clone())], &watches::config());
        let filling = futures::future::join(
            stores.nodes.clone().follow(1, nodes, wake),
            stores.budgets.clone().follow(1, budgets, |_| ()),
        );
        (stores, filling.map(|_| ()).boxed())
    }

    /// Returns the nodes of a cluster.
    pub fn nodes_of(&self, namespace: &str, cluster: &str) -> Vec<Arc<Node>> {
        self.nodes.of(&(namespace.to_owned(), cluster.to_owned()))
    }

    /// Returns the names of the nodes of each cluster that is managed, also of clusters that no longer exist.
    pub fn by_cluster(&self) -> Vec<(ObjectRef<ManagedCluster>, Vec<String>)> {
        let mut all: HashMap<Key, Vec<String>> = HashMap::new();
        for node in self.nodes.all() {
            if let Some(cluster) = cluster_of(node.as_ref()) {
                all.entry(cluster).or_default().push(node.name_any());
            }
        }
        let named = all.into_iter().map(|((namespace, name), mut nodes)| {
            nodes.sort();
            (ObjectRef::new(&name).within(&namespace), nodes)
        });
        named.collect()
    }

    /// Returns whether the first look is complete.
    pub fn are_ready(&self) -> bool {
        self.nodes.is_complete() && self.budgets.is_complete()
    }

    /// Waits until the first look is complete.
    pub async fn ready(&self) {
        self.nodes.complete().await;
        self.budgets.complete().await;
    }
}

/// Wakes the clusters whose nodes changed.
struct Wakes {
    /// The last view of each node that the core got, by the node's uid.
    known: Mutex<HashMap<Option<String>, Option<NodeView>>>,
    nodes: Index<Node>,
    changed: Changed,
}

impl Wakes {
    fn note(&self, change: Change<Node>) {
        match change {
            Change::Applied(node) => {
                let view = node::view(&node);
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                // A heartbeat changes nothing that is shown.
                if known.get(&node.uid()) != Some(&view) {
                    known.insert(node.uid(), view);
                    self.wake(&node);
                }
            }
            Change::Deleted(node) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.remove(&node.uid());
                self.wake(&node);
            }
            Change::Complete => self.nodes.all().iter().for_each(|node| self.wake(node)),
        }
    }

    fn wake(&self, node: &Node) {
        if let Some((namespace, name)) = cluster_of(node) {
            // The receiver is gone only while the process ends.
            let _ = self.changed.send(ObjectRef::new(&name).within(&namespace));
        }
    }
}

/// Returns the group of all budgets: a drain waits for a change of any budget.
pub fn all_budgets() -> Key {
    (String::new(), "all".to_owned())
}

/// Returns the cluster that a node's labels name.
fn cluster_of(node: &impl Resource) -> Option<Key> {
    let labels = node.labels();
    let (namespace, name) = (labels.get(NAMESPACE_LABEL)?, labels.get(CLUSTER_LABEL)?);
    Some((namespace.clone(), name.clone()))
}

/// Returns whether a node belongs to a cluster that is managed.
fn has(scope: &Scope, node: &Node) -> bool {
    let cluster = cluster_of(node);
    cluster.is_some_and(|(namespace, name)| scope.has_cluster(&namespace, &name))
}

/// Removes the managed fields: nobody here reads them.
fn prune(object: &mut impl Resource) {
    object.meta_mut().managed_fields = None;
}
