//! The shell: watches, takes a snapshot, has the core decide, does what it says.

mod apply;
mod backoff;
mod events;
mod seen;
mod snapshot;
mod specs;
mod strays;
mod uids;
mod workers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
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
    machinery::{clock, watches},
    provider::Providers,
    telemetry::{Health, Outcome, Telemetry},
};

use apply::Pass;
use backoff::Backoff;
use events::Events;
use seen::Seen;
use snapshot::Stores;
use specs::Specs;
use uids::Uids;
use workers::Workers;

/// How often a cluster is looked at where nothing changes. Nothing depends on it.
const RESYNC: Duration = Duration::from_mins(5);

/// What every reconcile needs.
pub struct Context {
    client: Client,
    stores: Stores,
    providers: Providers,
    workers: Workers,
    events: Events,
    seen: Seen,
    specs: Specs,
    /// Clusters whose namespace is being deleted: nothing can be created there any more.
    terminating: Uids,
    /// Operations in flight that are no more: somebody removed their finalizer by hand.
    gone: Uids,
    backoff: Backoff,
    telemetry: Telemetry,
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
    /// What a person's Operation asks for was refused, and is to be told on it.
    #[error("what an Operation asks for was refused")]
    Refused,
    /// The API server didn't answer.
    #[error("no answer from the API server")]
    NoAnswer,
    /// The API server refused, or couldn't be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl ReconcileError {
    /// What it is, for a metric.
    fn outcome(&self) -> Outcome {
        let category = match self {
            Self::Stale | Self::NotReady => return Outcome::Waits,
            Self::NoProvider => "no_provider",
            Self::Refused => "spec_refused",
            Self::NoAnswer => "no_answer",
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

/// Runs on the clusters of `namespace`, or of all, until `shutdown`. `client` must not retry by itself.
pub async fn run(
    client: Client,
    namespace: Option<&str>,
    providers: Providers,
    telemetry: Telemetry,
    health: &Health,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (clusters, clusters_ready, cluster_stream) =
        watches::watch::<ManagedCluster>(&client, namespace);
    let (pools, pools_ready, pool_stream) = watches::watch::<AgentPool>(&client, namespace);
    let (operations, operations_ready, operation_stream) =
        watches::watch::<Operation>(&client, namespace);
    let ready = [clusters_ready, pools_ready, operations_ready];
    let stores = Stores {
        clusters: clusters.clone(),
        pools,
        operations,
        ready,
    };
    let queue = telemetry.queue.clone();
    queue.follow(clusters.clone());
    telemetry.inventory.follow(stores.operations.clone());
    let (synced, looking) = (stores.clone(), providers.clone());
    health.follow(move || {
        synced.are_ready() && looking.all().iter().all(|provider| provider.is_ready())
    });
    let (changed, changes) = mpsc::unbounded_channel();
    let (events, sending) = Events::new(client.clone());
    let (strays, mending) = strays::Strays::new(client.clone(), stores.clone());
    let provider_changes = stream::select_all(providers.all().map(|provider| provider.changes()));
    let context = Arc::new(Context {
        client,
        stores: stores.clone(),
        providers,
        workers: Workers::new(changed, telemetry.work.clone()),
        events,
        seen: Seen::default(),
        specs: Specs::default(),
        terminating: Uids::default(),
        gone: Uids::default(),
        backoff: Backoff::default(),
        telemetry,
    });
    let pool_strays = strays.clone();
    let (woken_by_operation, woken_by_pool) = (queue.clone(), queue.clone());
    let to_cluster = move |operation: Operation| {
        let cluster = stores
            .cluster_of(&operation)
            .filter(|key| stores.clusters.get(key).is_some());
        match &cluster {
            Some(key) => woken_by_operation.woken(key),
            None => strays.operation(&operation),
        }
        cluster
    };
    let to_owner = move |pool: AgentPool| {
        let key = snapshot::cluster_of_pool(&pool);
        pool_strays.pool(&pool, &key);
        woken_by_pool.woken(&key);
        Some(key)
    };
    let woken = queue.clone();
    let cluster_stream =
        cluster_stream.inspect_ok(move |cluster| woken.woken(&ObjectRef::from_obj(cluster)));
    let changes = stream::select(UnboundedReceiverStream::new(changes), provider_changes)
        .inspect(move |cluster| queue.woken(cluster));
    let controller = Controller::for_stream(cluster_stream, clusters)
        .with_config(Config::default())
        .watches_stream(pool_stream, to_owner)
        .watches_stream(operation_stream, to_cluster)
        .reconcile_on(changes)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, retry, context.clone())
        .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = controller => {}
        () = sending => {}
        () = mending => {}
    }
}

async fn reconcile(
    cluster: Arc<ManagedCluster>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    context.stores.ready().await;
    let began = Instant::now();
    let key = ObjectRef::from_obj(cluster.as_ref());
    let _running = context.telemetry.queue.begun(&key);
    let done = decide_and_do(&cluster, &context).await;
    let outcome = done
        .as_ref()
        .map_or_else(ReconcileError::outcome, |()| Outcome::Done);
    context.telemetry.reconciles.ended(outcome, began.elapsed());
    done?;
    context.backoff.reset(&key);
    Ok(Action::requeue(RESYNC))
}

async fn decide_and_do(
    cluster: &Arc<ManagedCluster>,
    context: &Context,
) -> Result<(), ReconcileError> {
    let snapshot = snapshot::build(cluster, context)?;
    let actions = lifecycle::decide(&snapshot, clock::now());
    tracing::debug!(
        namespace = cluster.namespace(),
        cluster = cluster.name_any(),
        actions = actions.len(),
        "decided"
    );
    Pass::new(context, &snapshot).run(actions).await
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
        // Nothing wakes it where the provider has nothing of it.
        ReconcileError::NotReady => Action::requeue(Duration::from_millis(50)),
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
