//! What a transition writes into an Operation's status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        AbortPolicy, Blocked, Cancellation, CancellationStatus, ErrorDetail, Operation as Object,
        OperationError, OperationPhase, OperationReference, OperationStatus, OperationTarget, Step,
        StepPhase,
    },
    lifecycle::{
        errors,
        facts::{AbortRequest, Operation},
        gate::Replacement,
        messages::{self, force::OPERATION_ENDED},
        plan::Plan,
        snapshot::{Progress, Work},
        steps,
        text::{bound_status, bounded},
    },
};

use super::force;

/// The maximum number of named things that couldn't be cleaned up.
const MOST_LEFT: usize = 20;

impl Operation<'_> {
    /// Returns why its work failed, with what couldn't be cleaned up.
    pub(super) fn work_error(&self) -> Option<OperationError> {
        match self.work? {
            Work::Failed(error, _) => {
                let mut error = error.clone();
                error.details.extend(self.left_behind());
                Some(error)
            }
            Work::Running(..) | Work::Stopped(_) | Work::Refused(..) | Work::Done(_) => None,
        }
    }

    /// Returns what couldn't be cleaned up when its work stopped.
    pub(super) fn left_behind(&self) -> Vec<ErrorDetail> {
        let left = self.work.map_or(&[][..], |work| &work.progress().left);
        let detail = |(what, why): &(String, String)| ErrorDetail {
            code: messages::LEFT_BEHIND.into(),
            message: why.clone(),
            target: what.clone(),
        };
        left.iter().take(MOST_LEFT).map(detail).collect()
    }
}

/// Returns the status updated with the reports of its work. The percentage never decreases, and a block keeps its
/// start time.
pub(super) fn progressed(operation: &Operation<'_>, now: Timestamp) -> OperationStatus {
    let mut status = operation.status.clone().into_owned();
    let Some(progress) = operation.work.map(Work::progress) else {
        return status;
    };
    if operation.phase() == OperationPhase::Pending {
        return status;
    }
    status.steps = steps::merge(&status.steps, progress, now);
    status.percent_complete = status.percent_complete.max(steps::percent(&status.steps));
    status.blocked = blocked(status.blocked.take(), progress, now);
    status
}

fn blocked(before: Option<Blocked>, progress: &Progress, now: Timestamp) -> Option<Blocked> {
    let (reason, message) = progress.blocked.clone()?;
    let since = before
        .filter(|before| before.reason == reason)
        .and_then(|before| before.since)
        .unwrap_or(Time(now));
    Some(Blocked {
        reason,
        message,
        since: Some(since),
    })
}

pub(super) fn begin(status: &mut OperationStatus, plan: String, steps: Vec<Step>, now: Timestamp) {
    status.phase = OperationPhase::InProgress;
    status.start_time = Some(Time(now));
    status.plan = Some(plan);
    status.steps = steps;
}

/// Accepts a request to abort. It overwrites an earlier refusal.
pub(super) fn accept(status: &mut OperationStatus, request: &AbortRequest, now: Timestamp) {
    status.cancellation = Some(cancellation(request, CancellationStatus::InProgress, now));
    status.observed_abort.clone_from(&request.fingerprint);
}

fn cancellation(
    request: &AbortRequest,
    status: CancellationStatus,
    now: Timestamp,
) -> Cancellation {
    let replaced_by = request.replaced_by.clone();
    Cancellation {
        status,
        reason: bounded(&request.reason),
        policy: request.policy,
        requested_by: bounded(&request.requested_by),
        requested_at: Some(Time(request.requested_at.unwrap_or(now))),
        accepted_at: Some(Time(now)),
        replaced_by: replaced_by.map(|(name, uid)| OperationReference { name, uid }),
        left_behind: Vec::new(),
    }
}

