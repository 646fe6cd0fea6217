//! The shell: watches, takes a snapshot, has the core decide, does what it says.

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
    lifecycle,
    machinery::{clock, watches::Scope},
    provider::Providers,
    telemetry::{Health, Outcome, Telemetry},
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

/// How often a cluster is looked at where nothing changes. Nothing depends on it.
const RESYNC: Duration = Duration::from_mins(5);

/// The same for one that is being deleted: whether its namespace goes as well shows nowhere else.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

/// How soon a cluster is looked at again where a watch has to show what was done. The watch's event comes before.
const SOON: Duration = Duration::from_millis(50);

/// How long a pass waits for work that it told to stop. Work that ends within that is written as ended at once.
const REST: Duration = Duration::from_millis(50);

/// After so many passes another cluster has its turn.
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
    /// Clusters for which no Operation can be created any more: their namespace goes, or they and the kind Operation.
    terminating: Uids,
    /// Operations in flight that are no more: somebody removed their finalizer by hand.
    gone: Uids,
    /// Objects to which a write is on its way.
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
    /// Waits until the first look at all that is watched is complete.
    async fn ready(&self) {
        self.stores.ready().await;
        for provider in self.providers.all() {
            provider.ready().await;
        }
    }

    /// Has a cluster looked at.
    fn wake(&self, cluster: &ObjectRef<ManagedCluster>) {
        // The receiver is gone only while the process ends.
        let _ = self.changed.send(cluster.clone());
    }
}

/// Why a reconcile was not completed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A store lags behind what was written.
    #[error("waiting to see what was written")]
    Stale,
    /// The provider has yet to look.
    #[error("waiting for the provider's first look")]
    NotReady,
    /// The cluster's provider isn't part of this version.
    #[error("the cluster's provider is not part of this version")]
    NoProvider,
    /// What a person's Operation asks for was refused, and the Operation is to say so.
    #[error("what an Operation asks for was refused")]
    Refused,
    /// The API server didn't answer.
    #[error("no answer from the API server")]
    NoAnswer,
    /// A fault of Belay's own.
    #[error("Belay broke off: that is a fault of its own, please report it")]
    Panicked,
    /// The API server refused, or couldn't be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl ReconcileError {
    /// Whether somebody refuses the write: the same write will be refused again.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422))
    }

    /// What it is, for a metric.
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

/// Runs on the clusters of these namespaces until `shutdown`. `client` must not retry by itself.
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
    let _told = (
        queue.follow(clusters.clone()),
        telemetry.inventory.follow(move || counted.own_operations()),
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

/// The clusters that pools and Operations wake; those of no cluster are looked after apart.
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

/// Decides what to do for a cluster, and does it, until nothing is left to be done: the answers to its own writes are
/// decided on at once, before a watch shows them. Returns when to look again where a watch has to show what was done.
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
        // A deletion that is on hold asks for nothing of which the API server would say that the namespace goes.
        let rests = actions.is_empty() && is_going(cluster) && !snapshot.namespace_is_terminating;
        let wait = context.pacing.hold_back(&mut actions, &snapshot);
        let writes = Writes::new(context.clone(), snapshot);
        if rests {
            writes.look_at_namespace().await?;
        }
        if actions.is_empty() {
            return Ok(wait);
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

#[expect(
    clippy::needless_pass_by_value,
    reason = "kube's error policy is called so"
)]
fn retry(cluster: Arc<ManagedCluster>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let key = ObjectRef::from_obj(cluster.as_ref());
    let (namespace, name) = (key.namespace.as_deref(), &key.name);
    match error {
        // A watch event is on its way and wakes the cluster before.
        ReconcileError::Stale => {
            tracing::debug!(namespace, cluster = name, %error, "waiting");
            Action::requeue(Duration::from_secs(1))
        }
        // The provider wakes it.
        ReconcileError::NotReady => Action::requeue(RESYNC),
        ReconcileError::Refused => Action::requeue(Duration::ZERO),
        ReconcileError::Api(kube::Error::Api(status)) if status.code == 409 => {
            tracing::debug!(
                namespace,
                cluster = name,
                "decided on an old view, deciding anew"
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
