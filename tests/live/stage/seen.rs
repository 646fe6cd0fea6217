//! Everything that a watch showed of a namespace, and the invariants that must hold in it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use belay::api::{
    AgentPool, AgentPoolStatus, ManagedCluster, Operation, OperationInFlight, OperationPhase,
    OperationStatus, StepPhase, TargetKind,
};
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use tokio::task::JoinSet;

/// What a watch showed of objects, by name, in order.
type Recorded<T> = Arc<Mutex<Vec<(String, T)>>>;

/// How a watch showed an object.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// By an event: no change since the previous event is missing.
    Event,
    /// By the initial list. A broken watch starts again, and the changes in between are missing.
    List,
}

/// What a watch showed of an Operation.
#[derive(Clone)]
struct SeenOperation {
    /// The uid, because a name may be used again.
    uid: String,
    status: OperationStatus,
    by: By,
}

/// Everything that the watches showed, in order.
#[derive(Clone, Default)]
pub struct Seen {
    operations: Recorded<SeenOperation>,
    locks: Recorded<Vec<OperationInFlight>>,
    pools: Recorded<AgentPoolStatus>,
    /// The watches end when the last clone is dropped. Otherwise a control plane with many namespaces would serve them
    /// until it stops.
    watches: Arc<JoinSet<()>>,
}

impl Seen {
    /// Starts to watch a namespace.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let mut this = Self::default();
        let mut watches = JoinSet::new();
        let operations = record(
            client,
            namespace,
            &this.operations,
            |operation: Operation, by| {
                let name = operation.name_any();
                let uid = operation.uid().unwrap_or_default();
                let status = operation.status.unwrap_or_default();
                (name, SeenOperation { uid, status, by })
            },
        );
        let locks = record(
            client,
            namespace,
            &this.locks,
            |cluster: ManagedCluster, _| {
                let status = cluster.status.clone().unwrap_or_default();
                (cluster.name_any(), status.operations)
            },
        );
        let pools = record(client, namespace, &this.pools, |pool: AgentPool, _| {
            (pool.name_any(), pool.status.unwrap_or_default())
        });
        watches.spawn(operations);
        watches.spawn(locks);
        watches.spawn(pools);
        this.watches = Arc::new(watches);
        this
    }

    /// Whether the watch has shown that an Operation has ended.
    pub fn has_ended(&self, operation: &str) -> bool {
        self.end(operation).is_some()
    }

    /// Whether one Operation ended before another one. A watch shows changes in order.
    pub fn ended_before(&self, first: &str, second: &str) -> bool {
        let (first, second) = (self.end(first), self.end(second));
        first.is_some_and(|first| second.is_none_or(|second| first < second))
    }

    /// Returns the position of an Operation's end among everything that the watch showed.
    fn end(&self, operation: &str) -> Option<usize> {
        let operations = self.operations.lock().expect("what was seen");
        let mut operations = operations.iter();
        operations.position(|(name, seen)| name == operation && seen.status.phase.is_finished())
    }

    /// Returns the statuses of an Operation.
    pub fn statuses(&self, operation: &str) -> Vec<OperationStatus> {
        let operations = self.operations.lock().expect("what was seen");
        let statuses = of(&operations, operation).into_iter();
        statuses.map(|seen| seen.status).collect()
    }

    /// Returns the statuses of a pool.
    pub fn pool(&self, pool: &str) -> Vec<AgentPoolStatus> {
        of(&self.pools.lock().expect("what was seen"), pool)
    }

    /// Checks the invariants: the percentage never goes down and is 100 only at success, each phase may follow the
    /// previous one, no new step starts after Canceling, and no two operations that exclude each other hold the lock
    /// together.
    pub fn check(&self) {
        let operations = self.operations.lock().expect("what was seen");
        let mut last = BTreeMap::<&str, &OperationStatus>::new();
        for (name, SeenOperation { uid, status, by }) in operations.iter() {
            assert_eq!(
                status.percent_complete == 100,
                status.phase == OperationPhase::Succeeded,
                "{name}: {status:?}"
            );
            if let Some(before) = last.insert(uid, status) {
                check_transition(name, before, status, *by);
            }
        }
        for (name, lock) in self.locks.lock().expect("what was seen").iter() {
            let on_cluster = lock
                .iter()
                .filter(|held| held.target.kind == TargetKind::ManagedCluster)
                .count();
            let mut targets: Vec<_> = lock.iter().map(|held| &held.target.name).collect();
            targets.sort();
            targets.dedup();
            assert!(
                lock.len() <= 1 || (on_cluster == 0 && targets.len() == lock.len()),
                "{name}: {lock:?}"
            );
        }
    }
}

fn of<T: Clone>(seen: &[(String, T)], name: &str) -> Vec<T> {
    let of_name = seen.iter().filter(|(of, _)| of == name);
    of_name.map(|(_, status)| status.clone()).collect()
}

/// Records what a watch shows of all objects of a kind.
fn record<K, T: Send + 'static>(
    client: &Client,
    namespace: &str,
    seen: &Arc<Mutex<Vec<T>>>,
    seen_of: impl Fn(K, By) -> T + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let seen = seen.clone();
    async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let (object, by) = match event {
                Ok(Event::Apply(object)) => (object, By::Event),
                Ok(Event::InitApply(object)) => (object, By::List),
                Ok(Event::Init | Event::InitDone | Event::Delete(_)) | Err(_) => continue,
            };
            let mut seen = seen.lock().expect("what was seen");
            seen.push(seen_of(object, by));
        }
    }
}

/// Whether an Operation may go from one phase to the other, through phases that the watch didn't show.
fn may_reach(from: OperationPhase, to: OperationPhase) -> bool {
    let mut reached = vec![from];
    let mut next = 0;
    while let Some(phase) = reached.get(next) {
        let successors = phase.successors().iter();
        let new = successors.filter(|phase| !reached.contains(phase));
        let new: Vec<_> = new.copied().collect();
        reached.extend(new);
        next += 1;
    }
    reached.contains(&to)
}

fn check_transition(name: &str, before: &OperationStatus, after: &OperationStatus, by: By) {
    assert!(
        after.percent_complete >= before.percent_complete,
        "{name}: the percentage went down"
    );
    let (from, to) = (before.phase, after.phase);
    let is_allowed = match by {
        By::Event => from.may_become(to),
        By::List => may_reach(from, to),
    };
    assert!(is_allowed, "{name}: {from:?} to {to:?}");
    let still_cancels = matches!(to, OperationPhase::Canceling | OperationPhase::Canceled);
    if from == OperationPhase::Canceling && still_cancels {
        let started = |status: &OperationStatus| {
            let steps = status.steps.iter();
            steps
                .filter(|step| !matches!(step.phase, StepPhase::Pending | StepPhase::Skipped))
                .count()
        };
        assert!(
            started(after) <= started(before),
            "{name}: a step started after Canceling: {:#?}, then {:#?}",
            before.steps,
            after.steps
        );
    }
}
