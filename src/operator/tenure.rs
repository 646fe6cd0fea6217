//! A shard's operator, for as long as this process holds the shard.

use std::time::Duration;

use anyhow::Context as _;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{leader::Fence, machinery::watches::Scope};

use super::instance::Parts;

/// How long tasks that still run after the operator has ended may take to stop.
const DROP: Duration = Duration::from_secs(2);

/// An operator on its own runtime. With the runtime, everything that the operator started ends, also its work and its
/// looks at clouds. A process that manages all clusters gets that when it exits.
pub struct Tenure {
    runtime: Option<Runtime>,
    working: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Tenure {
    /// Starts to manage these clusters. Every write passes the fence.
    ///
    /// # Errors
    /// If the system has no resources for a new runtime.
    pub fn begin(parts: &Parts, scope: Scope, fence: Fence) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("failed to start a runtime")?;
        let stop = CancellationToken::new();
        let (parts, stopping) = (parts.clone(), stop.clone());
        let working = runtime.spawn(async move {
            let instance = parts.instance(&scope, &fence)?;
            instance.run(stopping).await;
            Ok(())
        });
        Ok(Self {
            runtime: Some(runtime),
            working,
            stop,
        })
    }

    /// Works until `asked`. Then running reconciles get a short time to end.
    ///
    /// # Errors
    /// If it couldn't start, or if it ended without being asked.
    pub async fn work(&mut self, asked: &CancellationToken) -> anyhow::Result<()> {
        let early = tokio::select! {
            ended = &mut self.working => Some(ended),
            () = asked.cancelled() => None,
        };
        if let Some(ended) = early {
            ended.context("the operator of a shard panicked")??;
            anyhow::bail!("the operator of a shard ended unexpectedly");
        }
        self.stop.cancel();
        let ended = (&mut self.working).await;
        ended.context("the operator of a shard panicked")?
    }

    /// Stops everything that still runs, and waits for that.
    pub async fn end(mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let dropping = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(DROP));
        // It fails only if this process ends.
        let _ = dropping.await;
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
