//! The operator: stands by until it leads, works, and gives its lease back.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::FutureExt as _;
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use crate::{
    controller,
    leader::{Election, Fence, new_identity},
    machinery::{connection, watches::Scope},
    provider::{Clouds, Providers, aws, azure, cluster_api, kwok},
    telemetry::{self, Health, Telemetry, Traces},
};

/// What says that this process is a pod, and where.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// How long the reconciles in hand may take when the operator is asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// Whether only one of several operators works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LeaderElection {
    /// In a pod, yes; elsewhere, no.
    Auto,
    /// Yes.
    Always,
    /// No: this is the only one.
    Never,
}

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespaces whose clusters are looked after.
    pub scope: Scope,
    /// The name of the Lease that the operators of the same clusters share, where it is given.
    pub lease: Option<String>,
    /// Where metrics and health are served.
    pub metrics_address: Option<SocketAddr>,
    /// Whether only one of several operators works.
    pub leader_election: LeaderElection,
    /// The namespace of the Lease that they share; the pod's where there is none.
    pub leader_election_namespace: Option<String>,
    /// The OpenTelemetry collector that traces are sent to.
    pub otlp_endpoint: Option<String>,
    /// How AWS is asked, and how often.
    pub aws: aws::Settings,
    /// Where Azure is reached, and how often.
    pub azure: azure::Settings,
}

impl Options {
    /// The Lease of the operators that look after the same clusters.
    fn lease(&self) -> String {
        let given = self.lease.clone();
        given.unwrap_or_else(|| match self.scope.namespaces() {
            [namespace] => format!("belay-{namespace}"),
            _ => "belay".into(),
        })
    }

    fn elects(&self) -> bool {
        match self.leader_election {
            LeaderElection::Auto => Path::new(POD_NAMESPACE).exists(),
            LeaderElection::Always => true,
            LeaderElection::Never => false,
        }
    }
}

/// Runs on the cluster that `config` reaches until `shutdown`.
///
/// # Errors
/// Where it can't begin, and where it was the leader and isn't any more: then it must be started anew.
pub async fn operate(
    config: Config,
    options: Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let config = connection::bounded(config);
    let elects = options.elects();
    let fence = if elects {
        Fence::closed()
    } else {
        Fence::open()
    };
    let (traces, sending) = match &options.otlp_endpoint {
        Some(endpoint) => {
            let (traces, sending) = Traces::to(endpoint)?;
            (traces, sending.left_future())
        }
        None => (Traces::default(), std::future::pending().right_future()),
    };
    let telemetry = Telemetry::new(&options.lease(), fence.clone(), traces);
    let health = Health::new(telemetry.clone());
    let counted = connection::builder(config.clone())?.with_layer(&telemetry.requests);
    let client = counted.with_layer(&fence).build();
    let clouds = Clouds {
        aws: aws::provider(&client, &options.aws).context("failed to set up AWS")?,
        azure: azure::provider(&client, &options.azure).context("failed to set up Azure")?,
    };
    let served = serve(options.metrics_address, health.clone());
    let working = async {
        if !elects {
            work(client, &options, clouds, telemetry, health, shutdown).await;
            return Ok(());
        }
        let namespace = options.leader_election_namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        // Its own client: the fence is for the leader's work, and the work mustn't hold up a renewal.
        let lease_client = connection::builder(config)?.with_layer(&telemetry.requests);
        let mut election = Election::new(
            lease_client.build(),
            &namespace,
            options.lease(),
            new_identity(),
            fence,
        );
        tokio::select! {
            () = election.lead().boxed() => tracing::info!("leading"),
            () = shutdown.cancelled() => return Ok(()),
        }
        tokio::select! {
            lost = election.keep().boxed() => return Err(lost.into()),
            () = work(client, &options, clouds, telemetry, health, shutdown) => {}
        }
        election.release().boxed().await;
        Ok(())
    };
    tokio::select! {
        served = served => served,
        worked = working => worked,
        () = sending => Ok(()),
    }
}

async fn serve(address: Option<SocketAddr>, health: Health) -> anyhow::Result<()> {
    let Some(address) = address else {
        return std::future::pending().await;
    };
    let served = telemetry::serve(address, health).await;
    served.with_context(|| format!("failed to serve metrics on {address}"))
}

/// Looks after the clusters until `shutdown`, and a little longer for what is in hand.
async fn work(
    client: Client,
    options: &Options,
    clouds: Clouds,
    telemetry: Telemetry,
    health: Health,
    shutdown: CancellationToken,
) {
    let (kwok, watches) = kwok::provider(&client, &options.scope);
    let providers = Providers {
        kwok: Arc::new(kwok),
        cluster_api: Arc::new(cluster_api::provider(&client, &options.scope)),
        clouds,
    };
    let asked = shutdown.clone().cancelled_owned();
    let controller =
        controller::run(client, &options.scope, providers, telemetry, &health, asked).boxed();
    tokio::select! {
        () = controller => {}
        () = watches => {}
        () = async { shutdown.cancelled().await; tokio::time::sleep(GRACE).await } => {
            tracing::warn!("a reconcile didn't end in {GRACE:?}");
        }
    }
}
