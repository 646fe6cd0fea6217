//! `kubectl belay abort`: stops an Operation where it stands, after it has shown what is left behind.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::api::{
    ABORT_ANNOTATION, ABORT_POLICY_AFTER_STEP, ABORT_POLICY_ANNOTATION, ABORT_POLICY_NOW,
    AbortPolicy, Operation, OperationPhase, OperationStatus,
};

use super::{
    FIELD_MANAGER, ask, errors,
    follow::{Followed, follow},
    left_behind,
    look::Look,
    output, progress,
    session::Session,
    target::{self, Kind},
    view::{self, View, phase, target_words},
};

/// Stop an operation where it stands.
///
/// It says what is left behind, and asks. No new step begins from then on, the step in process stops
/// where it stands, and nothing is rolled back. Of a cluster or a pool it is the operation in flight on
/// that very object which is aborted.
///
/// Exit codes: 0 where it was asked to stop, with --wait only where it is Canceled; 1 otherwise.
#[derive(Args, Debug)]
pub struct AbortFlags {
    /// What kind of thing NAME is.
    #[arg(value_enum)]
    pub kind: AbortKind,

    /// Its name.
    pub name: String,

    /// Why; it is kept with the Operation.
    #[arg(long, default_value = "aborted with kubectl belay")]
    pub reason: String,

    /// Wait until it is Canceled.
    #[arg(long)]
    pub wait: bool,

    /// How long to wait, such as 2m.
    #[arg(long, requires = "wait", value_parser = super::duration)]
    pub timeout: Option<Duration>,

    /// Let the step in process finish, such as a drain that has begun.
    #[arg(long)]
    pub after_step: bool,

    /// Don't ask.
    #[arg(long, short)]
    pub yes: bool,

    /// Only say what would be left behind; `server` has the API server check the request as well.
    #[arg(long, value_enum)]
    pub dry_run: Option<DryRun>,
}

/// What can be aborted, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AbortKind {
    /// What is in flight on a `ManagedCluster`.
    #[value(alias = "managedcluster", alias = "mc")]
    Cluster,
    /// What is in flight on an `AgentPool`.
    #[value(alias = "agentpool", alias = "ap")]
    Pool,
    /// An Operation.
    #[value(alias = "op")]
    Operation,
}

/// Where a dry run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Nothing is sent.
    Client,
    /// The API server checks it, and keeps nothing.
    Server,
}

impl AbortFlags {
    fn policy(&self) -> AbortPolicy {
        if self.after_step {
            AbortPolicy::AfterStep
        } else {
            AbortPolicy::Now
        }
    }

    fn policy_word(&self) -> &'static str {
        match self.policy() {
            AbortPolicy::AfterStep => ABORT_POLICY_AFTER_STEP,
            AbortPolicy::Now => ABORT_POLICY_NOW,
        }
    }
}

