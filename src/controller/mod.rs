//! The shell: watches, takes a snapshot, has the core decide, does what it says.

mod apply;
mod backoff;
pub mod clock;
mod events;
mod seen;
mod snapshot;
mod specs;
mod strays;
pub mod watches;
mod workers;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream};
use kube::{
    Client,
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
    provider::Providers,
};

use apply::Pass;
use backoff::Backoff;
use events::Events;
use seen::Seen;
use snapshot::Stores;
pub use specs::SPEC_MANAGER;
use specs::Specs;
use workers::Workers;

/// The name that Belay writes under.
pub const FIELD_MANAGER: &str = "belay";

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
    backoff: Backoff,
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

/// Runs on the clusters of `namespace`, or of all, until `shutdown`. `client` must not retry by itself.
pub async fn run(
    client: Client,
    namespace: Option<&str>,
    providers: Providers,
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
    let (changed, changes) = mpsc::unbounded_channel();
    let (events, sending) = Events::new(client.clone());
    let (strays, mending) = strays::Strays::new(client.clone(), stores.clone());
    let provider_changes = stream::select_all(providers.all().map(|provider| provider.changes()));
    let context = Arc::new(Context {
        client,
        stores: stores.clone(),
        providers,
        workers: Workers::new(changed),
        events,
        seen: Seen::default(),
        specs: Specs::default(),
        backoff: Backoff::default(),
    });
    let pool_strays = strays.clone();
    let to_cluster = move |operation: Operation| {
        let cluster = stores
            .cluster_of(&operation)
            .filter(|key| stores.clusters.get(key).is_some());
        if cluster.is_none() {
            strays.operation(&operation);
        }
        cluster
    };
    let to_owner = move |pool: AgentPool| {
        let key = snapshot::cluster_of_pool(&pool);
        pool_strays.pool(&pool, &key);
        Some(key)
    };
    let controller = Controller::for_stream(cluster_stream, clusters)
        .with_config(Config::default())
        .watches_stream(pool_stream, to_owner)
        .watches_stream(operation_stream, to_cluster)
        .reconcile_on(stream::select(
            UnboundedReceiverStream::new(changes),
            provider_changes,
        ))
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
    let snapshot = snapshot::build(&cluster, &context)?;
    let actions = lifecycle::decide(&snapshot, clock::now());
    tracing::debug!(cluster = %ObjectRef::from_obj(cluster.as_ref()), actions = actions.len(), "decided");
    Pass::new(&context, &snapshot).run(actions).await?;
    context
        .backoff
        .reset(&ObjectRef::from_obj(cluster.as_ref()));
    Ok(Action::requeue(RESYNC))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "kube's error policy is called so"
)]
fn retry(cluster: Arc<ManagedCluster>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let key = ObjectRef::from_obj(cluster.as_ref());
    match error {
        // A watch event is on its way and wakes the cluster before.
        ReconcileError::Stale | ReconcileError::NotReady => {
            tracing::debug!(cluster = %key, %error, "waiting");
            Action::requeue(Duration::from_secs(1))
        }
        ReconcileError::Refused => Action::requeue(Duration::ZERO),
        ReconcileError::Api(kube::Error::Api(status)) if status.code == 409 => {
            tracing::debug!(cluster = %key, "decided on an old view, deciding anew");
            Action::requeue(Duration::from_millis(50))
        }
        error => {
            let pause = context.backoff.next(&key);
            tracing::warn!(cluster = %key, %error, ?pause, "failed to reconcile, trying again");
            Action::requeue(pause)
        }
    }
}

/// Runs Belay with all its providers on the cluster that `config` reaches, for the clusters of
/// `namespace` or of all, until `shutdown`.
///
/// # Errors
/// Where no client can be made of `config`.
pub async fn run_all(
    mut config: kube::Config,
    namespace: Option<&str>,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) -> Result<(), kube::Error> {
    // kube would repeat an eviction that a PDB refuses for minutes, and a write of the lock that was
    // answered late; what may be tried again is tried by who knows why.
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let (kwok, watches) = crate::provider::kwok::Kwok::new(client.clone(), namespace);
    let providers = Providers {
        kwok: Arc::new(kwok),
    };
    let controller = run(client, namespace, providers, shutdown).boxed();
    tokio::select! {
        () = controller => {}
        () = watches => {}
    }
    Ok(())
}
