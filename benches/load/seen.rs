//! When a watch showed what became of each abort.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use belay::api::{ABORT_ANNOTATION, Operation, OperationPhase};
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};

use super::fleet::NAMESPACE;

/// What was seen of each Operation. Clones share it.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<BTreeMap<String, Times>>>);

#[derive(Clone, Copy, Default)]
struct Times {
    asked: Option<Instant>,
    shown: Option<Instant>,
    canceling: Option<Instant>,
    canceled: Option<Instant>,
}

impl Seen {
    /// Begins to watch.
    pub fn watch(client: &Client) -> Self {
        let this = Self::default();
        let noted = this.clone();
        let operations = Api::<Operation>::namespaced(client.clone(), NAMESPACE);
        tokio::spawn(async move {
            let events = watcher(operations, watcher::Config::default());
            let mut events = std::pin::pin!(events.default_backoff().applied_objects());
            while let Some(event) = events.next().await {
                if let Ok(operation) = event {
                    noted.note(&operation);
                }
            }
        });
        this
    }

    /// An abort is asked for now.
    pub fn asked(&self, operation: &str) {
        let mut seen = self.0.lock().expect("what was seen");
        seen.entry(operation.to_owned()).or_default().asked = Some(Instant::now());
    }

    fn note(&self, operation: &Operation) {
        let mut seen = self.0.lock().expect("what was seen");
        let times = seen.entry(operation.name_any()).or_default();
        if operation.annotations().contains_key(ABORT_ANNOTATION) {
            times.shown.get_or_insert_with(Instant::now);
        }
        let phase = operation.status.as_ref().map(|status| status.phase);
        if phase == Some(OperationPhase::Canceling) {
            times.canceling.get_or_insert_with(Instant::now);
        }
        if phase == Some(OperationPhase::Canceled) {
            times.canceled.get_or_insert_with(Instant::now);
        }
    }

    /// How long it took until the annotations were shown, until `Canceling` and until `Canceled`.
    pub fn spreads(&self, names: &[String]) -> anyhow::Result<(Spread, Spread, Spread)> {
        let seen = self.0.lock().expect("what was seen");
        let spread = |what: &str, of: fn(&Times) -> Option<Instant>| {
            let times = names.iter().map(|name| {
                let times = seen.get(name).context("seen")?;
                let (asked, then) = (times.asked.context("asked")?, of(times));
                let then = then.with_context(|| format!("{name} was never seen {what}"))?;
                Ok(then.duration_since(asked))
            });
            times.collect::<anyhow::Result<Vec<_>>>().map(Spread::of)
        };
        Ok((
            spread("with its annotation", |times| times.shown)?,
            spread("Canceling", |times| times.canceling)?,
            spread("Canceled", |times| times.canceled)?,
        ))
    }
}

/// How times are spread.
pub struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    /// The longest.
    pub fn most(&self) -> Duration {
        self.at(100)
    }

    /// How many times the median of another one this one's is.
    pub fn ratio(&self, floor: &Self) -> f64 {
        self.at(50).as_secs_f64() / floor.at(50).as_secs_f64()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, most_of_them, most) = (self.at(50), self.at(99), self.at(100));
        write!(
            formatter,
            "median {median:.1?}, 99 % within {most_of_them:.1?}, at most {most:.1?}"
        )
    }
}
