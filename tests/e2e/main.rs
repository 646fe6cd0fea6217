//! Belay as users install it: its image, installed by Helm on a real node, with its own `ServiceAccount`.
//!
//! The test is one story, played with kubectl and helm. It prints what a user sees, and fails if anything else happens.

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
        .and_then(|runtime| runtime.block_on(run_until_a_signal()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ne2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until the end, or until SIGINT or SIGTERM. The first process of a PID namespace gets only signals that it
/// handles.
async fn run_until_a_signal() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = run() => result,
        _ = interrupt.recv() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn run() -> anyhow::Result<()> {
    let mut stage = stage::Stage::start().await?;
    let result = story::play(&mut stage).await;
    if result.is_err() {
        stage.report_failure().await;
    }
    result
}
