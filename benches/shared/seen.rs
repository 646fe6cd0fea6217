//! When a watch showed the result of each abort.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use belay::api::{ABORT_ANNOTATION, Operation, OperationPhase};
use futures::StreamExt as _;
use kube::{
    Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::sync::watch;

use super::{objects::Objects, spread::Spread};

/// What a watch showed of the Operations of a namespace. Clones share it.
#[derive(Clone)]
pub struct Seen {
    objects: Objects,
    times: Arc<Mutex<BTreeMap<String, Times>>>,
    changed: watch::Sender<()>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    is_in_flight: bool,
    asked: Option<Instant>,
    shown: Option<Instant>,
    canceling: Option<Instant>,
    canceled: Option<Instant>,
}

impl Seen {
    /// Starts to watch.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let this = Self {
            objects: Objects::new(client.clone(), namespace),
            times: Arc::default(),
            changed: watch::Sender::new(()),
        };
        let noted = this.clone();
        tokio::spawn(async move {
            let events = watcher(noted.objects.api::<Operation>(), watcher::Config::default());
            let mut events = std::pin::pin!(events.default_backoff().applied_objects());
            while let Some(event) = events.next().await {
                if let Ok(operation) = event {
                    noted.note(&operation);
                }
            }
        });
        this
    }

    /// Requests an abort.
    pub async fn abort(&self, operation: &str) -> anyhow::Result<()> {
        self.times(|times| {
            times.entry(operation.to_owned()).or_default().asked = Some(Instant::now());
        });
        self.objects.abort(operation).await
    }

    /// Requests an abort, and waits until the watch shows its end.
    pub async fn abort_to_the_end(&self, operation: &str) -> anyhow::Result<()> {
        let mut changed = self.changed.subscribe();
        self.abort(operation).await?;
        while self.times(|times| times.get(operation).is_none_or(|it| it.canceled.is_none())) {
            tokio::time::timeout(Duration::from_mins(1), changed.changed())
                .await
                .with_context(|| format!("{operation} is never Canceled"))??;
        }
        Ok(())
    }

    /// Waits for an Operation that is in flight and not aborted, and whose name starts with `prefix`. Returns its name.
    pub async fn in_flight(&self, prefix: &str) -> anyhow::Result<String> {
        let mut changed = self.changed.subscribe();
        loop {
            let found = self.times(|times| {
                let mut all = times.iter();
                let found = all.find(|(name, it)| {
                    name.starts_with(prefix) && it.is_in_flight && it.asked.is_none()
                });
                found.map(|(name, _)| name.clone())
            });
            if let Some(name) = found {
                return Ok(name);
            }
            tokio::time::timeout(Duration::from_mins(1), changed.changed())
                .await
                .with_context(|| format!("{prefix} is never in flight"))??;
        }
    }

    fn note(&self, operation: &Operation) {
        let phase = operation.status.as_ref().map(|status| status.phase);
        self.times(|times| {
            let times = times.entry(operation.name_any()).or_default();
            times.is_in_flight = phase == Some(OperationPhase::InProgress);
            if operation.annotations().contains_key(ABORT_ANNOTATION) {
                times.shown.get_or_insert_with(Instant::now);
            }
            if phase == Some(OperationPhase::Canceling) {
                times.canceling.get_or_insert_with(Instant::now);
            }
            if phase == Some(OperationPhase::Canceled) {
                times.canceled.get_or_insert_with(Instant::now);
            }
        });
        self.changed.send_replace(());
    }

    fn times<T>(&self, then: impl FnOnce(&mut BTreeMap<String, Times>) -> T) -> T {
        then(&mut self.times.lock().expect("what was seen"))
    }

    /// Returns how many of these Operations the watch has shown as Canceled.
    pub fn canceled(&self, names: &[String]) -> usize {
        self.times(|times| {
            let canceled = names
                .iter()
                .filter(|name| times.get(*name).is_some_and(|it| it.canceled.is_some()));
            canceled.count()
        })
    }

    /// Returns how long the aborts took, measured from their annotations.
    pub fn spreads(&self, names: &[String]) -> anyhow::Result<Spreads> {
        let spread = |what: &str, of: fn(&Times) -> Option<Instant>| {
            let times = names.iter().map(|name| {
                let times = self.times(|times| times.get(name).copied());
                let times = times.context("seen")?;
                let then = of(&times).with_context(|| format!("{name} was never seen {what}"))?;
                Ok(then.duration_since(times.asked.context("asked")?))
            });
            times.collect::<anyhow::Result<Vec<_>>>().map(Spread::of)
        };
        Ok(Spreads {
            shown: spread("with its annotation", |times| times.shown)?,
            canceling: spread("Canceling", |times| times.canceling)?,
            canceled: spread("Canceled", |times| times.canceled)?,
        })
    }
}

/// How long it took until a watch showed the annotations, `Canceling` and `Canceled`.
pub struct Spreads {
    pub shown: Spread,
    pub canceling: Spread,
    pub canceled: Spread,
}
