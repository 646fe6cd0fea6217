//! Clusters that wait to be reconciled, and clusters that are being reconciled. kube's queue can't be inspected, so
//! this follows it from both ends: what wakes a cluster, and when its reconcile begins.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::reflector::{ObjectRef, Store};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
    registry::Registry,
};

use super::{
    CONTROLLER, Labels,
    sources::{Source, Sources},
};
use crate::api::ManagedCluster;

/// A reconcile waits for nothing slow. If a cluster waits this long, or its reconcile takes this long, the process
/// hangs.
const STUCK: Duration = Duration::from_mins(1);

type Key = ObjectRef<ManagedCluster>;

/// Follows the queue.
#[derive(Clone)]
pub struct Queue {
    state: Arc<State>,
    adds: Family<Labels<2>, Counter>,
    waited: Family<Labels<2>, Histogram, fn() -> Histogram>,
}

#[derive(Default)]
struct State {
    clusters: Sources<Store<ManagedCluster>>,
    times: Mutex<Times>,
}

/// Since when each cluster has been waiting or running.
#[derive(Default)]
struct Times {
    waiting: HashMap<Key, Instant>,
    running: HashMap<Key, Instant>,
}

impl Times {
    /// Returns what has taken too long. None if nothing has.
    fn stuck(&self, now: Instant) -> Option<String> {
        let too_long = |since: &Instant| now.duration_since(*since) > STUCK;
        let running = self.running.values().any(too_long);
        let waiting = self.waiting.values().any(too_long);
        match (running, waiting) {
            (true, _) => Some(format!("a reconcile has run for over {STUCK:?}")),
            (_, true) => Some(format!(
                "a cluster has waited for its reconcile for over {STUCK:?}"
            )),
            _ => None,
        }
    }
}

impl Queue {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self {
            state: Arc::default(),
            adds: Family::default(),
            waited: Family::new_with_constructor(|| {
                Histogram::new([
                    0.000_1, 0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
                ])
            }),
        };
        registry.register(
            "workqueue_adds",
            "How often a cluster was added to the queue",
            this.adds.clone(),
        );
        registry.register(
            "workqueue_queue_duration_seconds",
            "How long a cluster waited in the queue for its reconcile",
            this.waited.clone(),
        );
        registry.register_collector(Box::new(this.clone()));
        this
    }

    /// Follows the clusters of this store as well, until the returned value is dropped.
    pub fn follow(&self, clusters: Store<ManagedCluster>) -> Source<Store<ManagedCluster>> {
        self.state.clusters.add(clusters)
    }

    /// Notes that a cluster was woken.
    pub fn woken(&self, cluster: &Key) {
        if self.exists(cluster) {
            self.adds.get_or_create(&labels()).inc();
            let now = Instant::now();
            self.times().waiting.entry(cluster.clone()).or_insert(now);
        }
    }

    /// Notes that a cluster's reconcile begins. It ends when the returned value is dropped.
    pub fn begun(&self, cluster: &Key) -> Running {
        let now = Instant::now();
        let mut times = self.times();
        if let Some(since) = times.waiting.remove(cluster) {
            let waited = now.duration_since(since).as_secs_f64();
            self.waited.get_or_create(&labels()).observe(waited);
        }
        times.running.insert(cluster.clone(), now);
        Running {
            queue: self.clone(),
            cluster: cluster.clone(),
        }
    }

    /// Returns why the process hangs. None if it doesn't.
    pub fn stuck(&self) -> Option<String> {
        self.current().stuck(Instant::now())
    }

    fn exists(&self, cluster: &Key) -> bool {
        let stores = self.state.clusters.all();
        stores.iter().any(|store| store.get(cluster).is_some())
    }

    /// Returns the times without those of deleted clusters, which aren't reconciled.
    fn current(&self) -> MutexGuard<'_, Times> {
        let mut times = self.times();
        times.waiting.retain(|cluster, _| self.exists(cluster));
        times
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.state
            .times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running reconcile.
pub struct Running {
    queue: Queue,
    cluster: Key,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue.times().running.remove(&self.cluster);
    }
}

fn labels() -> Labels<2> {
    ["controller", "name"].map(|label| (label, CONTROLLER.to_owned()))
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (depth, running) = {
            let times = self.current();
            (times.waiting.len(), times.running.len())
        };
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let mut metric = encoder.encode_descriptor(
            "workqueue_depth",
            "Clusters that wait in the queue for their reconcile",
            None,
            MetricType::Gauge,
        )?;
        gauge(depth).encode(metric.encode_family(&labels())?)?;
        let mut metric = encoder.encode_descriptor(
            "controller_runtime_active_workers",
            "Clusters that are being reconciled",
            None,
            MetricType::Gauge,
        )?;
        let controller = [("controller", CONTROLLER)];
        gauge(running).encode(metric.encode_family(&controller)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_counts_as_stuck_if_a_cluster_waits_or_reconciles_for_over_a_minute() {
        let now = Instant::now();
        let ago = |seconds| {
            let since = now.checked_sub(Duration::from_secs(seconds));
            HashMap::from([(ObjectRef::new("demo"), since.expect("a time"))])
        };
        let cases = [
            ("idle", Times::default(), None),
            (
                "a queue that moves",
                Times {
                    waiting: ago(59),
                    running: ago(59),
                },
                None,
            ),
            (
                "waits",
                Times {
                    waiting: ago(61),
                    ..Times::default()
                },
                Some("a cluster has waited for its reconcile for over 60s"),
            ),
            (
                "hangs",
                Times {
                    running: ago(61),
                    ..Times::default()
                },
                Some("a reconcile has run for over 60s"),
            ),
        ];
        for (case, times, expected) in cases {
            assert_eq!(times.stuck(now).as_deref(), expected, "{case}");
        }
    }
}
