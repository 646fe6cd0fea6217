//! Watches: how one is begun, how soon a silent one is noticed, and how it is begun anew.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::shard::Shard;

/// How long a watch lasts before it is begun anew, in seconds. One that went silent is noticed this much
/// and five seconds later; kube's default is 290.
pub const WATCH_TIMEOUT_SECONDS: u32 = 10;
/// How soon a watch is begun anew that broke off, and how long the pauses become.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After so long without an error the pauses are short again.
const CALM: Duration = Duration::from_secs(30);

/// The clusters that an operator looks after: those of some namespaces, or a part of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    namespaces: Vec<String>,
    shard: Option<Shard>,
}

impl Scope {
    /// The clusters of these namespaces; of all where there are none.
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<_> = namespaces.into_iter().collect();
        all.sort();
        all.dedup();
        Self {
            namespaces: all,
            shard: None,
        }
    }

    /// Those of these clusters that are in a shard.
    #[must_use]
    pub fn within(&self, shard: Shard) -> Self {
        Self {
            shard: Some(shard),
            ..self.clone()
        }
    }

    /// The namespaces; none for all.
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Whether a cluster of that name is looked after. Of one that isn't, not seeing it says nothing.
    pub fn has_cluster(&self, namespace: &str, cluster: &str) -> bool {
        let namespaces = &self.namespaces;
        let is_in_namespace =
            namespaces.is_empty() || namespaces.iter().any(|one| one == namespace);
        let shard = self.shard.as_ref();
        is_in_namespace && shard.is_none_or(|shard| shard.has(namespace, cluster))
    }

    /// The objects of a kind, one API for each namespace that is watched by itself.
    pub fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        self.each(
            || Api::all(client.clone()),
            |namespace| Api::namespaced(client.clone(), namespace),
        )
    }

    /// One for all namespaces, or one for each that is watched by itself.
    pub fn each<T>(&self, all: impl FnOnce() -> T, in_one: impl Fn(&str) -> T) -> Vec<T> {
        if self.namespaces.is_empty() {
            return vec![all()];
        }
        let each = self.namespaces.iter();
        each.map(|namespace| in_one(namespace)).collect()
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
    K: Resource<DynamicType: Clone + Send>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let each = apis.into_iter().enumerate().map(|(number, api)| {
        watcher::watcher(api, config.clone())
            .backoff(Pauses::new())
            .map(move |event| (number, event))
            .boxed()
    });
    stream::select_all(each)
}

/// The pauses between attempts to reach the API server. They are short again after a calm; not after an
/// event, for kube's watcher gives one before each attempt.
struct Pauses {
    next: Duration,
    last: Option<Instant>,
}

impl Pauses {
    fn new() -> Self {
        Self {
            next: FIRST_PAUSE,
            last: None,
        }
    }

    fn after(&mut self, now: Instant) -> Duration {
        let was_calm = self
            .last
            .is_some_and(|last| now.duration_since(last) > CALM);
        if was_calm {
            self.next = FIRST_PAUSE;
        }
        self.last = Some(now);
        let next = (self.next * 2).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.next, next)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.after(Instant::now()))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {}
}

/// `namespace/name`, for logs and keys.
pub fn full_name(object: &impl Resource) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_seconds_whatever_comes_between_and_are_short_after_a_calm() {
        let (mut pauses, start) = (Pauses::new(), Instant::now());
        let grown: Vec<_> = (0..7)
            .map(|_| {
                pauses.reset();
                pauses.after(start).as_millis()
            })
            .collect();
        assert_eq!(grown, [200, 400, 800, 1600, 3200, 5000, 5000]);
        let later = start + CALM + Duration::from_secs(1);
        assert_eq!(pauses.after(later), FIRST_PAUSE);
    }
}
