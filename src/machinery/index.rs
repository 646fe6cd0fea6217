//! A cache of the objects of a kind, filled by watches. Objects are found by name and by group.
//!
//! A restart of a watch removes nothing from the index. An object is removed when the API server reports that it is
//! deleted, or when a complete list doesn't contain it. An object that can't be read any more stays as it was last
//! read.

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

/// Returns the key of an object.
pub fn key(object: &impl Resource) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// A change in the index.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// An object was created or changed, or seen for the first time.
    Applied(Arc<K>),
    /// An object was deleted, or the index doesn't keep it any more.
    Deleted(Arc<K>),
    /// From now on, the index shows all objects.
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
    /// The groups share the key to save memory: there are many objects.
    objects: HashMap<Arc<Key>, Shown<K>>,
    by_group: HashMap<Key, BTreeSet<Arc<Key>>>,
    /// The objects that can't be read, and the number of the watch that each comes from.
    unreadable: HashMap<Key, usize>,
    /// Counts the changes of each group, for tasks that wait for the next.
    changes: Counts,
    /// The objects that each watch has listed since it restarted.
    listing: Vec<Option<HashSet<Key>>>,
    /// Which watches have completed a list.
    listed: Vec<bool>,
}

struct Shown<K> {
    object: Arc<K>,
    /// The number of the watch that it comes from.
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
    /// Returns an empty index. An object is found by each of its `groups`. `prune` removes the fields that nobody
    /// reads.
    pub fn new(groups: fn(&K) -> Vec<Key>, prune: impl Fn(&mut K) + Send + Sync + 'static) -> Self {
        Self::of_kind(&K::kind(&()), groups, prune, |_| true)
    }

    /// Returns an empty index that keeps only the objects for which `is_kept` returns true.
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
    /// Like `keeping`, for a type that doesn't know the name of its kind.
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

    /// Returns the object of that namespace and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = (namespace.to_owned(), name.to_owned());
        let inner = self.inner();
        inner.objects.get(&key).map(|shown| shown.object.clone())
    }

    /// Returns the objects of a group, sorted by name.
    pub fn of(&self, group: &Key) -> Vec<Arc<K>> {
        let inner = self.inner();
        let keys = inner.by_group.get(group).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key))
            .map(|shown| shown.object.clone())
            .collect()
    }

    /// Returns all objects, in no particular order.
    pub fn all(&self) -> Vec<Arc<K>> {
        let inner = self.inner();
        let shown = inner.objects.values();
        shown.map(|shown| shown.object.clone()).collect()
    }

    /// Returns whether the namespace has an object that can't be read.
    pub fn has_unreadable(&self, namespace: &str) -> bool {
        let inner = self.inner();
        inner.unreadable.keys().any(|(of, _)| of == namespace)
    }

    /// Returns whether the index shows all objects.
    pub fn is_complete(&self) -> bool {
        *self.shared.complete.borrow()
    }

    /// Waits until the index shows all objects.
    pub async fn complete(&self) {
        let mut complete = self.shared.complete.subscribe();
        // It can't fail: the index itself owns the sender.
        let _ = complete.wait_for(|complete| *complete).await;
    }

    /// Returns a receiver that counts the changes of a group.
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

    /// Shows the answer to a write at once. The writer itself acts on it, so the watch's event of the same version
    /// isn't reported as a change. An object that the index doesn't have isn't added: it may already be deleted.
    pub fn put(&self, object: K) {
        let mut inner = self.inner();
        let key = key(&object);
        if !(self.shared.is_kept)(&object) {
            // The watch's event removes it, and reports that.
            return;
        }
        let older = inner.objects.get(&key).filter(|shown| {
            shown.object.meta().uid == object.meta().uid && is_newer(&object, &*shown.object)
        });
        if let Some(source) = older.map(|shown| shown.source) {
            self.show(&mut inner, source, key, object);
        }
    }

    /// Notes one event of a watch. Returns the changes.
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
            // A list is never older than the writes before it. But it may come from a restored backup, so its versions
            // may be lower.
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
                    "an object can't be read, Belay keeps using the last version that it could read"
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

    /// A watch has listed all objects: removes those that its list doesn't contain.
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

/// Returns whether an object has a later version than another state of it. True if the versions can't be compared.
fn is_newer(object: &impl Resource, than: &impl Resource) -> bool {
    match (version(object), version(than)) {
        (Some(version), Some(than)) => version > than,
        _ => true,
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
