//! The shell: watches, takes a snapshot, lets the core decide, and carries out its actions.

mod abandoned;
mod backoff;
mod dependence;
mod events;
mod mending;
mod ours;
mod pacing;
mod pass;
mod patches;
mod refusals;
mod seen;
mod snapshot;
mod specs;
mod stores;
mod strays;
mod terminating;
mod trimmed;
mod turns;
mod uids;
mod workers;
mod writes;
mod writing;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use kube::{
    Client, ResourceExt as _,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::ObjectRef,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    api::{AgentPool, ManagedCluster, Operation},
    lifecycle::{self, Snapshot},
    machinery::{clock, watches::Scope},
    provider::Providers,
    telemetry::{Health, Objects, Outcome, Telemetry},
};

use backoff::Backoff;
use events::Events;
use pacing::Pacing;
use pass::Pass;
use refusals::Refusals;
use seen::{Created, Seen};
use specs::Specs;
use stores::{Stores, cluster_of_pool};
use turns::Turns;
use uids::Uids;
use workers::Workers;
use writes::Writes;
use writing::Writing;

/// How often Belay looks at a cluster if nothing changes. Nothing depends on this interval.
const RESYNC: Duration = Duration::from_mins(5);

/// The same for a cluster that is being deleted: nothing else shows whether its namespace is being deleted too.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

/// How soon Belay looks at a cluster again if a watch has to show what was done. The watch event comes earlier.
const SOON: Duration = Duration::from_millis(50);

/// How long a pass waits for work that it asked to stop. If the work ends in this time, its end is written at once.
const REST: Duration = Duration::from_millis(50);

/// The maximum number of passes before another cluster has its turn.
const MOST_PASSES: usize = 8;

/// What every reconcile needs.
pub struct Context {
    client: Client,
    stores: Stores,
    providers: Providers,
    workers: Workers,
    events: Events,
    seen: Seen,
    created: Created,
    pacing: Pacing,
    specs: Specs,
    /// Clusters for which no Operation can be created any more: their namespace is being deleted, or both the cluster
    /// and the kind Operation are.
    terminating: Uids,
    /// Operations in flight that no longer exist: somebody removed their finalizer by hand.
    gone: Uids,
    /// Objects with a write in flight.
    writing: Writing,
    turns: Turns,
    /// Clusters that are being mended.
    mending: Writing,
    refusals: Refusals,
    changed: mpsc::UnboundedSender<ObjectRef<ManagedCluster>>,
    backoff: Backoff,
    telemetry: Telemetry,
}

impl Context {
    /// Waits until the first list of everything that is watched is complete.
    async fn ready(&self) {
        self.stores.ready().await;
        for provider in self.providers.all() {
            provider.ready().await;
        }
    }

    /// Triggers a reconcile of a cluster.
    fn wake(&self, cluster: &ObjectRef<ManagedCluster>) {
        // The receiver is dropped only when the process ends.
        let _ = self.changed.send(cluster.clone());
    }
}

/// Why a reconcile didn't complete. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A store lags behind what Belay wrote.
    #[error("waiting until the watch shows what Belay wrote")]
    Stale,
    /// The provider hasn't looked yet.
    #[error("waiting until the provider has read the cluster once")]
    NotReady,
    /// The cluster's provider isn't part of this version.
    #[error("this build of Belay doesn't include the cluster's provider")]
    NoProvider,
    /// A person's Operation asks for a change that was refused. The Operation has to report this.
    #[error("the change that an Operation asks for was refused")]
    Refused,
    /// The API server didn't answer.
    #[error("the API server didn't answer in time")]
    NoAnswer,
    /// Belay panicked: this is a bug.
    #[error("Belay panicked: this is a bug in Belay, please report it")]
    Panicked,
    /// The API server refused a request, or couldn't be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl ReconcileError {
    /// Whether somebody refuses the write. The same write will be refused again.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422))
    }

    /// The outcome to count in the metric.
    fn outcome(&self) -> Outcome {
        let category = match self {
            Self::Stale | Self::NotReady => return Outcome::Waits,
            Self::NoProvider => "no_provider",
            Self::Refused => "spec_refused",
            Self::NoAnswer => "no_answer",
            Self::Panicked => "panicked",
            Self::Api(kube::Error::Api(status)) => match status.code {
                401 | 403 => "forbidden",
                409 => "conflict",
                429 => "throttled",
                500.. => "server",
                _ => "refused",
            },
            Self::Api(_) => "unreachable",
        };
        Outcome::Failed(category)
    }
}

