//! Belay as people install it: its image, by Helm, on a real node, under its own `ServiceAccount`.
//!
//! One story, told by kubectl and helm. What it shows is what a person sees; where something else happens than
//! it tells of, it fails.

mod audit;
mod stage;
mod story;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // In namespaces of its own, the program runs anew.
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

/// The first process of a namespace hears only the signals that it listens for.
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
