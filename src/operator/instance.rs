//! One operator as a whole: its client, its providers, its controller.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;

use crate::{
    controller,
    leader::Fence,
    machinery::{connection, watches::Scope},
    provider::{Clouds, Providers, aws, azure, cluster_api, kwok},
    telemetry::{Health, Telemetry},
};

use super::Options;

/// How long running reconciles may take to end when the operator is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The parts that operators are made of.
#[derive(Clone)]
pub struct Parts {
    /// How to reach the API server.
    pub config: Config,
    /// How the operators run.
    pub options: Options,
    /// Where the operators count.
    pub telemetry: Telemetry,
    /// Where the operators report whether they are ready.
    pub health: Health,
}

impl Parts {
    /// Returns the namespace of the Leases.
    pub fn lease_namespace(&self) -> String {
        let given = self.options.leader_election_namespace.clone();
        given.unwrap_or_else(|| self.config.default_namespace.clone())
    }

    /// Returns an operator of these clusters. Its writes pass the fence.
    ///
    /// # Errors
    /// If the settings are invalid.
    pub fn instance(&self, scope: &Scope, fence: &Fence) -> anyhow::Result<Instance> {
        let counted = connection::builder(self.config.clone())?;
        let counted = counted.with_layer(&self.telemetry.requests);
        let client = counted.with_layer(fence).build();
        let (aws, azure) = (&self.options.aws, &self.options.azure);
        let clouds = Clouds {
            aws: aws::provider(&client, aws).context("failed to set up AWS")?,
            azure: azure::provider(&client, azure).context("failed to set up Azure")?,
        };
        Ok(Instance {
            force_after: self.options.force_after,
            client,
            scope: scope.clone(),
            clouds,
            telemetry: self.telemetry.clone(),
            health: self.health.clone(),
        })
    }
}

/// An operator. It connects to nothing before it runs.
pub struct Instance {
    force_after: Duration,
    client: Client,
    scope: Scope,
    clouds: Clouds,
    telemetry: Telemetry,
    health: Health,
}

impl Instance {
    /// Manages the clusters until `shutdown`. Then running reconciles get a short time to end.
    pub async fn run(self, shutdown: CancellationToken) {
        let (controller, watches) = self.start(shutdown.clone());
        tokio::select! {
            () = controller => {}
            () = watches => {}
            () = async { shutdown.cancelled().await; tokio::time::sleep(GRACE).await } => {
                tracing::warn!("a reconcile didn't end within {GRACE:?}");
            }
        }
    }

    fn start(
        self,
        shutdown: CancellationToken,
    ) -> (BoxFuture<'static, ()>, BoxFuture<'static, ()>) {
        let (kwok, watches) = kwok::provider(&self.client, &self.scope, self.force_after);
        let providers = Providers {
            kwok: Arc::new(kwok),
            cluster_api: Arc::new(cluster_api::provider(&self.client, &self.scope)),
            clouds: self.clouds,
        };
        let (client, telemetry) = (self.client, self.telemetry);
        let (scope, health) = (self.scope, self.health);
        let controller = async move {
            let asked = shutdown.cancelled_owned();
            controller::run(client, &scope, providers, telemetry, &health, asked).await;
        };
        (controller.boxed(), watches)
    }
}
