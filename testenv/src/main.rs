//! Starts a control plane for experiments.

use std::{io::Read as _, path::PathBuf};

use clap::{Parser, Subcommand};
use testenv::{Component, ControlPlane};
use tokio::signal::unix::{SignalKind, signal};

/// A real Kubernetes control plane on loopback, for tests and demonstrations.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build all binaries that don't exist yet.
    Build,
    /// Print the path of a binary, such as kubectl. Build the binary if it doesn't exist.
    Path {
        /// The binary's name.
        name: String,
    },
    /// Print the files that describe to kwok how nodes and pods live, as one file.
    Stages,
    /// Start a control plane and keep it until SIGINT or SIGTERM.
    Up {
        /// The file for the administrator's kubeconfig, written once the control plane is ready.
        #[arg(long)]
        kubeconfig: PathBuf,
        /// End when standard input ends, so that nothing is left behind if the caller is killed.
        #[arg(long)]
        until_stdin_closes: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Flags::parse().command {
        Command::Build => {
            for name in Component::ALL
                .map(Component::name)
                .into_iter()
                .chain(["kubectl"])
            {
                println!("{}", testenv::binary(name)?.display());
            }
        }
        Command::Path { name } => println!("{}", testenv::binary(&name)?.display()),
        Command::Stages => {
            for stage in testenv::kwok_stages()? {
                println!("---\n{}", std::fs::read_to_string(stage)?.trim());
            }
        }
        Command::Up {
            kubeconfig,
            until_stdin_closes,
        } => up(&kubeconfig, until_stdin_closes).await?,
    }
    Ok(())
}

async fn up(kubeconfig: &std::path::Path, until_stdin_closes: bool) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let end = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin_closes(), if until_stdin_closes => {}
        }
    };
    let run = async {
        let control_plane = ControlPlane::start().await?;
        let half_written = kubeconfig.with_extension("new");
        std::fs::write(
            &half_written,
            serde_json::to_string_pretty(&control_plane.kubeconfig_admin())?,
        )?;
        std::fs::rename(&half_written, kubeconfig)?;
        println!(
            "ready: KUBECONFIG={} logs={}",
            kubeconfig.display(),
            control_plane.logs_dir().display()
        );
        std::future::pending::<()>().await;
        anyhow::Ok(())
    };
    tokio::select! {
        result = run => result,
        () = end => Ok(()),
    }
}

async fn stdin_closes() {
    let reads = tokio::task::spawn_blocking(|| {
        let mut buffer = [0; 64];
        while std::io::stdin()
            .read(&mut buffer)
            .is_ok_and(|read| read > 0)
        {}
    });
    // The process ends in both cases.
    let _ = reads.await;
}
