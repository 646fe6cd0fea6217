//! The operator: it stands by until it leads, works, and gives its lease back. It leads all clusters, or shards of
//! them.

mod instance;
mod options;
mod shards;
mod tenure;

use std::net::SocketAddr;

use anyhow::Context as _;
use futures::FutureExt as _;
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use crate::{
    leader::{Election, Fence, new_identity},
    machinery::connection,
    telemetry::{self, Health, Telemetry, Traces},
};

use instance::Parts;
pub use options::{LeaderElection, Options};

/// Runs the operator on the cluster that `config` reaches, until `shutdown`.
///
/// # Errors
/// If it can't start, or if it lost its leadership: then the process must be restarted.
pub async fn operate(
    config: Config,
    options: Options,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let config = connection::bounded(config);
    let elects = options.elects()?;
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
    let leases = options.leases_of_work();
    let telemetry = Telemetry::new(&leases[0], fence.clone(), traces);
    for lease in &leases[1..] {
        telemetry.leading.follow(lease, Fence::closed());
    }
    let health = Health::new(telemetry.clone());
    let served = serve(options.metrics_address, health.clone());
    let parts = Parts {
        config,
        options,
        telemetry,
        health,
    };
    let working = async {
        if !elects {
            let instance = parts.instance(&parts.options.scope, &fence)?;
            instance.run(shutdown).await;
            Ok(())
        } else if parts.options.shards > 1 {
            shards::share(&parts, shutdown).await
        } else {
            lead(&parts, fence, shutdown).await
        }
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

/// Manages all clusters while no other operator does.
async fn lead(parts: &Parts, fence: Fence, shutdown: CancellationToken) -> anyhow::Result<()> {
    let instance = parts.instance(&parts.options.scope, &fence)?;
    let (client, namespace) = (lease_client(parts)?, parts.lease_namespace());
    let lease = parts.options.lease();
    let mut election = Election::new(client, &namespace, lease, new_identity(), fence);
    tokio::select! {
        () = election.lead().boxed() => tracing::info!("leading"),
        () = shutdown.cancelled() => return Ok(()),
    }
    tokio::select! {
        lost = election.keep().boxed() => return Err(lost.into()),
        () = instance.run(shutdown) => {}
    }
    election.release().boxed().await;
    Ok(())
}

/// Returns a client only for Leases: the fence is for the leader's work, and that work must not delay a renewal.
fn lease_client(parts: &Parts) -> kube::Result<Client> {
    let client = connection::builder(parts.config.clone())?;
    Ok(client.with_layer(&parts.telemetry.requests).build())
}
