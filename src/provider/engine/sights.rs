//! The last observed state of each cluster. Each cluster has its own task that looks at it, so that an engine that
//! doesn't answer delays no other cluster.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use tokio::task::AbortHandle;

use crate::{
    api::ManagedCluster,
    lifecycle::{Observation, Trouble},
    machinery::clock,
    provider::{
        Changed,
        requests::{Passing, REQUEST_TIMEOUT},
    },
};

use super::{Engine, EngineError, Site, accounts::Accounts, pauses};

/// How long a cluster may be out of sight before its condition reports that.
const PATIENCE: Duration = Duration::from_secs(3);

type Key = ObjectRef<ManagedCluster>;

/// The last observed state of all clusters. Clones share it.
#[derive(Clone)]
pub struct Sights {
    engine: Arc<dyn Engine>,
    accounts: Arc<Accounts>,
    all: Arc<Mutex<HashMap<Key, Sight>>>,
    /// How many looks have begun.
    looks: Arc<AtomicU64>,
    changed: Changed,
}

/// The last observed state of one cluster.
struct Sight {
    site: Site,
    /// The number of the look that was noted last. A look that began before that one shows an older state.
    noted: u64,
    last: Option<Seen>,
    /// Why the cluster can't be seen, and since when.
    trouble: Option<(Passing, Instant)>,
    task: AbortHandle,
}

struct Seen {
    at: Timestamp,
    observation: Observation,
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sight {
    /// Returns what is shown of the cluster. None until the first look has ended.
    fn shown(&self) -> Option<Observation> {
        let seen = self.last.as_ref();
        let trouble = self.trouble.as_ref();
        // A first look that fails is shown at once: there is nothing else to show.
        let trouble = trouble.filter(|(_, since)| seen.is_none() || since.elapsed() >= PATIENCE);
        if seen.is_none() && trouble.is_none() {
            return None;
        }
        Some(Observation {
            trouble: trouble.map(|(passing, _)| Trouble {
                reason: passing.reason.clone(),
                message: passing.message.clone(),
                seen_at: seen.map(|seen| seen.at),
            }),
            ..seen
                .map(|seen| seen.observation.clone())
                .unwrap_or_default()
        })
    }
}

impl Sights {
    /// Starts without any cluster. A cluster whose state changes is sent to `changed`.
    pub fn new(engine: Arc<dyn Engine>, changed: Changed) -> Self {
        let pace = engine.pace();
        Self {
            accounts: Arc::new(Accounts::new(pace.per_second, pace.busy / 5)),
            engine,
            all: Arc::default(),
            looks: Arc::default(),
            changed,
        }
    }

    /// Returns the last observed state of a cluster. The first call starts the looks at it.
    pub fn of(&self, site: &Site) -> Option<Observation> {
        let mut all = self.lock();
        let sight = all.entry(site.key()).or_insert_with(|| Sight {
            site: site.clone(),
            noted: 0,
            last: None,
            trouble: None,
            task: tokio::spawn(self.clone().keep_looking(site.key())).abort_handle(),
        });
        sight.site = site.clone();
        sight.shown()
    }

    /// Stops looking at all clusters.
    pub fn end(&self) {
        self.lock().clear();
    }

    /// Stops looking at a cluster.
    pub fn forget(&self, cluster: &Key) {
        self.lock().remove(cluster);
        self.accounts.tidy();
    }

    /// Waits until the account's rate limit allows a request.
    pub async fn turn_of(&self, site: &Site) {
        self.accounts.turn_of(&self.engine.account(site)).await;
    }

    /// Looks at a cluster now, notes the result, and returns it.
    pub async fn look(&self, site: &Site) -> Result<Observation, EngineError> {
        self.turn_of(site).await;
        let number = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let looked = tokio::time::timeout(REQUEST_TIMEOUT, self.engine.look(site)).await;
        let looked = looked.unwrap_or_else(|_| Err(EngineError::Passing(no_answer())));
        self.note(&site.key(), number, &looked);
        looked
    }

    async fn keep_looking(self, key: Key) {
        loop {
            let site = self.lock().get(&key).map(|sight| sight.site.clone());
            let Some(site) = site else { return };
            let changes = self.engine.changes(&site);
            let looked = self.look(&site).await;
            let pace = self.engine.pace();
            let pause = match looked {
                Err(EngineError::Passing(passing)) => passing.retry_after.unwrap_or(pace.busy),
                Ok(_) | Err(EngineError::Final(_)) => pace.idle,
            };
            let is_troubled = self
                .lock()
                .get(&key)
                .is_some_and(|sight| sight.trouble.is_some());
            if is_troubled {
                // Trouble has to be shown once it lasts.
                tokio::time::sleep(pause.min(PATIENCE)).await;
                self.wake(&key);
            } else {
                pauses::while_idle(pause, pace.busy, changes).await;
            }
        }
    }

