//! Watches: how one is started, how soon a silent one is noticed, and how it is restarted.

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

/// How long a watch lasts before it is restarted, in seconds. A watch that went silent is noticed after this time plus
/// five seconds. kube's default is 290.
pub const WATCH_TIMEOUT_SECONDS: u32 = 10;
/// The first and the longest pause before a watch that broke off is restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After this time without an error, the pauses are short again.
const CALM: Duration = Duration::from_secs(30);

/// The clusters that an operator manages: those of some or all namespaces, or a shard of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    namespaces: Vec<String>,
    shard: Option<Shard>,
}

impl Scope {
    /// Returns the scope of the clusters of these namespaces. No namespaces means all.
    pub fn of(namespaces: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<_> = namespaces.into_iter().collect();
        all.sort();
        all.dedup();
        Self {
            namespaces: all,
            shard: None,
        }
    }

    /// Returns the scope of those clusters that are also in a shard.
    #[must_use]
    pub fn within(&self, shard: Shard) -> Self {
        Self {
            shard: Some(shard),
            ..self.clone()
        }
    }

    /// Returns the namespaces. Empty means all.
    pub fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Returns whether this scope includes a cluster. If it doesn't, a cluster that isn't seen may still exist.
    pub fn has_cluster(&self, namespace: &str, cluster: &str) -> bool {
        let namespaces = &self.namespaces;
        let is_in_namespace =
            namespaces.is_empty() || namespaces.iter().any(|one| one == namespace);
        let shard = self.shard.as_ref();
        is_in_namespace && shard.is_none_or(|shard| shard.has(namespace, cluster))
    }

    /// Returns the APIs for the objects of a kind: one for all namespaces, or one for each namespace of the scope.
    pub fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        self.each(
            || Api::all(client.clone()),
            |namespace| Api::namespaced(client.clone(), namespace),
        )
    }

    /// Returns one value for all namespaces, or one for each namespace of the scope.
    pub fn each<T>(&self, all: impl FnOnce() -> T, in_one: impl Fn(&str) -> T) -> Vec<T> {
        if self.namespaces.is_empty() {
            return vec![all()];
        }
        let each = self.namespaces.iter();
        each.map(|namespace| in_one(namespace)).collect()
    }
}

/// Returns the configuration of watches of all objects. They list with the most recent semantics, because they also
/// read the lock.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_TIMEOUT_SECONDS)
}

/// Returns the events of a watch, or of several that together show a kind. Each event comes with the number of its
/// watch. A watch that breaks off is restarted.
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

/// The pauses between attempts to reach the API server. They become short again after a calm time, but not after an
/// event, because kube's watcher emits one before each attempt.
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

/// Returns `namespace/name`, for logs and keys.
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
    fn pauses_grow_to_five_seconds_and_are_short_again_after_a_quiet_time() {
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
