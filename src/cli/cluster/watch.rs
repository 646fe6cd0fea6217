//! Watches one cluster and what belongs to it, and returns a [`View`] for each change.

use std::{collections::BTreeMap, sync::Arc};

use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    stream::{BoxStream, SelectAll},
};
use kube::{
    Api, Resource, ResourceExt as _,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use crate::{
    api::{AgentPool, CLUSTER_LABEL, ManagedCluster, Operation},
    cli::cluster::{session::Session, view::View},
    machinery::watches::WATCH_TIMEOUT_SECONDS,
};

type Changes = BoxStream<'static, Result<Seen, watcher::Error>>;

/// What a watch saw.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The complete first list.
    All,
    Change,
}

/// What happened to the cluster.
pub enum News {
    /// Its new state.
    View(Box<View>),
    /// It no longer exists.
    Gone,
    /// It can't be read now. The watch tries again.
    Unseen(String),
}

/// The watches of one cluster.
pub struct ClusterWatch {
    session: Session,
    clusters: Store<ManagedCluster>,
    pools: Store<AgentPool>,
    operations: BTreeMap<String, Store<Operation>>,
    changes: SelectAll<Changes>,
    /// How many watches don't have their first list yet.
    first_looks: usize,
    last: Option<View>,
}

impl ClusterWatch {
    /// Begins to watch the cluster with this name.
    pub fn new(session: &Session, cluster: &str) -> Self {
        let config = watcher::Config::default();
        let by_name = config.clone().fields(&format!("metadata.name={cluster}"));
        let by_label = config.labels(&format!("{CLUSTER_LABEL}={cluster}"));
        let (clusters, cluster_changes) = watched(session.api(), by_name);
        let (pools, pool_changes) = watched(session.api(), by_label);
        let mut this = Self {
            session: session.clone(),
            clusters,
            pools,
            operations: BTreeMap::new(),
            changes: [cluster_changes, pool_changes].into_iter().collect(),
            first_looks: 2,
            last: None,
        };
        this.watch_operations_on(cluster.to_owned());
        this
    }

    fn watch_operations_on(&mut self, target: String) {
        if self.operations.contains_key(&target) {
            return;
        }
        let config = watcher::Config::default().fields(&format!("spec.target.name={target}"));
        let (store, changes) = watched(self.session.api(), config);
        self.operations.insert(target, store);
        self.changes.push(changes);
        self.first_looks += 1;
    }

    /// Waits for the next change of the output. The future can be dropped, and the method called again.
    pub async fn next(&mut self) -> News {
        loop {
            match self.changes.next().await {
                Some(Ok(seen)) => self.note(seen),
                Some(Err(error)) => return News::Unseen(error.to_string()),
                None => return News::Gone,
            }
            // Changes that arrive together are shown together.
            while let Some(Some(Ok(seen))) = self.changes.next().now_or_never() {
                self.note(seen);
            }
            for pool in self.pools.state() {
                self.watch_operations_on(pool.name_any());
            }
            if self.first_looks > 0 {
                continue;
            }
            let Some(cluster) = self.clusters.state().into_iter().next() else {
                return News::Gone;
            };
            let view = View::new(owned(&cluster), all(&self.pools), self.all_operations());
            if self.last.as_ref() != Some(&view) {
                self.last = Some(view.clone());
                return News::View(Box::new(view));
            }
        }
    }

    fn note(&mut self, seen: Seen) {
        if seen == Seen::All {
            self.first_looks = self.first_looks.saturating_sub(1);
        }
    }

    fn all_operations(&self) -> Vec<Operation> {
        self.operations.values().flat_map(all).collect()
    }

    /// Returns the Operation with this name, even if it has ended.
    pub fn operation(&self, name: &str) -> Option<Operation> {
        let mut all = self.operations.values().flat_map(Store::state);
        all.find(|operation| operation.name_any() == name)
            .map(|operation| owned(&operation))
    }
}

/// Returns all objects in a store.
fn all<K: Resource<DynamicType = ()> + Clone + 'static>(store: &Store<K>) -> Vec<K> {
    store.state().iter().map(owned).collect()
}

fn owned<K: Clone>(object: &Arc<K>) -> K {
    object.as_ref().clone()
}

/// Returns a store of the selected objects, and the stream that fills it.
fn watched<K>(api: Api<K>, config: watcher::Config) -> (Store<K>, Changes)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let mut is_first = true;
    let changes = watcher::watcher(api, config.timeout(WATCH_TIMEOUT_SECONDS))
        .default_backoff()
        .reflect(writer)
        .map_ok(move |event| {
            let is_all = matches!(event, Event::InitDone);
            if is_all && std::mem::take(&mut is_first) {
                Seen::All
            } else {
                Seen::Change
            }
        });
    (store, changes.boxed())
}
