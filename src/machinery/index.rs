//! The objects of a kind as watches have shown them, found by name and by group.
//!
//! That a watch is begun anew takes nothing out of the index: an object goes when the API server says that it
//! is gone, or when a complete list doesn't have it. One that can't be read any more stays as it was last read.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt as _};
use kube::{
    Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::watcher::{self, Event},
};
use tokio::sync::watch;

pub use super::counts::Key;
use super::{counts::Counts, versions::version};

/// The key of an object.
pub fn key(object: &impl Resource) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// What became of an object.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// It was made or changed, or seen for the first time.
    Applied(Arc<K>),
    /// It is gone, or not kept any more.
    Deleted(Arc<K>),
    /// From now on the index shows all that there is.
    Complete,
}

/// The objects of a kind. Clones share them.
pub struct Index<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    /// The kind's name, for the log.
    kind: String,
    inner: Mutex<Inner<K>>,
    complete: watch::Sender<bool>,
    groups: fn(&K) -> Vec<Key>,
    prune: Prune<K>,
    is_kept: IsKept<K>,
}

type Prune<K> = Box<dyn Fn(&mut K) + Send + Sync>;
type IsKept<K> = Box<dyn Fn(&K) -> bool + Send + Sync>;

struct Inner<K> {
    /// The key is shared with the groups: there are many objects.
    objects: HashMap<Arc<Key>, Shown<K>>,
    by_group: HashMap<Key, BTreeSet<Arc<Key>>>,
    /// Those that can't be read, and which watch they come from.
    unreadable: HashMap<Key, usize>,
    /// Counts the changes of a group, for who waits for the next.
    changes: Counts,
    /// What each watch has listed since it began anew.
    listing: Vec<Option<HashSet<Key>>>,
    /// Which watches have listed all.
    listed: Vec<bool>,
}

struct Shown<K> {
    object: Arc<K>,
    /// Which watch it comes from.
    source: usize,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<K> Index<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    /// An empty index. An object is found by each of its `groups`; `prune` takes away what nobody reads.
    pub fn new(groups: fn(&K) -> Vec<Key>, prune: impl Fn(&mut K) + Send + Sync + 'static) -> Self {
        Self::of_kind(&K::kind(&()), groups, prune, |_| true)
    }

    /// The same, of those objects alone that are kept.
    pub fn keeping(
        groups: fn(&K) -> Vec<Key>,
        prune: impl Fn(&mut K) + Send + Sync + 'static,
        is_kept: impl Fn(&K) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::of_kind(&K::kind(&()), groups, prune, is_kept)
    }
}

