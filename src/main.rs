//! The operator.

mod flags;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context as _;
use belay::{
    machinery::watches::Scope,
    operator::{self, Options},
    telemetry::log,
};
use clap::Parser as _;
use tokio_util::sync::CancellationToken;

use flags::{Command, Flags};

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    let ended = match &flags.command {
        Some(Command::Crds { output }) => report(print(output.as_deref(), belay::api::crd_files)),
        Some(Command::Policies {
            output,
            large_namespaces,
        }) => {
            let files = if *large_namespaces {
                belay::admission::policy_files_for_large_namespaces
            } else {
                belay::admission::policy_files
            };
            report(print(output.as_deref(), files))
        }
        Some(Command::Check {
            namespace,
            without_policies,
        }) => report(check(namespace.as_deref(), !without_policies).await),
        None => {
            log::start(flags.log_format);
            operate(flags)
                .await
                .inspect_err(|error| tracing::error!("belay stopped: {error:#}"))
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn report(result: anyhow::Result<()>) -> anyhow::Result<()> {
    result.inspect_err(|error| eprintln!("belay: {error:#}"))
}

/// File names and contents.
type Files = Vec<(String, String)>;

/// Prints YAML files, or writes them into a folder.
fn print(
    output: Option<&Path>,
    files: fn() -> Result<Files, serde_saphyr::ser::Error>,
) -> anyhow::Result<()> {
    for (name, yaml) in files()? {
        let Some(folder) = output else {
            print!("---\n{yaml}");
            continue;
        };
        let path = folder.join(name);
        std::fs::write(&path, yaml)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

async fn config() -> anyhow::Result<kube::Config> {
    kube::Config::infer().await.map_err(|error| {
        anyhow::anyhow!(
            "no Kubernetes cluster to connect to: set KUBECONFIG, or run as a pod with a ServiceAccount ({error})"
        )
    })
}

async fn check(namespace: Option<&str>, policies: bool) -> anyhow::Result<()> {
    let config = config().await?;
    let namespace = namespace.unwrap_or(&config.default_namespace).to_owned();
    let client = kube::Client::try_from(config)?;
    belay::check::check(client, &namespace, policies).await
}

async fn operate(flags: Flags) -> anyhow::Result<()> {
    let config = config().await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "belay is starting");
    let options = Options {
        scope: Scope::of(flags.namespace),
        lease: flags.lease,
        metrics_address: flags.metrics_address,
        leader_election: flags.leader_election,
        leader_election_namespace: flags.leader_election_namespace,
        shards: flags.shards,
        otlp_endpoint: flags.otlp_endpoint,
        force_after: Duration::from_secs(flags.force_after_seconds),
        aws: flags.aws.into(),
        azure: flags.azure.into(),
    };
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    tokio::spawn(async move {
        asked_to_end().await;
        asked.cancel();
    });
    operator::operate(config, options, shutdown).await?;
    tracing::info!("belay stopped");
    Ok(())
}

async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
