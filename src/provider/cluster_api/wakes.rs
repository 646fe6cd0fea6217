//! When to look: watches of Cluster API's objects say that something changed of a Cluster. They show metadata alone, and
//! nothing of it is kept: what there is now is read from the API server.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    core::{DynamicObject, PartialObjectMeta},
    runtime::watcher::Event,
};
use tokio::{sync::watch, task::AbortHandle};

use crate::machinery::{
    counts::{Counts, Key},
    watches::{self, Scope},
};

use super::kinds::{CLUSTER_NAME, Kind};

/// What shows that something changes: a `MachineSet` changes with the `MachineDeployment`, a control plane with the
/// Cluster.
const KINDS: [Kind; 3] = [Kind::Cluster, Kind::MachineDeployment, Kind::Machine];

/// Counts the changes of Clusters. Clones share them.
#[derive(Clone)]
pub struct Wakes(Arc<Shared>);

struct Shared {
    client: Client,
    scope: Scope,
    /// By a Cluster's namespace and name.
    counts: Mutex<Counts>,
    /// Of each watch, whether it shows all that there is.
    are_up: Vec<AtomicBool>,
    /// They begin once there is a Cluster to look at: Cluster API may not be installed.
    watching: Mutex<Option<AbortHandle>>,
}

impl Wakes {
    /// For the Clusters in these namespaces.
    pub fn new(client: &Client, scope: &Scope) -> Self {
        let sources = KINDS.len() * scope.namespaces().len().max(1);
        Self(Arc::new(Shared {
            client: client.clone(),
            scope: scope.clone(),
            counts: Mutex::default(),
            are_up: (0..sources).map(|_| AtomicBool::default()).collect(),
            watching: Mutex::default(),
        }))
    }

    /// Whether no change goes unnoticed.
    pub fn are_up(&self) -> bool {
        self.0
            .are_up
            .iter()
            .all(|is_up| is_up.load(Ordering::Relaxed))
    }

    /// Counts the changes of a Cluster.
    pub fn of(&self, namespace: &str, cluster: &str) -> watch::Receiver<u64> {
        let mut watching = lock(&self.0.watching);
        watching.get_or_insert_with(|| tokio::spawn(self.clone().follow()).abort_handle());
        lock(&self.0.counts).of(&(namespace.to_owned(), cluster.to_owned()))
    }

    /// Nobody watches any more.
    pub fn end(&self) {
        if let Some(watching) = lock(&self.0.watching).take() {
            watching.abort();
        }
    }

    async fn follow(self) {
        let each = self
            .apis()
            .into_iter()
            .enumerate()
            .map(|(source, (kind, api))| {
                watches::metadata(api)
                    .map(move |event| (source, kind, event))
                    .boxed()
            });
        let mut events = stream::select_all(each);
        while let Some((source, kind, event)) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                    lock(&self.0.counts).wake(&key(kind, &object));
                }
                Ok(Event::Init) => {}
                Ok(Event::InitDone) => self.0.are_up[source].store(true, Ordering::Relaxed),
                Err(error) => {
                    self.0.are_up[source].store(false, Ordering::Relaxed);
                    tracing::warn!(?kind, %error, "failed to watch, trying again; Clusters are looked at more often meanwhile");
                }
            }
        }
    }

    fn apis(&self) -> Vec<(Kind, Api<PartialObjectMeta<DynamicObject>>)> {
        let (client, namespaces) = (&self.0.client, self.0.scope.namespaces());
        let of = |kind: Kind| {
            let resource = kind.resource();
            if namespaces.is_empty() {
                return vec![(kind, Api::all_with(client.clone(), &resource))];
            }
            let in_one =
                |namespace: &String| Api::namespaced_with(client.clone(), namespace, &resource);
            namespaces
                .iter()
                .map(|namespace| (kind, in_one(namespace)))
                .collect()
        };
        KINDS.into_iter().flat_map(of).collect()
    }
}

/// The Cluster of an object.
fn key(kind: Kind, object: &PartialObjectMeta<DynamicObject>) -> Key {
    let name = match kind {
        Kind::Cluster => object.name_any(),
        _ => object
            .labels()
            .get(CLUSTER_NAME)
            .cloned()
            .unwrap_or_default(),
    };
    (object.namespace().unwrap_or_default(), name)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