impl<K> Index<K>
where
    K: Resource + Clone + Debug + Send + Sync + 'static,
{
    /// The same, of a kind whose name its type doesn't say.
    pub fn of_kind(
        kind: &str,
        groups: fn(&K) -> Vec<Key>,
        prune: impl Fn(&mut K) + Send + Sync + 'static,
        is_kept: impl Fn(&K) -> bool + Send + Sync + 'static,
    ) -> Self {
        let inner = Inner {
            objects: HashMap::new(),
            by_group: HashMap::new(),
            unreadable: HashMap::new(),
            changes: Counts::default(),
            listing: Vec::new(),
            listed: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                kind: kind.to_owned(),
                inner: Mutex::new(inner),
                complete: watch::channel(false).0,
                groups,
                prune: Box::new(prune),
                is_kept: Box::new(is_kept),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<K>> {
        let inner = self.shared.inner.lock();
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of that namespace and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        let inner = self.inner();
        inner.objects.get(&key).map(|shown| shown.object.clone())
    }

    /// The objects of a group, by name.
    pub fn of(&self, group: &Key) -> Vec<Arc<K>> {
        let inner = self.inner();
        let keys = inner.by_group.get(group).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key))
            .map(|shown| shown.object.clone())
            .collect()
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<K>> {
        let inner = self.inner();
        let shown = inner.objects.values();
        shown.map(|shown| shown.object.clone()).collect()
    }

    /// Whether there is an object in the namespace that can't be read.
    pub fn has_unreadable(&self, namespace: &str) -> bool {
        let inner = self.inner();
        inner.unreadable.keys().any(|(of, _)| of == namespace)
    }

    /// Whether it shows all that there is.
    pub fn is_complete(&self) -> bool {
        *self.shared.complete.borrow()
    }

    /// Waits until it shows all that there is.
    pub async fn complete(&self) {
        let mut complete = self.shared.complete.subscribe();
        // The sender is in the index itself.
        let _ = complete.wait_for(|complete| *complete).await;
    }

    /// Counts the changes of a group.
    pub fn changes_of(&self, group: &Key) -> watch::Receiver<u64> {
        self.inner().changes.of(group)
    }

    /// Fills the index from `sources` watches, and calls `sink` with each change.
    pub async fn follow(
        self,
        sources: usize,
        events: impl Stream<Item = (usize, Result<Event<DeserializeGuard<K>>, watcher::Error>)>,
        sink: impl Fn(Change<K>),
    ) {
        self.expect(sources);
        let mut events = std::pin::pin!(events);
        while let Some((source, event)) = events.next().await {
            match event {
                Ok(event) => self.note(source, event).into_iter().for_each(&sink),
                Err(error) => {
                    tracing::warn!(kind = self.shared.kind, %error, "failed to watch, trying again");
                }
            }
        }
    }

    fn expect(&self, sources: usize) {
        let mut inner = self.inner();
        inner.listing.resize_with(sources, || None);
        inner.listed.resize(sources, false);
    }

    /// Shows at once what a write was answered with. Whoever wrote it decides on it: the watch's event of the same
    /// version is then no change. What the index doesn't have stays out: it may be gone already.
    pub fn put(&self, object: K) {
        let mut inner = self.inner();
        let key = key(&object);
        if !(self.shared.is_kept)(&object) {
            // The watch's event takes it out, and reports that.
            return;
        }
        let older = inner.objects.get(&key).filter(|shown| {
            shown.object.meta().uid == object.meta().uid && is_newer(&object, &*shown.object)
        });
        if let Some(source) = older.map(|shown| shown.source) {
            self.show(&mut inner, source, key, object);
        }
    }

    /// Notes one event of a watch.
    fn note(&self, source: usize, event: Event<DeserializeGuard<K>>) -> Vec<Change<K>> {
        let mut inner = self.inner();
        match event {
            Event::Init => {
                inner.listing[source] = Some(HashSet::new());
                Vec::new()
            }
            Event::Apply(guard) => {
                let key = key(&guard);
                let shown = inner.objects.get(&key);
                let is_known = shown.is_some_and(|shown| {
                    shown.object.meta().uid == guard.meta().uid && !is_newer(&guard, &*shown.object)
                });
                if is_known && !inner.unreadable.contains_key(&key) {
                    return Vec::new();
                }
                let applied = self.apply(&mut inner, source, guard);
                applied.into_iter().collect()
            }
            // A list is never older than what was written before it; but it may have come from a backup.
            Event::InitApply(guard) => {
                let applied = self.apply(&mut inner, source, guard);
                applied.into_iter().collect()
            }
            Event::Delete(guard) => {
                let key = key(&guard);
                let gone = self.remove(&mut inner, &key);
                gone.map(Change::Deleted).into_iter().collect()
            }
            Event::InitDone => self.listed(&mut inner, source),
        }
    }

    fn apply(
        &self,
        inner: &mut Inner<K>,
        source: usize,
        guard: DeserializeGuard<K>,
    ) -> Option<Change<K>> {
        let key = key(&guard);
        if let Some(listing) = &mut inner.listing[source] {
            listing.insert(key.clone());
        }
        let object = match guard.0 {
            Ok(object) => object,
            Err(error) => {
                tracing::error!(
                    kind = self.shared.kind,
                    namespace = key.0,
                    name = key.1,
                    error = error.error,
                    "an object can't be read: it stays as it was last read"
                );
                inner.unreadable.insert(key, source);
                return None;
            }
        };
        if !(self.shared.is_kept)(&object) {
            return self.remove(inner, &key).map(Change::Deleted);
        }
        Some(Change::Applied(self.show(inner, source, key, object)))
    }

    fn show(&self, inner: &mut Inner<K>, source: usize, key: Key, mut object: K) -> Arc<K> {
        (self.shared.prune)(&mut object);
        self.remove(inner, &key);
        let (key, object) = (Arc::new(key), Arc::new(object));
        for group in (self.shared.groups)(&object) {
            inner.changes.wake(&group);
            inner.by_group.entry(group).or_default().insert(key.clone());
        }
        let shown = Shown {
            object: object.clone(),
            source,
        };
        inner.objects.insert(key, shown);
        object
    }

    fn remove(&self, inner: &mut Inner<K>, key: &Key) -> Option<Arc<K>> {
        inner.unreadable.remove(key);
        let object = inner.objects.remove(key)?.object;
        for group in (self.shared.groups)(&object) {
            inner.changes.wake(&group);
            if let Some(keys) = inner.by_group.get_mut(&group) {
                keys.remove(key);
                if keys.is_empty() {
                    inner.by_group.remove(&group);
                }
            }
        }
        Some(object)
    }

    /// A watch has listed all: what its list doesn't have is gone.
    fn listed(&self, inner: &mut Inner<K>, source: usize) -> Vec<Change<K>> {
        let listed = inner.listing[source].take().unwrap_or_default();
        let shown = inner.objects.iter();
        let gone = shown.filter(|(key, shown)| shown.source == source && !listed.contains(&***key));
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        let mut changes: Vec<_> = gone
            .iter()
            .filter_map(|key| self.remove(inner, key))
            .map(Change::Deleted)
            .collect();
        inner
            .unreadable
            .retain(|key, of| *of != source || listed.contains(key));
        inner.listed[source] = true;
        if inner.listed.iter().all(|listed| *listed) {
            self.shared.complete.send_replace(true);
            changes.push(Change::Complete);
        }
        changes
    }
}

/// Whether an object is of a later version than another state of it. Where that can't be said, it is.
fn is_newer(object: &impl Resource, than: &impl Resource) -> bool {
    match (version(object), version(than)) {
        (Some(version), Some(than)) => version > than,
        _ => true,
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
