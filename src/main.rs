//! The operator.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Kubernetes clusters whose changes are operations that can be seen and aborted.
///
/// Without a command, the operator runs: on the cluster of KUBECONFIG, or as a pod on its own.
#[derive(Parser)]
#[command(version, about, long_about)]
struct Flags {
    #[command(subcommand)]
    command: Option<Command>,

    /// How log lines are written. Which ones are is set by `RUST_LOG`, "`info,kube_runtime=warn`" where it isn't set.
    #[arg(long, env = "BELAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// The one namespace whose clusters are looked after; all where it isn't set.
    #[arg(long, env = "BELAY_NAMESPACE")]
    namespace: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions: belay crds | kubectl apply -f -
    Crds {
        /// Write a file for each into this folder instead.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Print the admission policies and roles: belay policies | kubectl apply -f -
    Policies {
        /// Write a file for each into this folder instead.
        #[arg(long)]
        output: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    let result = match flags.command {
        Some(Command::Crds { output }) => print(output.as_deref(), belay::api::crd_files),
        Some(Command::Policies { output }) => {
            print(output.as_deref(), belay::admission::policy_files)
        }
        None => {
            start_log(flags.log_format);
            operate(flags.namespace.as_deref()).await
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Names and contents.
type Files = Vec<(String, String)>;

/// Prints files of YAML, or writes them into a folder.
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

async fn operate(namespace: Option<&str>) -> anyhow::Result<()> {
    let config = kube::Config::infer().await.map_err(|error| {
        anyhow::anyhow!(
            "no cluster to run on: set KUBECONFIG, or run as a pod with a ServiceAccount ({error})"
        )
    })?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "belay starts");
    belay::controller::run_all(config, namespace, told_to_end()).await?;
    tracing::info!("belay ends");
    Ok(())
}

async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=warn"));
    let is_coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_coloured)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
