//! `kubectl belay pause` and `resume`: an abort after the step in progress, and a Reconcile that goes on.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Args;
use kube::ResourceExt as _;

use crate::{
    api::{
        AbortPolicy, AgentPool, Hold, ManagedCluster, Operation, OperationTarget, OperationType,
        TargetKind,
    },
    cli::cluster::{errors, pause, session::Session, target::Kind, view},
};

use super::{
    abort::{self, AbortKind, DryRun, Stop, Wait},
    change::{Change, ChangeFlags},
    duration,
};

/// Stop an operation after the step in progress, to go on later.
///
/// The rest is then on hold until `resume`, or until the spec asks for something else. Meanwhile, changes of other
/// aspects go on: an upgraded pool that is paused can be scaled, and broken nodes are replaced. This is an abort with
/// the policy `AfterStep`, and needs the same right.
///
/// Exit codes: 0 if the operation was asked to pause, with --wait only if it has stopped; 1 otherwise.
#[derive(Args, Debug)]
pub struct PauseFlags {
    /// The kind of the object NAME.
    #[arg(value_enum)]
    pub kind: AbortKind,

    /// Its name.
    pub name: String,

    /// Why, for people who look at it meanwhile. It is stored with the Operation.
    #[arg(long)]
    pub reason: Option<String>,

    /// Wait until the operation has stopped.
    #[arg(long)]
    pub wait: bool,

    /// How long to wait, such as 30m.
    #[arg(long, requires = "wait", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Don't ask for confirmation.
    #[arg(long, short)]
    pub yes: bool,

    /// Only show what would be left. With `server`, the API server checks the request as well.
    #[arg(long, value_enum)]
    pub dry_run: Option<DryRun>,
}

/// Go on with what a pause or an abort left undone, and follow the operation.
///
/// Creates an Operation of type Reconcile on the cluster or pool of the paused operation.
#[derive(Args, Debug)]
pub struct ResumeFlags {
    /// The kind of the object NAME.
    #[arg(value_enum)]
    pub kind: AbortKind,

    /// The name of the cluster, the pool or the paused Operation.
    pub name: String,

    #[command(flatten)]
    pub change: ChangeFlags,
}

/// Pauses the operation.
///
/// # Errors
/// Returns an error if there is nothing to pause, or if the API server refuses.
pub async fn pause(session: &Session, flags: &PauseFlags) -> anyhow::Result<ExitCode> {
    let request = Stop {
        kind: flags.kind,
        name: flags.name.clone(),
        reason: pause::reason(flags.reason.as_deref()),
        policy: AbortPolicy::AfterStep,
        wait: flags.wait.then_some(Wait {
            timeout: flags.timeout,
        }),
        yes: flags.yes,
        dry_run: flags.dry_run,
    };
    abort::stop(session, &request).await
}

/// Goes on with what was paused.
///
/// # Errors
/// Returns an error if nothing is on hold, or if the API server refuses the Reconcile.
pub async fn resume(session: &Session, flags: &ResumeFlags) -> anyhow::Result<ExitCode> {
    let target = match flags.kind {
        AbortKind::Cluster => held_target(session, Kind::Cluster.named(&flags.name)).await?,
        AbortKind::Pool => held_target(session, Kind::Pool.named(&flags.name)).await?,
        AbortKind::Operation => target_of(session, &flags.name).await?,
    };
    let change = Change::on(OperationType::Reconcile, target, &flags.change);
    change.run(session).await
}

/// Returns what is on hold on a cluster or a pool.
async fn hold(session: &Session, target: &OperationTarget) -> anyhow::Result<Option<Hold>> {
    Ok(match target.kind {
        TargetKind::ManagedCluster => {
            let cluster = errors::get(&session.api::<ManagedCluster>(), &target.name).await?;
            cluster.status.and_then(|status| status.hold)
        }
        TargetKind::AgentPool => {
            let pool = errors::get(&session.api::<AgentPool>(), &target.name).await?;
            let status = pool.status.unwrap_or_default();
            status.hold.or(status.cluster_hold)
        }
    })
}

/// Returns the target, if something is on hold on it.
async fn held_target(
    session: &Session,
    target: OperationTarget,
) -> anyhow::Result<OperationTarget> {
    if hold(session, &target).await?.is_none() {
        bail!(
            "nothing is on hold on {}: there is nothing to resume",
            view::target_name(&target)
        );
    }
    Ok(target)
}

/// Returns the target of a paused Operation, if what the Operation left undone is still on hold.
async fn target_of(session: &Session, name: &str) -> anyhow::Result<OperationTarget> {
    let operation: Operation = errors::get(&session.api(), name).await?;
    let phase = view::phase(&operation);
    let target = operation.spec.target.clone();
    let on = view::target_name(&target);
    if !phase.is_finished() {
        bail!("Operation {name} has not stopped yet: it is {phase:?}");
    }
    let hold = hold(session, &target).await?;
    let holder = hold.map(|hold| hold.operation.uid);
    if holder.is_none() || holder != operation.uid() {
        bail!("Operation {name} ({phase:?}) holds nothing on {on}: there is nothing to resume");
    }
    Ok(target)
}
