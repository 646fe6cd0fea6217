//! `kubectl belay abort`: stops an Operation where it is, after it has shown what the abort leaves behind.

mod fleet;
pub mod left_behind;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{
        ABORT_ANNOTATION, ABORT_POLICY_AFTER_STEP, ABORT_POLICY_ANNOTATION, ABORT_POLICY_NOW,
        AbortPolicy, Operation, OperationPhase, OperationStatus, OperationType,
    },
    cli::{
        cluster::{
            errors, pause,
            session::Session,
            target::{self, Kind},
            view::{self, View, phase, target_words},
        },
        display::{
            follow::{Followed, follow},
            progress,
        },
        terminal::{ask, look::Look, output},
    },
};

use super::{duration, operation_type};

/// Stop an operation where it is.
///
/// Shows what the abort leaves behind, and asks for confirmation. After the abort, no new step begins, the step in
/// progress stops where it is, and nothing is rolled back. For a cluster or a pool, this aborts the operation in flight
/// on that very object. With --all, it lists all operations that it would stop, asks once, and goes on if one of them
/// can't be stopped.
///
/// Exit codes: 0 if each operation was asked to stop, with --wait only if each is Canceled; 1 otherwise.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct AbortFlags {
    /// The kind of the object NAME.
    #[arg(value_enum, required_unless_present = "all", requires = "name")]
    pub kind: Option<AbortKind>,

    /// Its name.
    pub name: Option<String>,

    /// Abort all operations in flight in the namespace, and those that wait for their turn.
    #[arg(long, conflicts_with = "kind")]
    pub all: bool,

    /// With --all: in all namespaces.
    #[arg(long, short = 'A', requires = "all")]
    pub all_namespaces: bool,

    /// With --all: only operations on clusters with these labels and on their pools, such as `region=eu,tier!=prod`.
    #[arg(long, short = 'l', requires = "all")]
    pub selector: Option<String>,

    /// With --all: only operations of this type, such as Upgrade.
    #[arg(long = "type", value_parser = operation_type, requires = "all", value_name = "TYPE")]
    pub type_: Option<OperationType>,

    /// The reason. It is stored with the Operation.
    #[arg(long, default_value = "aborted with kubectl belay")]
    pub reason: String,

    /// Wait until the operation is Canceled.
    #[arg(long)]
    pub wait: bool,

    /// How long to wait, such as 2m.
    #[arg(long, requires = "wait", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Let the step in progress finish, such as a drain that has begun.
    #[arg(long)]
    pub after_step: bool,

    /// Don't ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,

    /// Only show what would be left behind. With `server`, the API server checks the request as well.
    #[arg(long, value_enum)]
    pub dry_run: Option<DryRun>,
}

/// The kinds that can be aborted, as they are typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AbortKind {
    /// The operation in flight on a `ManagedCluster`.
    #[value(alias = "managedcluster", alias = "mc")]
    Cluster,
    /// The operation in flight on an `AgentPool`.
    #[value(alias = "agentpool", alias = "ap")]
    Pool,
    /// An Operation.
    #[value(alias = "op")]
    Operation,
}

/// Where a dry run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// No request is sent.
    Client,
    /// The API server checks the request, and stores nothing.
    Server,
}

/// The wait until an operation has stopped.
#[derive(Clone, Copy)]
pub struct Wait {
    /// How long to wait at most.
    pub timeout: Option<Duration>,
}

/// The request to stop an operation: an abort or a pause.
pub struct Stop {
    /// The kind of the object.
    pub kind: AbortKind,
    /// The object's name.
    pub name: String,
    /// The reason that is stored with the Operation.
    pub reason: String,
    /// How the step in progress is treated.
    pub policy: AbortPolicy,
    /// The wait until the operation is Canceled, if there is one.
    pub wait: Option<Wait>,
    /// Whether to stop it without asking.
    pub yes: bool,
    /// Whether the request is only tried.
    pub dry_run: Option<DryRun>,
}

impl Stop {
    /// Returns what the flags ask for, for one Operation.
    fn of(flags: &AbortFlags, kind: AbortKind, name: String) -> Self {
        Self {
            kind,
            name,
            reason: flags.reason.clone(),
            policy: if flags.after_step {
                AbortPolicy::AfterStep
            } else {
                AbortPolicy::Now
            },
            wait: flags.wait.then_some(Wait {
                timeout: flags.timeout,
            }),
            yes: flags.yes,
            dry_run: flags.dry_run,
        }
    }