/// Changes an accepted abort to the policy `Now` if the request has it. Nothing else of it can change, except that a person's
/// request takes the place of Belay's own.
pub(super) fn hurry(status: &mut OperationStatus, request: &AbortRequest, now: Timestamp) {
    let accepted = status.cancellation.as_ref();
    let policy = accepted.map_or(request.policy, |accepted| {
        accepted.policy.max(request.policy)
    });
    if request.fingerprint.is_some() && request.fingerprint != status.observed_abort {
        let request = AbortRequest {
            policy,
            ..request.clone()
        };
        return accept(status, &request, now);
    }
    if let Some(cancellation) = &mut status.cancellation
        && request.policy == AbortPolicy::Now
    {
        cancellation.policy = AbortPolicy::Now;
    }
}

/// Refuses a request to abort, so that the operation goes on.
pub(super) fn refuse(
    status: &mut OperationStatus,
    request: &AbortRequest,
    why: String,
    now: Timestamp,
) {
    let before = status.cancellation.take();
    let mut refused =
        before.unwrap_or_else(|| cancellation(request, CancellationStatus::Failed, now));
    refused.status = CancellationStatus::Failed;
    refused.reason = why;
    status.cancellation = Some(refused);
    if request.fingerprint.is_some() {
        status.observed_abort.clone_from(&request.fingerprint);
    }
}

/// Records that the operation ended before a request to abort took effect, if there was one.
pub(super) fn came_too_late(status: &mut OperationStatus, request: &AbortRequest, now: Timestamp) {
    let is_asked = *request != AbortRequest::default();
    if status.cancellation.is_none() && is_asked {
        accept(status, request, now);
    }
    if let Some(cancellation) = &mut status.cancellation
        && cancellation.status == CancellationStatus::InProgress
    {
        cancellation.status = CancellationStatus::Failed;
        cancellation.reason = messages::ENDED_BEFORE_ABORT.into();
    }
}

/// Records that something newer replaces an operation that waits.
pub(super) fn replace(status: &mut OperationStatus, replacement: &Replacement, now: Timestamp) {
    let request = AbortRequest {
        replaced_by: replacement.by.clone(),
        ..AbortRequest::now(replacement.reason.clone())
    };
    // Nobody requested an abort, so none was accepted.
    status.cancellation = Some(Cancellation {
        accepted_at: None,
        ..cancellation(&request, CancellationStatus::InProgress, now)
    });
}

/// Ends an operation that has stopped as Canceled. `left` is what couldn't be cleaned up.
pub(super) fn cancel(status: &mut OperationStatus, left: Vec<ErrorDetail>, now: Timestamp) {
    status.steps = steps::end(&status.steps, StepPhase::Canceled, now);
    if let Some(cancellation) = &mut status.cancellation {
        cancellation.status = CancellationStatus::Successful;
        cancellation.left_behind = left;
    }
    end(status, OperationPhase::Canceled, now);
}

pub(super) fn succeed(status: &mut OperationStatus, now: Timestamp) {
    status.steps = steps::succeed(&status.steps, now);
    status.percent_complete = 100;
    end(status, OperationPhase::Succeeded, now);
}

pub(super) fn fail(status: &mut OperationStatus, error: OperationError, now: Timestamp) {
    status.steps = steps::end(&status.steps, StepPhase::Failed, now);
    status.error = Some(error);
    end(status, OperationPhase::Failed, now);
}

fn end(status: &mut OperationStatus, phase: OperationPhase, now: Timestamp) {
    status.phase = phase;
    let plan = Plan::of_text(status.plan.as_deref()).ok();
    status.plan = plan.and_then(|plan| plan.once_ended().to_text().ok());
    status.blocked = None;
    force::end(status, OPERATION_ENDED, now);
    status.end_time = Some(steps::end_of(status.start_time.as_ref(), now));
}

/// Returns the status of an Operation that misses an object: its target, or its target's cluster.
pub fn failed_without_target(
    operation: &Object,
    missing: &OperationTarget,
    now: Timestamp,
) -> OperationStatus {
    let mut status = operation.status.clone().unwrap_or_default();
    if let Some(request) = AbortRequest::by_annotation(operation) {
        came_too_late(&mut status, &request, now);
    }
    fail(&mut status, errors::not_found(operation, missing), now);
    status.observed_generation = operation.metadata.generation;
    bound_status(&mut status);
    status
}