/// Runs on the clusters in `scope` until `shutdown`. `client` must not retry by itself.
pub async fn run(
    client: Client,
    scope: &Scope,
    providers: Providers,
    telemetry: Telemetry,
    health: &Health,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (stores, touched, clusters, filling) = Stores::new(&client, scope);
    let queue = telemetry.queue.clone();
    let counted = stores.clone();
    let (synced, looking) = (stores.clone(), providers.clone());
    let _sources = (
        queue.follow(clusters.clone()),
        telemetry.inventory.follow(move || Objects {
            operations: counted.own_operations(),
            pools: counted.own_pools(),
        }),
        health.follow(move || {
            synced.are_ready() && looking.all().iter().all(|provider| provider.is_ready())
        }),
    );
    let (changed, changes) = mpsc::unbounded_channel();
    let (events, sending) = Events::new(client.clone());
    let (strays, mending) = strays::Strays::new(client.clone(), stores.clone());
    let provider_changes =
        stream::select_all(providers.all().iter().map(|provider| provider.changes()));
    let context = Arc::new(Context {
        client,
        stores: stores.clone(),
        providers,
        workers: Workers::new(changed.clone(), telemetry.work.clone()),
        events,
        seen: Seen::default(),
        created: Created::default(),
        pacing: Pacing::default(),
        specs: Specs::default(),
        terminating: Uids::default(),
        gone: Uids::default(),
        writing: Writing::default(),
        turns: Turns::default(),
        mending: Writing::default(),
        refusals: Refusals::default(),
        changed,
        backoff: Backoff::default(),
        telemetry,
    });
    let mut gone = touched.gone;
    let working = context.clone();
    let ending = async move {
        while let Some(cluster) = gone.recv().await {
            working.workers.end_of(&cluster);
            for provider in working.providers.all() {
                provider.forget(&cluster);
            }
        }
    };
    let woken = wakes(touched.pools, touched.operations, stores, strays);
    let changes = stream::select(UnboundedReceiverStream::new(changes), provider_changes);
    let changes = stream::select(changes, woken).inspect({
        let queue = queue.clone();
        move |cluster| queue.woken(cluster)
    });
    let clusters_touched = UnboundedReceiverStream::new(touched.clusters)
        .inspect(move |cluster| queue.woken(&ObjectRef::from_obj(cluster)))
        .map(Ok);
    let abandoned = abandoned::watch(context.clone());
    let controller = Controller::for_stream(clusters_touched, clusters)
        .with_config(Config::default())
        .reconcile_on(changes)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, retry, context.clone())
        .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = controller => {}
        () = filling => {}
        () = ending => {}
        () = sending => {}
        () = mending => {}
        () = abandoned => {}
    }
}

/// The clusters that changes of pools and Operations wake. Pools and Operations without a cluster go to `strays`.
fn wakes(
    pools: mpsc::UnboundedReceiver<Arc<AgentPool>>,
    operations: mpsc::UnboundedReceiver<Arc<Operation>>,
    stores: Stores,
    strays: strays::Strays,
) -> impl Stream<Item = ObjectRef<ManagedCluster>> + Send {
    let of_strays = strays.clone();
    let shown = stores.clone();
    let of_pools = UnboundedReceiverStream::new(pools).filter_map(move |pool| {
        let cluster = cluster_of_pool(&pool);
        of_strays.pool(&pool, &cluster);
        std::future::ready(shown.is_own(&cluster).then_some(cluster))
    });
    let of_operations = UnboundedReceiverStream::new(operations).filter_map(move |operation| {
        let cluster = stores.existing_cluster_of(&operation);
        if cluster.is_none() {
            strays.operation(&operation);
        }
        std::future::ready(cluster)
    });
    stream::select(of_pools, of_operations)
}