    fn policy_word(&self) -> &'static str {
        match self.policy {
            AbortPolicy::AfterStep => ABORT_POLICY_AFTER_STEP,
            AbortPolicy::Now => ABORT_POLICY_NOW,
        }
    }

    fn is_pause(&self) -> bool {
        pause::why(&self.reason).is_some()
    }

    fn question(&self, name: &str) -> String {
        let verb = if self.is_pause() { "Pause" } else { "Abort" };
        format!("{verb} Operation {name}?")
    }
}

/// Runs the command.
///
/// # Errors
/// Returns an error if there is nothing to abort, or if the API server refuses.
pub async fn run(session: &Session, flags: &AbortFlags) -> anyhow::Result<ExitCode> {
    match (flags.kind, &flags.name) {
        (Some(kind), Some(name)) => stop(session, &Stop::of(flags, kind, name.clone())).await,
        _ => fleet::run(session, flags).await,
    }
}

/// Shows what the stop leaves behind, asks, and requests it.
///
/// # Errors
/// Returns an error if there is nothing to stop, or if the API server refuses.
pub async fn stop(session: &Session, flags: &Stop) -> anyhow::Result<ExitCode> {
    let operation = find(session, flags).await?;
    if let Some(end) = too_late(session, flags, &operation)? {
        return Ok(end);
    }
    if phase(&operation) != OperationPhase::Canceling || is_hurried(&operation, flags) {
        output::say(&preview(session, flags, &operation).await?)?;
        let asks = flags.dry_run.is_none() && !flags.yes;
        if asks && !ask::is_sure(&flags.question(&operation.name_any())).await? {
            output::say("The operation goes on: nothing was changed.")?;
            return Ok(ExitCode::FAILURE);
        }
        if flags.dry_run == Some(DryRun::Client) {
            return Ok(ExitCode::SUCCESS);
        }
        request(session, flags, &operation).await?;
    }
    if flags.dry_run.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Wait { timeout }) = flags.wait {
        return wait(session, timeout, &operation).await;
    }
    let name = operation.name_any();
    let verb = if flags.is_pause() { "pause" } else { "stop" };
    let command = session
        .look
        .command(&format!("operation wait {name} --for canceled"));
    output::say(&format!(
        "Asked Operation {name} to {verb}. To wait for it: {command}"
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn find(session: &Session, flags: &Stop) -> anyhow::Result<Operation> {
    match flags.kind {
        AbortKind::Operation => errors::get(&session.api(), &flags.name).await,
        AbortKind::Cluster => {
            target::in_flight_on(session, &Kind::Cluster.named(&flags.name)).await
        }
        AbortKind::Pool => target::in_flight_on(session, &Kind::Pool.named(&flags.name)).await,
    }
}

/// Whether this abort turns an earlier one, which lets the step in progress finish, into one that doesn't.
fn is_hurried(operation: &Operation, flags: &Stop) -> bool {
    let policy = operation.annotations().get(ABORT_POLICY_ANNOTATION);
    policy.is_some_and(|policy| policy == ABORT_POLICY_AFTER_STEP)
        && flags.policy == AbortPolicy::Now
}

/// Whether the same abort was requested before. Another reason or another policy makes it a new request.
fn was_asked_before(flags: &Stop, operation: &Operation) -> bool {
    let is = |key: &str, value: &str| {
        let written = operation.annotations().get(key);
        written.is_some_and(|written| written == value)
    };
    is(ABORT_ANNOTATION, &flags.reason) && is(ABORT_POLICY_ANNOTATION, flags.policy_word())
}

/// Returns the exit code if the Operation is already Canceled. Fails if it ended otherwise, or if the same abort was
/// refused before.
fn too_late(
    session: &Session,
    flags: &Stop,
    operation: &Operation,
) -> anyhow::Result<Option<ExitCode>> {
    let status = view::status(operation);
    let name = operation.name_any();
    match status.phase {
        OperationPhase::Canceled => {
            output::say(&session.look.wrap("", "  ", &progress::line(operation)))?;
            Ok(Some(ExitCode::SUCCESS))
        }
        ended if ended.is_finished() => {
            bail!("Operation {name} has already ended ({ended:?}): there is nothing to abort")
        }
        _ => match progress::refused_abort(&status) {
            Some(refused) if was_asked_before(flags, operation) => {
                bail!(
                    "the abort of Operation {name} was refused: {}{}",
                    refused.reason,
                    other_way(flags, &status)
                )
            }
            _ => Ok(None),
        },
    }
}

/// Returns what may help after a refused abort.
fn other_way(flags: &Stop, status: &OperationStatus) -> &'static str {
    if flags.policy == AbortPolicy::AfterStep || !progress::has_more_to_begin(status) {
        "; to ask again, give another --reason"
    } else {
        "; --after-step stops it after the step in progress; to ask again, give another --reason"
    }
}

/// Describes the Operation, its progress, and what its abort leaves behind.
async fn preview(session: &Session, flags: &Stop, operation: &Operation) -> anyhow::Result<String> {
    let cluster = match target::cluster_of(session, &operation.spec.target).await {
        Ok(cluster) => View::read(session, &cluster.name_any()).await.ok(),
        // The target may no longer exist. The Operation can be aborted nevertheless.
        Err(_) => None,
    };
    let look = session.look.now();
    Ok(preview_text(operation, cluster.as_ref(), flags, &look))
}

/// Describes the Operation, its progress, and what its abort leaves behind, in words.
pub fn preview_text(
    operation: &Operation,
    view: Option<&View>,
    flags: &Stop,
    look: &Look,
) -> String {
    let status = view::status(operation);
    let phase = progress::phase_word(operation, look);
    let mut lines = vec![
        progress::title(operation, look),
        look.wrap(
            "  ",
            "  ",
            &format!(
                "{phase} at {}%: {}",
                status.percent_complete,
                progress::doing(&status)
            ),
        ),
        String::new(),
    ];
    let cluster = view.map(|view| &view.cluster);
    let status = cluster.and_then(|cluster| cluster.status.as_ref());
    let facts = left_behind::Facts {
        operation,
        control_plane: status.and_then(|status| status.kubernetes_version.as_deref()),
        pools: view.map_or(&[], |view| &view.pools),
        policy: flags.policy,
        is_eks: cluster.is_some_and(|cluster| cluster.spec.provider.aws.is_some()),
    };
    if let Some(why) = left_behind::refusal(&facts) {
        lines.push(look.wrap("", "", &why));
        return lines.join("\n");
    }
    let what = if flags.is_pause() { "pause" } else { "abort" };
    lines.push(format!("The {what} leaves behind:"));
    let sentences = left_behind::sentences(&facts);
    lines.extend(
        sentences
            .iter()
            .map(|sentence| look.wrap("  - ", "    ", sentence)),
    );
    lines.push(look.wrap("", "", &left_behind::afterwards(operation)));
    lines.push(format!(
        "  {}",
        look.command(&format!(
            "{} {}",
            if flags.is_pause() {
                "resume"
            } else {
                "reconcile"
            },
            target_words(&operation.spec.target)
        ))
    ));
    lines.join("\n")
}

async fn request(session: &Session, flags: &Stop, operation: &Operation) -> anyhow::Result<()> {
    // The policy is always written, so that it overrides an earlier abort that waits for its step.
    let policy = flags.policy_word();
    let annotations = json!({ABORT_ANNOTATION: flags.reason, ABORT_POLICY_ANNOTATION: policy});
    let is_trial = flags.dry_run == Some(DryRun::Server);
    let requested = session.annotate(operation, annotations, is_trial).await;
    requested.with_context(|| {
        format!(
            "the abort of Operation {} was refused",
            operation.name_any()
        )
    })
}

/// Waits until an Operation whose abort was requested has stopped. Success only if it is Canceled.
///
/// # Errors
/// Returns an error if the Operation can't be watched.
pub async fn wait(
    session: &Session,
    timeout: Option<Duration>,
    operation: &Operation,
) -> anyhow::Result<ExitCode> {
    let name = operation.name_any();
    let was_refused = |now: &Operation| is_refused_since(operation, now);
    match follow(session, operation, timeout, was_refused).await? {
        Followed::Reached(operation) => match view::status(&operation) {
            status if status.phase == OperationPhase::Canceled => Ok(ExitCode::SUCCESS),
            status => {
                let why = status.cancellation.map(|cancellation| cancellation.reason);
                let why = why.unwrap_or_default();
                eprintln!(
                    "Operation {name} is not Canceled but {:?}: {why}",
                    status.phase
                );
                Ok(ExitCode::FAILURE)
            }
        },
        Followed::Gone => bail!("Operation {name} was deleted before it was Canceled"),
        Followed::TimedOut => bail!("Operation {name} is not Canceled yet: --timeout has passed"),
        Followed::Interrupted => {
            eprintln!("Stopped waiting. The abort goes on.");
            Ok(super::INTERRUPTED.into())
        }
    }
}

/// Whether the abort was refused after `before`. A refusal of an earlier request says nothing about this one.
fn is_refused_since(before: &Operation, now: &Operation) -> bool {
    let (before, now) = (view::status(before), view::status(now));
    progress::refused_abort(&now).is_some() && before.observed_abort != now.observed_abort
}
