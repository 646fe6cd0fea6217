//! What Belay does, on a real control plane: an upgrade that a `PodDisruptionBudget` blocks, and its abort. It succeeds
//! only if every state that it shows was seen on the API server.
//!
//! `make demo` runs it; with `PROVIDER=cluster-api` on a Cluster of Cluster API, with `PROVIDER=azure` or
//! `PROVIDER=aws` on an AKS or EKS cluster of a fake of the cloud. With `KEEP=1` it keeps running for experiments until
//! Ctrl-C.

mod adopted;
mod aws;
mod azure;
mod clouds;
mod cluster_api;
mod eyes;
mod screen;
mod stage;
mod story;

use std::{process::ExitCode, time::Instant};

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

use stage::Stage;

/// The exit code that a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    // If the caller were killed, nobody could end a demo that keeps running.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    demo().await.unwrap_or_else(|error| {
        eprintln!("demo: failed: {error:#}");
        ExitCode::FAILURE
    })
}

/// Runs the demo. However this ends, everything that it started ends with it.
async fn demo() -> anyhow::Result<ExitCode> {
    let mut end = std::pin::pin!(until_signal());
    let mut stage = tokio::select! {
        stage = play() => stage?,
        ended = &mut end => {
            ended?;
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if is_to_stay_up() {
        stage.invite()?;
        let failed = tokio::select! {
            result = stage.look_on() => result,
            ended = end => ended,
        };
        if let Err(error) = failed {
            stage.report_failure().await;
            return Err(error);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn play() -> anyhow::Result<Stage> {
    let began = Instant::now();
    let provider = std::env::var("PROVIDER").unwrap_or_default();
    if !matches!(
        provider.as_str(),
        "" | "kwok" | "cluster-api" | "aws" | "azure"
    ) {
        bail!("PROVIDER={provider} is unknown: use kwok, cluster-api, aws or azure");
    }
    let mut stage = Stage::set().await?;
    let ended = match provider.as_str() {
        "cluster-api" => {
            stage.start_cluster_api().await?;
            cluster_api::play(&mut stage).await
        }
        "aws" => {
            stage.start_aws().await?;
            aws::play(&mut stage).await
        }
        "azure" => {
            stage.start_azure().await?;
            azure::play(&mut stage).await
        }
        _ => story::play(&mut stage).await,
    };
    if let Err(error) = ended {
        stage.report_failure().await;
        return Err(error);
    }
    screen::heading(&format!(
        "The demo checked all of this on the API server, in this order, within {} s",
        began.elapsed().as_secs()
    ))?;
    Ok(stage)
}

fn is_to_stay_up() -> bool {
    std::env::var("KEEP").is_ok_and(|keep| !matches!(keep.as_str(), "" | "0"))
}

/// Waits for Ctrl-C, for SIGTERM, or until the terminal closes.
async fn until_signal() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