    fn note(&self, key: &Key, number: u64, looked: &Result<Observation, EngineError>) {
        let mut all = self.lock();
        let Some(sight) = all.get_mut(key).filter(|sight| sight.noted < number) else {
            return;
        };
        sight.noted = number;
        let before = sight.shown();
        match looked {
            Ok(observation) => {
                sight.trouble = None;
                sight.last = Some(Seen {
                    at: clock::now(),
                    observation: observation.clone(),
                });
            }
            Err(error) => {
                let passing = error.as_passing();
                tracing::warn!(
                    namespace = key.namespace,
                    cluster = key.name,
                    reason = passing.reason,
                    error = passing.message,
                    "failed to read the state of the cluster, trying again"
                );
                let since = sight.trouble.as_ref().map(|(_, since)| *since);
                sight.trouble = Some((passing, since.unwrap_or_else(Instant::now)));
            }
        }
        if sight.shown() != before {
            drop(all);
            self.wake(key);
        }
    }

    fn wake(&self, key: &Key) {
        // The receiver is gone only while the process ends.
        let _ = self.changed.send(key.clone());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Sight>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_answer() -> Passing {
    Passing::new("Unreachable", "the provider doesn't answer")
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::Notify;

    use super::*;
    use crate::{
        api::{KwokProviderSpec, ProviderSpec},
        lifecycle::{ControlPlaneView, Rules},
        provider::{
            Changes, NodeByNode,
            engine::{Answer, Change, Pace, State},
        },
    };

    /// An engine whose first answer takes long, and is out of date by then.
    #[derive(Default)]
    struct Slow {
        asked: AtomicU64,
        is_asked: Notify,
        may_answer: Notify,
        is_answering: Notify,
    }

    #[async_trait]
    impl Engine for Slow {
        fn rules(&self) -> &'static dyn Rules {
            &NodeByNode
        }

        fn pace(&self) -> Pace {
            Pace {
                idle: Duration::from_hours(1),
                busy: Duration::ZERO,
                per_second: 100,
            }
        }

        fn account(&self, _: &Site) -> String {
            String::new()
        }

        async fn look(&self, _: &Site) -> Result<Observation, EngineError> {
            if self.asked.fetch_add(1, Ordering::Relaxed) == 0 {
                self.is_asked.notify_one();
                self.may_answer.notified().await;
                self.is_answering.notify_one();
                return Ok(Observation::default());
            }
            let runs = ControlPlaneView {
                version: "1.36.3".parse().expect("a version"),
                running: true,
                changing_to: None,
            };
            Ok(Observation {
                control_plane: Some(runs),
                ..Observation::default()
            })
        }

        async fn begin(&self, _: &Site, _: &Change) -> Result<String, EngineError> {
            unreachable!("nobody asks")
        }

        async fn find(&self, _: &Site, _: &Change) -> Result<Option<String>, EngineError> {
            unreachable!("nobody asks")
        }

        async fn poll(&self, _: &Site, _: &str) -> Result<State, EngineError> {
            unreachable!("nobody asks")
        }

        async fn stop(&self, _: &Site, _: &str) -> Result<Answer, EngineError> {
            unreachable!("nobody asks")
        }
    }

    #[tokio::test]
    async fn the_answer_to_an_older_observation_reverts_nothing() {
        let engine = Arc::new(Slow::default());
        let (changed, _changes) = Changes::new();
        let sights = Sights::new(engine.clone(), changed);
        let spec = serde_json::from_str::<KwokProviderSpec>("{}").expect("a spec");
        let site = Site {
            namespace: "team".into(),
            cluster: "demo".into(),
            provider: ProviderSpec {
                kwok: Some(spec),
                ..ProviderSpec::default()
            },
        };
        assert_eq!(sights.of(&site), None, "nobody has looked yet");
        engine.is_asked.notified().await;
        sights.look(&site).await.expect("it answers");
        engine.may_answer.notify_one();
        engine.is_answering.notified().await;
        tokio::task::yield_now().await;
        let shown = sights.of(&site).expect("it was seen");
        assert!(shown.control_plane.is_some());
    }
}
