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
    /// It is gone.
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
    prune: fn(&mut K),
}

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
    pub fn new(groups: fn(&K) -> Vec<Key>, prune: fn(&mut K)) -> Self {
        Self::of_kind(&K::kind(&()), groups, prune)
    }
}

impl<K> Index<K>
where
    K: Resource + Clone + Debug + Send + Sync + 'static,
{
    /// The same, of a kind whose name its type doesn't say.
    pub fn of_kind(kind: &str, groups: fn(&K) -> Vec<Key>, prune: fn(&mut K)) -> Self {
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
                prune,
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
                applied.map(Change::Applied).into_iter().collect()
            }
            // A list is never older than what was written before it; but it may have come from a backup.
            Event::InitApply(guard) => {
                let applied = self.apply(&mut inner, source, guard);
                applied.map(Change::Applied).into_iter().collect()
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
    ) -> Option<Arc<K>> {
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
        Some(self.show(inner, source, key, object))
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
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::error_boundary::InvalidObject;

    use super::*;

    fn pod(name: &str, group: &str) -> DeserializeGuard<Pod> {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.into());
        pod.metadata.namespace = Some(group.into());
        DeserializeGuard(Ok(pod))
    }

    fn unreadable(name: &str, group: &str) -> DeserializeGuard<Pod> {
        let metadata = pod(name, group).0.expect("a pod").metadata;
        DeserializeGuard(Err(InvalidObject {
            error: "no such variant".into(),
            metadata,
        }))
    }

    /// An index of two namespaces, each with a watch of its own.
    fn index() -> Index<Pod> {
        let of_namespace = |pod: &Pod| vec![(pod.namespace().unwrap_or_default(), "all".into())];
        let index = Index::new(of_namespace, |_| ());
        index.expect(2);
        for source in [0, 1] {
            index.note(source, Event::Init);
            index.note(source, Event::InitApply(pod("a", &format!("ns{source}"))));
            index.note(source, Event::InitApply(pod("b", &format!("ns{source}"))));
        }
        index
    }

    fn names(index: &Index<Pod>, namespace: &str) -> Vec<String> {
        let all = index.of(&(namespace.into(), "all".into()));
        all.iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn it_is_complete_once_each_watch_has_listed_all() {
        let index = index();
        index.note(0, Event::InitDone);
        assert!(!index.is_complete());
        let changes = index.note(1, Event::InitDone);
        assert!(index.is_complete() && matches!(changes[..], [Change::Complete]));
    }

    #[test]
    fn a_watch_that_begins_anew_takes_nothing_out_before_its_list_is_complete() {
        let index = index();
        index.note(0, Event::InitDone);
        index.note(1, Event::InitDone);
        index.note(0, Event::Init);
        assert_eq!(names(&index, "ns0"), ["a", "b"]);
        index.note(0, Event::InitApply(pod("b", "ns0")));
        assert_eq!(names(&index, "ns0"), ["a", "b"]);
        // It breaks off in the middle of the list, and begins anew once more.
        index.note(0, Event::Init);
        index.note(0, Event::InitApply(pod("a", "ns0")));
        let changes = index.note(0, Event::InitDone);
        assert!(matches!(&changes[0], Change::Deleted(pod) if pod.name_any() == "b"));
        assert_eq!(names(&index, "ns0"), ["a"]);
        assert_eq!(names(&index, "ns1"), ["a", "b"], "another watch shows them");
    }

    #[test]
    fn what_can_not_be_read_any_more_stays_as_it_was_last_read() {
        let index = index();
        index.note(0, Event::InitDone);
        index.note(1, Event::InitDone);
        assert!(
            index
                .note(0, Event::Apply(unreadable("a", "ns0")))
                .is_empty()
        );
        index.note(0, Event::Init);
        index.note(0, Event::InitApply(unreadable("a", "ns0")));
        index.note(0, Event::InitApply(pod("b", "ns0")));
        index.note(0, Event::InitDone);
        assert_eq!(names(&index, "ns0"), ["a", "b"]);
        assert!(index.has_unreadable("ns0") && !index.has_unreadable("ns1"));
        index.note(0, Event::Delete(unreadable("a", "ns0")));
        assert_eq!(names(&index, "ns0"), ["b"]);
        assert!(!index.has_unreadable("ns0"));
    }

    fn at(version: &str) -> Pod {
        let mut pod = pod("a", "ns0").0.expect("a pod");
        pod.metadata.uid = Some("u1".into());
        pod.metadata.resource_version = Some(version.into());
        pod
    }

    fn shown(index: &Index<Pod>) -> Option<String> {
        index.get("ns0", "a")?.resource_version()
    }

    #[test]
    fn the_answer_to_a_write_is_shown_at_once_and_no_older_event_takes_it_back() {
        let index = index();
        index.note(0, Event::InitApply(DeserializeGuard(Ok(at("5")))));
        index.note(0, Event::InitDone);
        index.put(at("9"));
        assert_eq!(shown(&index).as_deref(), Some("9"));
        for known in ["7", "9"] {
            let changes = index.note(0, Event::Apply(DeserializeGuard(Ok(at(known)))));
            assert!(changes.is_empty());
        }
        assert_eq!(shown(&index).as_deref(), Some("9"));
        index.put(at("8"));
        assert_eq!(shown(&index).as_deref(), Some("9"));
        let changes = index.note(0, Event::Apply(DeserializeGuard(Ok(at("10")))));
        assert!(matches!(changes[..], [Change::Applied(_)]));
    }

    #[test]
    fn the_answer_to_a_write_brings_back_nothing_that_is_gone() {
        let index = index();
        index.note(0, Event::InitApply(DeserializeGuard(Ok(at("5")))));
        index.note(0, Event::InitDone);
        index.note(0, Event::Delete(DeserializeGuard(Ok(at("6")))));
        index.put(at("7"));
        assert_eq!(shown(&index), None);
        // Another object of that name.
        let mut other = at("8");
        other.metadata.uid = Some("u2".into());
        index.note(0, Event::Apply(DeserializeGuard(Ok(other))));
        index.put(at("9"));
        assert_eq!(shown(&index).as_deref(), Some("8"));
    }

    #[test]
    fn a_list_is_shown_even_where_its_versions_are_lower() {
        let index = index();
        index.note(0, Event::InitApply(DeserializeGuard(Ok(at("50")))));
        index.note(0, Event::InitDone);
        index.note(0, Event::Init);
        index.note(0, Event::InitApply(DeserializeGuard(Ok(at("5")))));
        assert_eq!(shown(&index).as_deref(), Some("5"));
    }

    #[test]
    fn an_object_that_changes_its_group_is_found_by_the_new_one_alone() {
        let group = |pod: &Pod| vec![(pod.labels()["group"].clone(), String::new())];
        let index = Index::<Pod>::new(group, |_| ());
        index.expect(1);
        let of = |group: &str| {
            let mut guard = pod("a", "ns");
            let labels = guard.0.as_mut().expect("a pod").labels_mut();
            labels.insert("group".into(), group.into());
            guard
        };
        let found = |group: &str| index.of(&(group.into(), String::new())).len();
        index.note(0, Event::Apply(of("old")));
        let woken = index.changes_of(&("old".into(), String::new()));
        index.note(0, Event::Apply(of("new")));
        assert_eq!((found("old"), found("new")), (0, 1));
        assert!(woken.has_changed().expect("the index is there"));
    }
}