async fn reconcile(
    cluster: Arc<ManagedCluster>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    context.ready().await;
    let began = Instant::now();
    let key = ObjectRef::from_obj(cluster.as_ref());
    let _running = context.telemetry.queue.begun(&key);
    let done = std::panic::AssertUnwindSafe(decide_and_do(&cluster, &context));
    let done = done.catch_unwind().await;
    let done = done.unwrap_or(Err(ReconcileError::Panicked));
    let outcome = done
        .as_ref()
        .map_or_else(ReconcileError::outcome, |_| Outcome::Done);
    context.telemetry.reconciles.ended(outcome, began.elapsed());
    let again = done?;
    context.backoff.reset(&key);
    let resync = if is_going(&cluster) {
        LOOK_AGAIN
    } else {
        RESYNC
    };
    Ok(Action::requeue(again.unwrap_or(resync)))
}

fn is_going(cluster: &ManagedCluster) -> bool {
    cluster.metadata.deletion_timestamp.is_some()
}

/// Decides what to do for a cluster, and does it, until nothing is left to do. It decides on the answers to its own
/// writes at once, before a watch shows them. Returns when to look again, if a watch has to show what was done.
async fn decide_and_do(
    cluster: &Arc<ManagedCluster>,
    context: &Arc<Context>,
) -> Result<Option<Duration>, ReconcileError> {
    for _ in 0..MOST_PASSES {
        let (snapshot, is_about_to_change) = snapshot::build(cluster, context)?;
        context.workers.note_kept(&snapshot.operations);
        let mut actions = lifecycle::decide(&snapshot, clock::now());
        tracing::debug!(
            namespace = cluster.namespace(),
            cluster = cluster.name_any(),
            actions = actions.len(),
            "decided"
        );
        // A deletion on hold makes no request whose answer could show that the namespace is being deleted, so this is
        // checked below.
        let rests = actions.is_empty() && is_going(cluster) && !snapshot.namespace_is_terminating;
        let wait = context.pacing.hold_back(&mut actions, &snapshot);
        let due = until_due(&snapshot);
        let writes = Writes::new(context.clone(), snapshot);
        if rests {
            writes.look_at_namespace().await?;
        }
        if actions.is_empty() {
            return Ok(wait.into_iter().chain(due).min());
        }
        let stops = pass::cut_to_stops(&mut actions);
        let is_shown_at_once = actions.iter().all(pass::is_shown_at_once);
        Pass::new(writes, is_about_to_change).run(actions).await?;
        if stops {
            let key = ObjectRef::from_obj(cluster.as_ref());
            context.workers.come_to_rest(&key, REST).await;
        }
        if !is_shown_at_once {
            return Ok(Some(SOON));
        }
    }
    Ok(Some(SOON))
}

/// Returns how long until a timeout of an operation is over, if that comes before the next look at the cluster. The core
/// compares whole seconds.
fn until_due(snapshot: &Snapshot) -> Option<Duration> {
    let now = clock::now();
    let due = lifecycle::due_at(snapshot, now)?;
    let left = due.duration_since(now).unsigned_abs() + Duration::from_secs(1);
    (left < RESYNC).then_some(left)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "kube's error policy is called so"
)]
fn retry(cluster: Arc<ManagedCluster>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let key = ObjectRef::from_obj(cluster.as_ref());
    let (namespace, name) = (key.namespace.as_deref(), &key.name);
    match error {
        // A watch event is on its way, and wakes the cluster earlier.
        ReconcileError::Stale => {
            tracing::debug!(namespace, cluster = name, %error, "waiting");
            Action::requeue(Duration::from_secs(1))
        }
        // The provider wakes the cluster.
        ReconcileError::NotReady => Action::requeue(RESYNC),
        ReconcileError::Refused => Action::requeue(Duration::ZERO),
        ReconcileError::Api(kube::Error::Api(status)) if status.code == 409 => {
            tracing::debug!(
                namespace,
                cluster = name,
                "the decision used outdated objects, deciding again"
            );
            Action::requeue(Duration::from_millis(50))
        }
        error => {
            let pause = context.backoff.next(&key);
            tracing::warn!(namespace, cluster = name, %error, ?pause, "failed to reconcile, trying again");
            Action::requeue(pause)
        }
    }
}
