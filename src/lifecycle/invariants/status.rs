//! Rules about what one write may change in an Operation's status.

use crate::api::{AbortPolicy, Cancellation, CancellationStatus, OperationPhase, OperationStatus};

use super::{Broken, PERCENT, PHASES, STOPS, TERMINAL, holds};

/// Checks one write of an Operation's status.
pub fn check(name: &str, before: &OperationStatus, after: &OperationStatus) -> Result<(), Broken> {
    use OperationPhase::{Canceling, InProgress, Succeeded};
    let change = || format!("{name}: {before:#?} to {after:#?}");
    holds(
        TERMINAL,
        !before.phase.is_finished() || after == before,
        change,
    )?;
    // If an abort is refused, the operation goes on.
    let goes_on = before.phase == Canceling && after.phase == InProgress;
    let may_follow = before.phase.may_become(after.phase) && (!goes_on || is_refused(after));
    holds(PHASES, may_follow, change)?;
    holds(
        PERCENT,
        before.percent_complete <= after.percent_complete,
        change,
    )?;
    let is_whole = after.percent_complete == 100;
    holds(PERCENT, is_whole == (after.phase == Succeeded), change)?;
    let has_end = after.end_time.is_some();
    holds(PHASES, has_end == after.phase.is_finished(), change)?;
    check_policy(before, after, change)?;
    check_cancellation(after, change)
}

/// Checks that an accepted abort never becomes milder.
fn check_policy(
    before: &OperationStatus,
    after: &OperationStatus,
    change: impl Fn() -> String,
) -> Result<(), Broken> {
    let policy = |status: &OperationStatus| {
        let accepted = status.phase == OperationPhase::Canceling;
        let cancellation = status.cancellation.as_ref().filter(|_| accepted);
        cancellation.map(|cancellation| cancellation.policy)
    };
    let is_milder =
        policy(before) == Some(AbortPolicy::Now) && policy(after) == Some(AbortPolicy::AfterStep);
    holds(STOPS, !is_milder, change)
}

fn check_cancellation(after: &OperationStatus, change: impl Fn() -> String) -> Result<(), Broken> {
    use CancellationStatus as Status;
    use OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending, Succeeded};
    let Some(Cancellation { status, .. }) = after.cancellation.as_ref() else {
        let is_accepted = !matches!(after.phase, Canceling | Canceled);
        return holds(PHASES, is_accepted, change);
    };
    let expected = match after.phase {
        Canceled => Status::Successful,
        // The operation goes on or ends normally, because the abort was refused.
        Succeeded | Failed | InProgress | Pending => Status::Failed,
        Canceling => Status::InProgress,
    };
    holds(PHASES, *status == expected, change)
}

/// Whether an abort was refused or came too late.
pub fn is_refused(status: &OperationStatus) -> bool {
    let cancellation = status.cancellation.as_ref();
    cancellation.is_some_and(|cancellation| cancellation.status == CancellationStatus::Failed)
}
