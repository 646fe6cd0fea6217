//! `kubectl belay force`: lets an Operation delete pods that a `PodDisruptionBudget` protects, for a limited time.

mod budgets;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{FORCE_ANNOTATION, Operation},
    cli::{
        cluster::{
            errors,
            session::Session,
            target,
            view::{self, phase},
        },
        display::progress,
        terminal::{ask, look::Look, output},
    },
    lifecycle::messages::force,
    machinery::clock,
    provider,
};

use super::duration;

pub use budgets::{Passed, sentences};

/// Delete pods that a PodDisruptionBudget protects, for a limited time.
///
/// Shows which budgets the operation passes over, and asks for confirmation. Until the given time, the operation deletes
/// each pod whose eviction a budget has refused for a minute. After that time, it waits for the budgets again. This needs
/// the verb update on operations/force. A force lasts at most 24 hours, ends with the operation, and is recorded in
/// its status.
///
/// Exit codes: 0 if the force was set or ended, 1 otherwise.
#[derive(Args, Debug)]
pub struct ForceFlags {
    /// The Operation's name.
    pub operation: String,

    /// How long, such as 30m.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION", conflicts_with_all = ["until", "end"], required_unless_present_any = ["until", "end"])]
    pub duration: Option<Duration>,

    /// Until when, such as 2026-12-01T18:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "end")]
    pub until: Option<Timestamp>,

    /// End the force now.
    #[arg(long)]
    pub end: bool,

    /// Don't ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the Operation has ended, if its provider can't do this, or if the API server refuses.
pub async fn run(session: &Session, flags: &ForceFlags) -> anyhow::Result<ExitCode> {
    let operation: Operation = errors::get(&session.api(), &flags.operation).await?;
    let (name, phase) = (operation.name_any(), phase(&operation));
    if phase.is_finished() {
        bail!("Operation {name} has already ended ({phase:?}): there is nothing to force");
    }
    if flags.end {
        return end(session, &operation).await;
    }
    let until = until(flags)?;
    let cluster = target::cluster_of(session, &operation.spec.target).await?;
    let rules = provider::rules_of(&cluster.spec.provider);
    if let Some(instead) = rules.instead_of_force() {
        bail!("Operation {name} can't be forced: {instead}");
    }
    let passed = budgets::of(session, &cluster.name_any(), &operation).await;
    let look = session.look.now();
    output::say(&preview(&operation, &passed, until, &look))?;
    let question = format!("Force Operation {name}?");
    if !flags.yes && !ask::is_sure(&question).await? {
        output::say("Nothing was changed: the operation waits for the budgets.")?;
        return Ok(ExitCode::FAILURE);
    }
    write(session, &operation, Some(until)).await?;
    output::say(&format!("Operation {name} is forced until {until}."))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns until when, in whole seconds.
fn until(flags: &ForceFlags) -> anyhow::Result<Timestamp> {
    let now = clock::now();
    let until = match (flags.until, flags.duration) {
        (Some(until), _) => until,
        (None, duration) => clock::after(now, duration.unwrap_or_default()),
    };
    let until = Timestamp::from_second(until.as_second())?;
    if until <= now {
        bail!("{until} has passed: give a later time, or --for 30m");
    }
    let hours = force::LONGEST_HOURS;
    if until.duration_since(now).as_secs() > hours * 3600 {
        bail!(
            "{until} is more than {hours} hours ahead: give an earlier time, and force again then if needed"
        );
    }
    Ok(until)
}

async fn end(session: &Session, operation: &Operation) -> anyhow::Result<ExitCode> {
    let name = operation.name_any();
    if !operation.annotations().contains_key(FORCE_ANNOTATION) {
        output::say(&format!("Operation {name} isn't forced."))?;
        return Ok(ExitCode::SUCCESS);
    }
    write(session, operation, None).await?;
    output::say(&format!(
        "Ended the force of Operation {name}: it waits for the budgets again."
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Describes the Operation and what the force does to it.
pub fn preview(
    operation: &Operation,
    passed: &anyhow::Result<Vec<Passed>>,
    until: Timestamp,
    look: &Look,
) -> String {
    let status = view::status(operation);
    let phase = progress::phase_word(operation, look);
    let doing = progress::doing(&status);
    let mut lines = vec![
        progress::title(operation, look),
        look.wrap("  ", "  ", &format!("{phase}: {doing}")),
        String::new(),
        look.wrap(
            "",
            "",
            &format!(
                "Until {}, it deletes each pod whose eviction a PodDisruptionBudget has refused for a minute. The pods get their grace period.",
                until.strftime("%Y-%m-%d %H:%M:%S UTC")
            ),
        ),
    ];
    match passed {
        Ok(passed) => lines.extend(sentences(passed, look)),
        Err(error) => {
            let why = format!("The budgets can't be shown: {error:#}.");
            lines.push(look.wrap("", "", &why));
        }
    }
    lines.push("To end it before that time:".into());
    let command = format!("force {} --end", operation.name_any());
    lines.push(format!("  {}", look.command(&command)));
    lines.join("\n")
}

/// Sets or removes the annotation.
async fn write(
    session: &Session,
    operation: &Operation,
    until: Option<Timestamp>,
) -> anyhow::Result<()> {
    let annotations = json!({FORCE_ANNOTATION: until.map(|until| until.to_string())});
    let written = session.annotate(operation, annotations, false).await;
    written.with_context(|| {
        format!(
            "the force of Operation {} was refused",
            operation.name_any()
        )
    })
}
