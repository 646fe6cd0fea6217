//! `kubectl belay plan`: which Operations an apply of manifests would start. Writes nothing.

mod dry_run;
mod outlook;
mod report;
mod text;

#[cfg(test)]
mod screens;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::cli::{
    cluster::{manifests::ManifestFlags, session::Session},
    terminal::output::{self, Format},
};

use report::Report;

/// Show which operations an apply of manifests would start, and which objects would be refused.
///
/// The API server tries each ManagedCluster, AgentPool and Operation in a dry run, so its schemas and policies check
/// them. Belay's own rules then show what follows: the operations in their order, how many nodes each operation
/// replaces, creates and deletes, and what it waits for. Nothing is written. Objects of other kinds are left out.
///
/// Operations with the same number run concurrently. Operations with the next number wait for them. The plan shows the
/// current state: it doesn't know what people change in the meantime.
///
/// Below the operations, the plan lists what will be in the way of their drains, with the commands that help:
/// PodDisruptionBudgets that allow no eviction, pods that no controller makes again, volumes that exist on one node only,
/// missing room. These are warnings. What you may not read is named, and left out.
///
/// Exit codes: 0 if everything can be applied, even if nothing would change; 1 if something would be refused, or can't
/// be read.
#[derive(Args, Debug)]
pub struct PlanFlags {
    #[command(flatten)]
    pub manifests: ManifestFlags,

    /// The field manager for objects that are applied server-side, such as kustomize-controller for Flux.
    #[arg(long, value_name = "NAME", default_value = "kubectl")]
    pub field_manager: String,

    /// The output format.
    #[arg(long, short, value_enum)]
    pub output: Option<PlanFormat>,
}

/// The output formats of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if a manifest can't be read, or if the API server doesn't answer.
pub async fn run(session: &Session, flags: &PlanFlags) -> anyhow::Result<ExitCode> {
    let (ours, others) = flags.manifests.read()?;
    let tried = dry_run::try_all(session, ours, &flags.field_manager).await?;
    let outlooks = outlook::of(session, &tried).await?;
    let report = Report::new(&tried, &outlooks, &others);
    match flags.output {
        None => output::say(&text::of(&report, &session.look))?,
        Some(PlanFormat::Json) => output::value(Format::Json, &report)?,
        Some(PlanFormat::Yaml) => output::value(Format::Yaml, &report)?,
    }
    Ok(if report.is_refused() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
