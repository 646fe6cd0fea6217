//! Everything that a watcher saw in a namespace, and the rules that must hold in all of it.

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

/// What was seen of objects, by name, in order.
type Noted<T> = Arc<Mutex<Vec<(String, T)>>>;

/// How an object was seen.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// By an event of a watch: nothing is missing since the previous event.
    Event,
    /// By the initial list of a watch. A broken watch starts again: the changes in between are missing.
    List,
}

/// What was seen of an Operation.
#[derive(Clone)]
struct SeenOperation {
    /// The uid, because a name may be used again.
    uid: String,
    status: OperationStatus,
    by: By,
}

/// Everything that was seen, in order.
#[derive(Clone, Default)]
pub struct Seen {
    operations: Noted<SeenOperation>,
    locks: Noted<Vec<OperationInFlight>>,
    pools: Noted<AgentPoolStatus>,
    /// The watches end with the last clone. Otherwise a control plane of many namespaces would serve them until its
    /// end.
    watches: Arc<JoinSet<()>>,
}

impl Seen {
    /// Starts to watch a namespace.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let mut this = Self::default();
        let mut watches = JoinSet::new();
        let operations = note(
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
        let locks = note(
            client,
            namespace,
            &this.locks,
            |cluster: ManagedCluster, _| {
                let status = cluster.status.clone().unwrap_or_default();
                (cluster.name_any(), status.operations)
            },
        );
        let pools = note(client, namespace, &this.pools, |pool: AgentPool, _| {
            (pool.name_any(), pool.status.unwrap_or_default())
        });
        watches.spawn(operations);
        watches.spawn(locks);
        watches.spawn(pools);
        this.watches = Arc::new(watches);
        this
    }

    /// Whether an Operation was seen to have ended.
    pub fn has_ended(&self, operation: &str) -> bool {
        self.end(operation).is_some()
    }

    /// Whether an Operation was seen to end before another one: a watch shows changes in their order.
    pub fn ended_before(&self, first: &str, second: &str) -> bool {
        let (first, second) = (self.end(first), self.end(second));
        first.is_some_and(|first| second.is_none_or(|second| first < second))
    }

    /// Returns the position of an Operation's end in everything that was seen.
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

    /// Checks the rules that must hold in everything that was seen: the percentage never goes down and is 100 only at
    /// success, each phase may follow the previous one, after Canceling no new step begins, and no two operations that
    /// exclude each other hold the lock.
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
            let whole = lock
                .iter()
                .filter(|held| held.target.kind == TargetKind::ManagedCluster)
                .count();
            let mut targets: Vec<_> = lock.iter().map(|held| &held.target.name).collect();
            targets.sort();
            targets.dedup();
            assert!(
                lock.len() <= 1 || (whole == 0 && targets.len() == lock.len()),
                "{name}: {lock:?}"
            );
        }
    }
}

fn of<T: Clone>(seen: &[(String, T)], name: &str) -> Vec<T> {
    let of_name = seen.iter().filter(|(of, _)| of == name);
    of_name.map(|(_, status)| status.clone()).collect()
}

/// Records what is seen of all objects of a kind.
fn note<K, T: Send + 'static>(
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

/// Whether an Operation in one phase may later be in the other one, through phases that nobody saw.
fn may_come_to(from: OperationPhase, to: OperationPhase) -> bool {
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
        "{name}: percent went down"
    );
    let (from, to) = (before.phase, after.phase);
    let may = match by {
        By::Event => from.may_become(to),
        By::List => may_come_to(from, to),
    };
    assert!(may, "{name}: {from:?} to {to:?}");
    let stays = matches!(to, OperationPhase::Canceling | OperationPhase::Canceled);
    if from == OperationPhase::Canceling && stays {
        let begun = |status: &OperationStatus| {
            let steps = status.steps.iter();
            steps
                .filter(|step| !matches!(step.phase, StepPhase::Pending | StepPhase::Skipped))
                .count()
        };
        assert!(
            begun(after) <= begun(before),
            "{name}: a step began after Canceling: {:#?}, then {:#?}",
            before.steps,
            after.steps
        );
    }
}
