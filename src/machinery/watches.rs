//! Watches: how one is begun, how soon a silent one is noticed, and how it is begun anew.

use std::{fmt::Debug, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        WatchStreamExt as _,
        utils::{Backoff, ResetTimerBackoff},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

/// How long a watch lasts before it is begun anew, in seconds. One that went silent is noticed this much
/// and five seconds later; kube's default is 290.
pub const WATCH_TIMEOUT_SECONDS: u32 = 10;
/// How soon a watch is begun anew that broke off, and how long the pauses become.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After so long without an error the pauses are short again.
const CALM: Duration = Duration::from_secs(30);

/// The namespaces in which Belay works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// These namespaces; all where there are none.
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<_> = namespaces.into_iter().collect();
        all.sort();
        all.dedup();
        Self(all)
    }

    /// The namespaces; none for all.
    pub fn namespaces(&self) -> &[String] {
        &self.0
    }

    /// Whether the namespace is among them.
    pub fn has(&self, namespace: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|one| one == namespace)
    }

    /// The objects of a kind, one API for each namespace that is watched by itself.
    pub fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        if self.0.is_empty() {
            return vec![Api::all(client.clone())];
        }
        let of = |namespace: &String| Api::namespaced(client.clone(), namespace);
        self.0.iter().map(of).collect()
    }
}

/// How watches of all objects are set up. They list with the most recent semantics, for the lock is among
/// what they read.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_TIMEOUT_SECONDS)
}

/// The events of a watch, or of several that together show a kind, each with the number of the watch that it
/// comes from. A watch that breaks off is begun anew.
pub fn events<K>(
    apis: Vec<Api<DeserializeGuard<K>>>,
    config: &watcher::Config,
) -> impl Stream<Item = (usize, Result<Event<DeserializeGuard<K>>, watcher::Error>)> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let each = apis.into_iter().enumerate().map(|(number, api)| {
        watcher::watcher(api, config.clone())
            .backoff(pauses())
            .map(move |event| (number, event))
            .boxed()
    });
    stream::select_all(each)
}

/// The pauses between attempts to reach the API server. (kube's grow to a minute.)
struct Pauses(Duration);

fn pauses() -> ResetTimerBackoff<Pauses> {
    ResetTimerBackoff::new(Pauses(FIRST_PAUSE), CALM)
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = (self.0 * 2).min(LONGEST_PAUSE);
        Some(std::mem::replace(&mut self.0, next))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

/// `namespace/name`, for logs and keys.
pub fn full_name(object: &impl Resource) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}
