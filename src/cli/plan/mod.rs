//! `kubectl belay plan`: which Operations an apply of manifests would start. It writes nothing.

mod dry_run;
mod manifests;
mod outlook;
mod report;
mod text;

#[cfg(test)]
mod screens;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{
    output::{self, Format},
    session::Session,
};

use manifests::Source;
use report::Report;

/// Show which operations an apply of manifests would start, and which of it would be refused.
///
/// The API server tries each ManagedCluster, AgentPool and Operation in a dry run, so its schemas and
/// policies judge them; Belay's own rules then say what follows: the operations in their order, how many
/// nodes each replaces, makes, deletes, and what they wait for. Nothing is written. Objects of other kinds
/// are left out.
///
/// Operations of the same number run side by side; those of the next number wait for them. It is how things
/// stand now: what people change meanwhile, and drains that a PodDisruptionBudget holds up, it doesn't know.
///
/// Exit codes: 0 where all of it can be applied, also where nothing would change; 1 where something would
/// be refused, or can't be read.
#[derive(Args, Debug)]
pub struct PlanFlags {
    /// Files and folders of manifests, as kubectl apply takes them; - is standard input.
    #[arg(
        long = "filename",
        short = 'f',
        required = true,
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub files: Vec<String>,

    /// Read the folders in the folders, too.
    #[arg(long, short = 'R')]
    pub recursive: bool,

    /// Who applies, for objects that are applied server-side: Flux is kustomize-controller.
    #[arg(long, value_name = "NAME", default_value = "kubectl")]
    pub field_manager: String,

    /// How it is written.
    #[arg(long, short, value_enum)]
    pub output: Option<PlanFormat>,
}

/// How a plan is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Runs it.
///
/// # Errors
/// Where a manifest can't be read, or the API server doesn't answer.
pub async fn run(session: &Session, flags: &PlanFlags) -> anyhow::Result<ExitCode> {
    let sources = flags.files.iter().map(|file| Source::of(file));
    let manifests = manifests::read(sources, flags.recursive)?;
    let (ours, others) = manifests::ours(manifests);
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
