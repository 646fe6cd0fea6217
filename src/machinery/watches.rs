//! One watch and one store for each kind; the controller is woken by what passes through.

use std::{fmt::Debug, future::ready};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch as flag;

/// How long a watch lasts before it is begun anew, in seconds. One that went silent is noticed this much
/// and five seconds later; kube's default is 290.
pub const WATCH_TIMEOUT_SECONDS: u32 = 15;

/// Whether the first look at a kind is complete. (kube's `Store::wait_until_ready` wakes only the last of
/// several that wait for the same store.)
#[derive(Clone, Debug)]
pub struct Readiness(flag::Receiver<bool>);

impl Readiness {
    /// Whether it is complete now.
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is complete.
    pub async fn ready(&self) {
        if self.0.clone().wait_for(|ready| *ready).await.is_err() {
            // The watch is gone: the process ends.
            std::future::pending::<()>().await;
        }
    }
}

/// A stream of events that fills a store, and tells when the first look is complete.
pub fn reflected<K, S>(
    events: S,
) -> (
    Store<K>,
    Readiness,
    impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    S: Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
{
    let (store, writer) = reflector::store();
    let (told, ready) = flag::channel(false);
    let events = events.reflect(writer).inspect_ok(move |event| {
        if matches!(event, Event::InitDone) {
            told.send_replace(true);
        }
    });
    (store, Readiness(ready), events)
}

/// The objects of a kind in a namespace, or in all.
pub fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A store of all objects of a kind in a namespace, or in all, and the stream that fills it and gives each one that was touched.
///
/// It lists with the most recent semantics, for the lock is among what it reads. An object that can't be
/// read is told and left out; the watch goes on.
pub fn watch<K>(
    client: &Client,
    namespace: Option<&str>,
) -> (
    Store<K>,
    Readiness,
    impl Stream<Item = Result<K, watcher::Error>> + Send + 'static,
)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let config = watcher::Config::default().timeout(WATCH_TIMEOUT_SECONDS);
    let events = watcher::watcher(scoped::<DeserializeGuard<K>>(client, namespace), config)
        .default_backoff()
        .filter_map(|event| ready(readable(event).transpose()));
    let (store, readiness, events) = reflected(events);
    (store, readiness, events.touched_objects())
}

fn readable<K: Resource<DynamicType = ()>>(
    event: Result<Event<DeserializeGuard<K>>, watcher::Error>,
) -> Result<Option<Event<K>>, watcher::Error> {
    let object = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Some(object),
        Err(error) => {
            let (namespace, name) = (
                error.metadata.namespace.unwrap_or_default(),
                error.metadata.name.unwrap_or_default(),
            );
            tracing::error!(kind = %K::kind(&()), namespace, name, error = error.error, "left out an object that can't be read");
            None
        }
    };
    Ok(match event? {
        Event::Apply(guard) => object(guard).map(Event::Apply),
        Event::InitApply(guard) => object(guard).map(Event::InitApply),
        Event::Delete(guard) => object(guard).map(Event::Delete),
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
    })
}

/// `namespace/name`, for logs and keys.
pub fn full_name(object: &impl Resource) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}
