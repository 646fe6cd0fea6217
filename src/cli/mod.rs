//! The kubectl plugin, with which people see, wait for and abort operations.
//!
//! [`terminal`] knows nothing of clusters, [`cluster`] reads them, [`display`] makes texts of them, and each file in
//! [`command`] is a command. Pure functions of the objects compute the output.

mod cluster;
mod command;
mod display;
mod terminal;

#[cfg(test)]
mod k9s_tests;
#[cfg(test)]
mod screens;

pub use cluster::errors::words;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::api::OperationType;

use cluster::{
    errors,
    session::{GlobalFlags, Session},
};
use command::{
    abort, adopt,
    change::{Change, ScaleFlags, TargetFlags, VersionFlags},
    check, completion, force, operation, pause, plan, reference, report, status, wait, why,
};
use terminal::output;

/// See the operations on Kubernetes clusters, wait for them, abort them.
///
/// Exit codes: 0 if the command did what was asked; 1 if it didn't, or was refused; 2 if the command line is wrong; 130
/// after Ctrl-C.
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
    Check(check::CheckFlags),
    Abort(abort::AbortFlags),
    Pause(pause::PauseFlags),
    Resume(pause::ResumeFlags),
    Force(force::ForceFlags),
    Adopt(adopt::AdoptFlags),
    Operation(operation::OperationFlags),
    Report(report::ReportFlags),
    Wait(wait::WaitFlags),
    /// Raise the Kubernetes version of a cluster or a pool, and follow the operation.
    Upgrade(VersionFlags),
    /// Lower the Kubernetes version of a cluster or a pool, and follow the operation.
    Rollback(VersionFlags),
    /// Change the number of a pool's nodes, and follow the operation.
    Scale(ScaleFlags),
    /// Bring the nodes of a cluster or a pool back, and follow the operation.
    Start(TargetFlags),
    /// Remove the nodes of a cluster or a pool, keep its settings, and follow the operation.
    Stop(TargetFlags),
    /// Bring a cluster or a pool to its spec after an operation that was canceled or failed, and follow the operation.
    Reconcile(TargetFlags),
    Completion(completion::CompletionFlags),
    /// Print the help of all commands as Markdown.
    #[command(hide = true)]
    Reference,
    /// Print what kubectl requests when someone presses TAB.
    #[command(hide = true, name = "__complete")]
    Complete {
        #[arg(last = true)]
        words: Vec<String>,
    },
}

/// Returns the help of all commands, as Markdown.
pub fn reference() -> String {
    reference::page(Cli::command())
}

/// Runs the command that the process's arguments name.
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
        Command::Check(flags) => return check::run(&session().await?, flags).await,
        Command::Abort(flags) => return abort::run(&session().await?, flags).await,
        Command::Pause(flags) => return pause::pause(&session().await?, flags).await,
        Command::Resume(flags) => return pause::resume(&session().await?, flags).await,
        Command::Force(flags) => return force::run(&session().await?, flags).await,
        Command::Adopt(flags) => return adopt::run(&session().await?, flags).await,
        Command::Operation(flags) => return operation::run(&session().await?, flags).await,
        Command::Report(flags) => return report::run(&session().await?, flags).await,
        Command::Wait(flags) => return wait::run(&session().await?, flags).await,
        Command::Completion(flags) => return completion::run(flags, Cli::command()),
        Command::Complete { words } => return completion::complete(words, Cli::command()).await,
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
