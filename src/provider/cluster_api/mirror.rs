//! Cluster API's objects as watches show them, so that a look at a Cluster needs no request to the API server. The
//! objects may be some milliseconds old. Code that acts on them, or reports that something has ended, reads them again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    core::{DeserializeGuard, DynamicObject},
};
use tokio::{sync::watch, task::AbortHandle};

use crate::machinery::{
    counts::{Counts, Key},
    index::{Change, Index},
    watches::{self, Scope},
};

use super::{
    kinds::{self, CLUSTER_NAME, Kind},
    objects::{LISTED, Moment, Objects},
};

/// How long a watch isn't trusted after it failed. A watch that fails again does so within that time.
const DOUBT: Duration = Duration::from_secs(20);

/// How long Belay remembers how new a Cluster was when it was read. A watch that is up shows that state long before.
const KEPT: Duration = Duration::from_mins(5);

/// What watches show of Clusters. Clones share it.
#[derive(Clone)]
pub struct Mirror(Arc<Shared>);

struct Shared {
    client: Client,
    scope: Scope,
    /// How often Clusters have changed, by namespace and name.
    counts: Mutex<Counts>,
    /// The watches start once there is a Cluster to look at, because Cluster API may not be installed.
    watched: Mutex<BTreeMap<Kind, Watched>>,
    /// How new Clusters were when they were read. Watches may not show that state yet.
    read: Mutex<HashMap<Key, (Instant, Moment)>>,
}

/// A kind that is watched.
struct Watched {
    objects: Index<DynamicObject>,
    failed_at: Arc<Mutex<Option<Instant>>>,
    watching: AbortHandle,
}

impl Watched {
    /// Returns whether it shows all objects.
    fn is_up(&self) -> bool {
        let failed_at = *lock(&self.failed_at);
        self.objects.is_complete() && failed_at.is_none_or(|at| at.elapsed() > DOUBT)
    }
}

impl Mirror {
    /// Returns a mirror of the Clusters in these namespaces.
    pub fn new(client: &Client, scope: &Scope) -> Self {
        Self(Arc::new(Shared {
            client: client.clone(),
            scope: scope.clone(),
            counts: Mutex::default(),
            watched: Mutex::default(),
            read: Mutex::default(),
        }))
    }

    /// Returns whether no change goes unnoticed.
    pub fn is_up(&self) -> bool {
        let watched = lock(&self.0.watched);
        let mut listed = LISTED.iter();
        listed.all(|kind| watched.get(kind).is_some_and(Watched::is_up))
    }

    /// Returns a receiver that counts the changes of a Cluster.
    pub fn changes_of(&self, namespace: &str, cluster: &str) -> watch::Receiver<u64> {
        for kind in LISTED {
            self.watch(kind);
        }
        lock(&self.0.counts).of(&(namespace.to_owned(), cluster.to_owned()))
    }

    /// Returns a Cluster's objects. None if watches don't show all of them, or if something newer was read.
    pub fn objects(&self, namespace: &str, cluster: &str) -> Option<Objects> {
        if !self.is_up() {
            return None;
        }
        let key = (namespace.to_owned(), cluster.to_owned());
        let [clusters, deployments, sets, machines] = LISTED.map(|kind| self.of(kind, &key));
        let mut objects = Objects {
            cluster: clusters.into_iter().next(),
            control_plane: None,
            deployments,
            sets,
            machines,
        };
        let mut read = lock(&self.0.read);
        let is_older = |(_, at): &(Instant, Moment)| !objects.are_as_new_as(at);
        if read.get(&key).is_some_and(is_older) {
            return None;
        }
        read.remove(&key);
        drop(read);
        if let Some(name) = objects.control_plane_name() {
            objects.control_plane = Some(self.control_plane(namespace, name)?);
        }
        Some(objects)
    }

    /// Notes how new a Cluster was when it was read. From now on, nothing older is shown.
    pub fn has_read(&self, namespace: &str, cluster: &str, at: Moment) {
        let key = (namespace.to_owned(), cluster.to_owned());
        let mut read = lock(&self.0.read);
        // Clusters that nobody looks at any more are removed.
        read.retain(|_, (since, _)| since.elapsed() < KEPT);
        read.insert(key, (Instant::now(), at));
    }

    /// Ends all watches.
    pub fn end(&self) {
        let watched = std::mem::take(&mut *lock(&self.0.watched));
        for one in watched.values() {
            one.watching.abort();
        }
    }

    fn of(&self, kind: Kind, cluster: &Key) -> Vec<Arc<DynamicObject>> {
        let watched = lock(&self.0.watched);
        let watched = watched.get(&kind).map(|one| one.objects.of(cluster));
        watched.unwrap_or_default()
    }

    /// Returns a control plane of kubeadm. A watch for these starts when there is one: the kind may not be installed.
    fn control_plane(&self, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        self.watch(Kind::KubeadmControlPlane);
        let watched = lock(&self.0.watched);
        let watched = watched.get(&Kind::KubeadmControlPlane)?;
        let shown = watched
            .is_up()
            .then(|| watched.objects.get(namespace, name));
        shown.flatten()
    }

    fn watch(&self, kind: Kind) {
        let mut watched = lock(&self.0.watched);
        watched.entry(kind).or_insert_with(|| self.watched(kind));
    }

    fn watched(&self, kind: Kind) -> Watched {
        let objects = Index::of_kind(kind.name(), groups, kind.trim(), |_| true);
        let failed_at = Arc::new(Mutex::new(None));
        let (apis, failed) = (self.apis(kind), failed_at.clone());
        let sources = apis.len();
        let events = watches::events(apis, &watches::config()).inspect(move |(_, event)| {
            if event.is_err() {
                *lock(&failed) = Some(Instant::now());
            }
        });
        let this = self.clone();
        let changed = move |change| {
            if let Change::Applied(object) | Change::Deleted(object) = change {
                let mut counts = lock(&this.0.counts);
                for group in groups(&object) {
                    counts.wake(&group);
                }
            }
        };
        let watching = tokio::spawn(objects.clone().follow(sources, events, changed));
        Watched {
            objects,
            failed_at,
            watching: watching.abort_handle(),
        }
    }

    fn apis(&self, kind: Kind) -> Vec<Api<DeserializeGuard<DynamicObject>>> {
        let (client, resource) = (&self.0.client, kind.resource());
        self.0.scope.each(
            || Api::all_with(client.clone(), &resource),
            |namespace| Api::namespaced_with(client.clone(), namespace, &resource),
        )
    }
}

/// Returns the Cluster of an object.
fn groups(object: &DynamicObject) -> Vec<Key> {
    let types = object.types.as_ref();
    let is_cluster = types.is_some_and(|types| types.kind == Kind::Cluster.name());
    let name = if is_cluster {
        object.metadata.name.as_deref()
    } else {
        kinds::label(object, CLUSTER_NAME)
    };
    let key = |name: &str| (object.namespace().unwrap_or_default(), name.to_owned());
    name.map(key).into_iter().collect()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