/// Runs it.
///
/// # Errors
/// Where there is nothing to abort, or the API server refuses.
pub async fn run(session: &Session, flags: &AbortFlags) -> anyhow::Result<ExitCode> {
    let operation = find(session, flags).await?;
    if let Some(end) = too_late(session, flags, &operation)? {
        return Ok(end);
    }
    if phase(&operation) != OperationPhase::Canceling || is_hurried(&operation, flags) {
        output::say(&preview(session, flags, &operation).await?)?;
        if flags.dry_run.is_none() && !flags.yes {
            let question = format!("Abort Operation {}?", operation.name_any());
            if !ask::is_sure(&question).await? {
                output::say("It goes on: nothing was changed.")?;
                return Ok(ExitCode::FAILURE);
            }
        }
        if flags.dry_run == Some(DryRun::Client) {
            return Ok(ExitCode::SUCCESS);
        }
        request(session, flags, &operation).await?;
    }
    if flags.dry_run.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    if flags.wait {
        wait(session, flags.timeout, &operation).await
    } else {
        let name = operation.name_any();
        let command = session
            .look
            .command(&format!("operation wait {name} --for canceled"));
        output::say(&format!(
            "Operation {name} is asked to stop. To wait for it: {command}"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn find(session: &Session, flags: &AbortFlags) -> anyhow::Result<Operation> {
    match flags.kind {
        AbortKind::Operation => errors::get(&session.api(), &flags.name).await,
        AbortKind::Cluster => {
            target::in_flight_on(session, &Kind::Cluster.named(&flags.name)).await
        }
        AbortKind::Pool => target::in_flight_on(session, &Kind::Pool.named(&flags.name)).await,
    }
}

/// Whether an abort that lets the step in process finish becomes one that doesn't.
fn is_hurried(operation: &Operation, flags: &AbortFlags) -> bool {
    let policy = operation.annotations().get(ABORT_POLICY_ANNOTATION);
    policy.is_some_and(|policy| policy == ABORT_POLICY_AFTER_STEP) && !flags.after_step
}

/// Whether the very same abort was refused before: another reason, or another policy, makes it a new request.
fn was_asked_before(flags: &AbortFlags, operation: &Operation) -> bool {
    let is = |key: &str, value: &str| {
        let written = operation.annotations().get(key);
        written.is_some_and(|written| written == value)
    };
    is(ABORT_ANNOTATION, &flags.reason) && is(ABORT_POLICY_ANNOTATION, flags.policy_word())
}

/// Where it has ended, there is nothing to abort.
fn too_late(
    session: &Session,
    flags: &AbortFlags,
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
            bail!("Operation {name} has ended, {ended:?}: there is nothing to abort")
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

/// What may help where an abort was refused.
fn other_way(flags: &AbortFlags, status: &OperationStatus) -> &'static str {
    if flags.after_step || !progress::has_more_to_begin(status) {
        "; another --reason asks once more"
    } else {
        "; --after-step stops it once the step in process has finished, another --reason asks once more"
    }
}

/// What the Operation is and how far, and what its abort leaves behind.
async fn preview(
    session: &Session,
    flags: &AbortFlags,
    operation: &Operation,
) -> anyhow::Result<String> {
    let cluster = match target::cluster_of(session, &operation.spec.target).await {
        Ok(cluster) => View::read(session, &cluster.name_any()).await.ok(),
        // What it is on may be gone: the Operation can be aborted all the same.
        Err(_) => None,
    };
    let look = session.look.now();
    Ok(preview_text(
        operation,
        cluster.as_ref(),
        flags.policy(),
        &look,
    ))
}

/// What the Operation is and how far, and what its abort leaves behind, in words.
pub fn preview_text(
    operation: &Operation,
    view: Option<&View>,
    policy: AbortPolicy,
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
        "Its abort leaves behind:".to_owned(),
    ];
    let cluster = view.and_then(|view| view.cluster.status.as_ref());
    let sentences = left_behind::sentences(&left_behind::Facts {
        operation,
        control_plane: cluster.and_then(|status| status.kubernetes_version.as_deref()),
        pools: view.map_or(&[], |view| &view.pools),
        policy,
    });
    lines.extend(
        sentences
            .iter()
            .map(|sentence| look.wrap("  - ", "    ", sentence)),
    );
    lines.push(look.wrap("", "", &left_behind::afterwards(operation)));
    lines.push(format!(
        "  {}",
        look.command(&format!(
            "reconcile {}",
            target_words(&operation.spec.target)
        ))
    ));
    lines.join("\n")
}

/// Asks for the abort of that very Operation, whatever its name is given to meanwhile.
async fn request(
    session: &Session,
    flags: &AbortFlags,
    operation: &Operation,
) -> anyhow::Result<()> {
    // The policy is written out, so that it hurries an abort before this one that waits for its step.
    let policy = flags.policy_word();
    let annotations = json!({ABORT_ANNOTATION: flags.reason, ABORT_POLICY_ANNOTATION: policy});
    let patch = json!({"metadata": {"uid": operation.uid(), "annotations": annotations}});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        dry_run: flags.dry_run == Some(DryRun::Server),
        ..PatchParams::default()
    };
    let name = operation.name_any();
    session
        .api::<Operation>()
        .patch(&name, &params, &Patch::Merge(patch))
        .await
        .with_context(|| format!("the abort of Operation {name} was refused"))?;
    Ok(())
}

/// Waits until an Operation whose abort was asked for has stopped: success only where it is Canceled.
///
/// # Errors
/// Where it can't be watched.
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
        Followed::Gone => bail!("Operation {name} was deleted before it was seen Canceled"),
        Followed::TimedOut => bail!("Operation {name} is not Canceled yet: the time is up"),
        Followed::Interrupted => {
            eprintln!("The abort goes on; nobody waits for it any more.");
            Ok(super::INTERRUPTED.into())
        }
    }
}

/// Whether the abort was refused since `before`: a refusal of an earlier request says nothing about this one.
fn is_refused_since(before: &Operation, now: &Operation) -> bool {
    let (before, now) = (view::status(before), view::status(now));
    progress::refused_abort(&now).is_some() && before.observed_abort != now.observed_abort
}
