//! Belay as people install it: its image, installed by Helm on a real node, with its own `ServiceAccount`.
//!
//! One story, played with kubectl and helm. Its output is what a person sees. It fails if anything else happens.

mod audit;
mod stage;
mod story;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // The program restarts itself in its own namespaces.
    let result = testenv::namespaces::enter(&["kubectl", "helm"])
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(tokio::runtime::Runtime::new()?))
        .and_then(|runtime| runtime.block_on(until_told_to_end()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ne2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for SIGINT or SIGTERM. The first process of a PID namespace gets only the signals that it handles.
async fn until_told_to_end() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = run() => result,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("told to end"),
    }
}

async fn run() -> anyhow::Result<()> {
    let mut stage = stage::Stage::set().await?;
    let told = story::tell(&mut stage).await;
    if told.is_err() {
        stage.tell_of_failure().await;
    }
    told
}
