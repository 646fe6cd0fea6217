//! A shard's operator, for as long as this process holds the shard.

use std::time::Duration;

use anyhow::Context as _;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{leader::Fence, machinery::watches::Scope};

use super::instance::Parts;

/// How long what still runs when the operator has ended may take to be dropped.
const DROP: Duration = Duration::from_secs(2);

/// An operator on a runtime of its own: with that, whatever it has begun ends, work and looks at clouds included. A
/// process that looks after all clusters gets that by its own end.
pub struct Tenure {
    runtime: Option<Runtime>,
    working: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Tenure {
    /// Begins to look after these clusters. Each write passes the fence.
    ///
    /// # Errors
    /// Where the system has no room for it.
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

    /// Works until `asked`, and a little longer for what is in hand.
    ///
    /// # Errors
    /// Where it couldn't begin, or has ended without being asked.
    pub async fn work(&mut self, asked: &CancellationToken) -> anyhow::Result<()> {
        let early = tokio::select! {
            ended = &mut self.working => Some(ended),
            () = asked.cancelled() => None,
        };
        if let Some(ended) = early {
            ended.context("the operator of a shard broke off")??;
            anyhow::bail!("the operator of a shard ended by itself");
        }
        self.stop.cancel();
        let ended = (&mut self.working).await;
        ended.context("the operator of a shard broke off")?
    }

    /// Drops all that still runs, and waits for that.
    pub async fn end(mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let dropping = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(DROP));
        // It fails only where this process ends.
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
