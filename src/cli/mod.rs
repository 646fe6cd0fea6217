//! The kubectl plugin, for the person at the terminal: see, wait, abort.
//!
//! What is shown is made by functions of the objects, which read nothing and write nothing: see
//! [`cluster_text`], [`progress`], [`left_behind`] and [`why::explain`].

mod abort;
mod adopt;
mod ask;
mod change;
mod cluster_text;
mod completion;
mod connection;
mod errors;
mod follow;
mod in_the_way;
mod left_behind;
mod look;
mod operation;
mod output;
mod plain;
mod plan;
mod progress;
mod record;
mod reference;
mod screen;
mod session;
mod status;
mod table;
mod target;
mod text;
mod view;
mod watch;
mod why;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod screens;

pub use errors::words;
pub use reference::reference;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::api::OperationType;

use change::{Change, ScaleFlags, TargetFlags, VersionFlags};
use session::{GlobalFlags, Session};

/// What the plugin writes is written under this name.
const FIELD_MANAGER: &str = "kubectl-belay";
/// The exit code after Ctrl-C, as a shell has it.
const INTERRUPTED: u8 = 130;

/// See the operations on Kubernetes clusters, wait for them, abort them.
///
/// Exit codes: 0 where what was asked for is so; 1 where it isn't, or was refused; 2 where the command is
/// wrong; 130 after Ctrl-C.
#[derive(Parser)]
#[command(
    name = "kubectl-belay",
    bin_name = "kubectl belay",
    version,
    about,
    long_about
)]
#[command(disable_help_subcommand = true, subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Status(status::StatusFlags),
    Why(why::WhyFlags),
    Plan(plan::PlanFlags),
    Abort(abort::AbortFlags),
    Adopt(adopt::AdoptFlags),
    Operation(operation::OperationFlags),
    /// Take the Kubernetes version of a cluster or a pool up, and follow it.
    Upgrade(VersionFlags),
    /// Take the Kubernetes version of a cluster or a pool down, and follow it.
    Rollback(VersionFlags),
    /// Change the number of a pool's nodes, and follow it.
    Scale(ScaleFlags),
    /// Bring the nodes of a cluster or a pool back, and follow it.
    Start(TargetFlags),
    /// Take the nodes of a cluster or a pool away and keep its settings, and follow it.
    Stop(TargetFlags),
    /// Bring a cluster or a pool to its spec, after an operation that was canceled or failed, and follow it.
    Reconcile(TargetFlags),
    Completion(completion::CompletionFlags),
    /// Print the help of all commands as Markdown.
    #[command(hide = true)]
    Reference,
    /// Print what kubectl asks for when someone presses TAB.
    #[command(hide = true, name = "__complete")]
    Complete {
        #[arg(last = true)]
        words: Vec<String>,
    },
}

/// Runs the command of the process's arguments.
pub async fn run() -> ExitCode {
    match Box::pin(execute(Cli::parse())).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", errors::words(&error));
            ExitCode::FAILURE
        }
    }
}

async fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let session = || Session::open(&cli.global);
    let change = match &cli.command {
        Command::Status(flags) => return status::run(&session().await?, flags).await,
        Command::Why(flags) => return why::run(&session().await?, flags).await,
        Command::Plan(flags) => return plan::run(&session().await?, flags).await,
        Command::Abort(flags) => return abort::run(&session().await?, flags).await,
        Command::Adopt(flags) => return adopt::run(&session().await?, flags).await,
        Command::Operation(flags) => return operation::run(&session().await?, flags).await,
        Command::Completion(flags) => return completion::run(flags),
        Command::Complete { words } => return completion::complete(words).await,
        Command::Reference => {
            output::say(reference().trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Upgrade(flags) => Change::of_version(OperationType::Upgrade, flags),
        Command::Rollback(flags) => Change::of_version(OperationType::Rollback, flags),
        Command::Scale(flags) => Change::of_count(flags),
        Command::Start(flags) => Change::of(OperationType::Start, flags),
        Command::Stop(flags) => Change::of(OperationType::Stop, flags),
        Command::Reconcile(flags) => Change::of(OperationType::Reconcile, flags),
    };
    change.run(&session().await?).await
}

/// A duration as Kubernetes writes it: `90s`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration = text
        .parse()
        .map_err(|_| "write a duration such as 90s or 1h30m".to_owned())?;
    Ok(duration.into())
}
