//! The life of one Operation: Pending, InProgress, perhaps Canceling, then Succeeded, Failed or Canceled.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    Blocked, Cancellation, CancellationStatus, ConcurrencyPolicy, FOR_GENERATION_LABEL, Operation,
    OperationError, OperationPhase, OperationStatus, OperationTarget, OperationType, StepPhase,
    TargetKind,
};

use super::{
    AbortRequest, Job, Progress, Snapshot, SpecChange, Stop, Work, abort, ask, conditions, job,
    lock,
    messages::{self, OPERATION_NOT_ALLOWED},
    objection, steps,
};

/// What becomes of an Operation that hasn't ended.
pub(super) struct Advance {
    /// Its status from now on.
    pub status: OperationStatus,
    /// How its work is to stop.
    pub stop: Stop,
    /// The work to be started, once the status is written.
    pub start: Option<Box<Job>>,
    /// What is to be written into its target's spec before it begins.
    pub change: Option<SpecChange>,
}

/// Takes an Operation one stride further.
pub(super) fn advance(snapshot: &Snapshot, operation: &Operation, now: Timestamp) -> Advance {
    let before = operation.status.clone().unwrap_or_default();
    let request = abort::request(snapshot, operation, now);
    let mut next = match before.phase {
        OperationPhase::InProgress => in_progress(snapshot, operation, before, request, now),
        OperationPhase::Canceling => canceling(snapshot, operation, before, request, now),
        _ => pending(snapshot, operation, before, request, now),
    };
    debug_assert!(of(operation).may_become(next.status.phase));
    next.status.observed_generation = operation.metadata.generation;
    conditions::of_operation(&mut next.status, operation, now);
    next
}

fn only(status: OperationStatus) -> Advance {
    Advance {
        status,
        stop: Stop::No,
        start: None,
        change: None,
    }
}

fn pending(
    snapshot: &Snapshot,
    operation: &Operation,
    status: OperationStatus,
    request: Option<AbortRequest>,
    now: Timestamp,
) -> Advance {
    let target = &operation.spec.target;
    if let Some(why) = refused_by_deletion(snapshot, operation, now) {
        return only(failed(status, not_allowed(why), now));
    }
    if let Some(request) = request {
        // Nothing has begun, so there is nothing to come to a stop.
        return only(canceled(requested(status, &request, now), now));
    }
    if !snapshot.has_target(target.kind, &target.name) {
        return only(failed(status, job::target_not_found(operation), now));
    }
    if let Some(why) = is_replaced(snapshot, operation) {
        return only(canceled(requested(status, &replaced(why), now), now));
    }
    if let Some(error) = error_before_it_begins(snapshot, operation, now) {
        return only(failed(status, error, now));
    }
    let waits = OperationStatus {
        phase: OperationPhase::Pending,
        ..status.clone()
    };
    // A deletion is issued at once, as it is by `kubectl delete`: then it waits for its turn.
    let may_write =
        holds_lock(snapshot, operation) || operation.spec.type_ == OperationType::Delete;
    let change = ask::change(snapshot, operation).filter(|_| may_write && !is_from_spec(operation));
    if change.is_some() {
        return Advance {
            change,
            ..only(waits)
        };
    }
    if holds_lock(snapshot, operation) {
        return begin(snapshot, operation, status, now);
    }
    only(waits)
}

/// Why an operation that waits is not to run any more.
fn is_replaced(snapshot: &Snapshot, operation: &Operation) -> Option<String> {
    if is_from_spec(operation) && ask::is_stale(snapshot, operation) {
        return Some("replaced: the spec changed before it began".into());
    }
    let policy = snapshot.cluster.spec.concurrency_policy;
    let is_kept = policy == ConcurrencyPolicy::Forbid
        || operation.spec.type_ == OperationType::Delete
        || lock::conflict(snapshot.lock(), &operation.spec.target).is_none()
        || holds_lock(snapshot, operation);
    if is_kept {
        return None;
    }
    let newer = ask::replaced_by(snapshot, operation)?;
    Some(format!(
        "replaced by Operation {newer}: only the newest change that waits is kept"
    ))
}

/// Why an operation can't begin, now or later.
fn error_before_it_begins(
    snapshot: &Snapshot,
    operation: &Operation,
    now: Timestamp,
) -> Option<OperationError> {
    if is_from_spec(operation) {
        return None;
    }
    let uid = operation.metadata.uid.as_deref().unwrap_or_default();
    if let Some(error) = snapshot.refused_specs.get(uid) {
        return Some(error.clone());
    }
    if holds_lock(snapshot, operation) {
        return None;
    }
    refusal(snapshot, operation, now)
        .map(not_allowed)
        .or_else(|| ask::objection(snapshot, operation, now))
}

/// Why an operation that came after a deletion was issued isn't done. One that waited before is canceled.
fn refused_by_deletion(
    snapshot: &Snapshot,
    operation: &Operation,
    now: Timestamp,
) -> Option<String> {
    let (deleted, since) = abort::deletion_in_the_way(snapshot, operation)?;
    let asked = operation.metadata.creation_timestamp.as_ref()?;
    let spec = &operation.spec;
    (asked.0 >= since && !is_from_spec(operation)).then(|| {
        messages::deletion_was_issued(spec.type_, &spec.target.name, &deleted, since, Some(now))
    })
}

/// Why an operation that doesn't hold the lock won't get it.
fn refusal(snapshot: &Snapshot, operation: &Operation, now: Timestamp) -> Option<String> {
    let spec = &operation.spec;
    let waits = spec.type_ == OperationType::Delete
        || snapshot.cluster.spec.concurrency_policy != ConcurrencyPolicy::Forbid;
    if waits {
        return None;
    }
    let held = lock::conflict(snapshot.lock(), &spec.target)?;
    let is_power_change = matches!(spec.type_, OperationType::Start | OperationType::Stop);
    if is_power_change && held.target == spec.target {
        return objection::wrong_time(snapshot, operation, held, now);
    }
    Some(messages::another_operation(&spec.target, held))
}

fn begin(
    snapshot: &Snapshot,
    operation: &Operation,
    status: OperationStatus,
    now: Timestamp,
) -> Advance {
    match job::job(snapshot, operation) {
        Err(error) => only(failed(status, error, now)),
        Ok(mut job) => {
            job.steps = steps::plan(&job, snapshot);
            let status = OperationStatus {
                phase: OperationPhase::InProgress,
                start_time: Some(Time(now)),
                plan: job::to_plan(&job.stages),
                steps: job.steps.clone(),
                ..status
            };
            Advance {
                start: Some(Box::new(job)),
                ..only(status)
            }
        }
    }
}

fn in_progress(
    snapshot: &Snapshot,
    operation: &Operation,
    status: OperationStatus,
    request: Option<AbortRequest>,
    now: Timestamp,
) -> Advance {
    let work = work(snapshot, operation);
    let status = progressed(status, work, now);
    match (work, request) {
        (Some(Work::Done(_)), request) => only(succeeded(status, request.as_ref(), now)),
        (Some(Work::Failed(error, _)), request) => only(failed(
            refused(status, request.as_ref(), now),
            error.clone(),
            now,
        )),
        (_, Some(request))
            if was_refused(&status) || abort::is_past_return(snapshot, operation) =>
        {
            let status = too_late(requested(status, &request, now));
            resume_if_lost(snapshot, operation, status, Stop::No, now)
        }
        // It is told to begin nothing new first: what it has begun by then is told with `Canceling`, and
        // from that write on no step starts.
        (Some(Work::Running(_, Stop::No)), Some(_)) => Advance {
            stop: Stop::AfterStep,
            ..only(status)
        },
        (_, Some(request)) => {
            let stop = request.policy.into();
            let mut status = requested(status, &request, now);
            status.phase = OperationPhase::Canceling;
            resume_if_lost(snapshot, operation, status, stop, now)
        }
        // It was stopped for an abort that was taken back before it was accepted.
        (Some(Work::Stopped(_)), None) => start_again(snapshot, operation, status, Stop::No, now),
        (_, None) => resume_if_lost(snapshot, operation, status, Stop::No, now),
    }
}

fn canceling(
    snapshot: &Snapshot,
    operation: &Operation,
    status: OperationStatus,
    request: Option<AbortRequest>,
    now: Timestamp,
) -> Advance {
    let work = work(snapshot, operation);
    let status = progressed(status, work, now);
    match work {
        Some(Work::Stopped(_)) => only(canceled(status, now)),
        Some(Work::Done(_)) => only(succeeded(status, request.as_ref(), now)),
        Some(Work::Failed(error, _)) => only(failed(
            refused(status, request.as_ref(), now),
            error.clone(),
            now,
        )),
        Some(Work::Running(..)) | None if abort::is_past_return(snapshot, operation) => {
            let mut status = too_late(status);
            status.phase = OperationPhase::InProgress;
            resume_if_lost(snapshot, operation, status, Stop::No, now)
        }
        Some(Work::Running(..)) | None => {
            // Without a request (its annotation was removed after it was accepted) it stops at once.
            let stop = request.map_or(Stop::Now, |request| request.policy.into());
            resume_if_lost(snapshot, operation, status, stop, now)
        }
    }
}

/// Starts the work where a restart lost it.
fn resume_if_lost(
    snapshot: &Snapshot,
    operation: &Operation,
    status: OperationStatus,
    stop: Stop,
    now: Timestamp,
) -> Advance {
    if work(snapshot, operation).is_some() {
        return Advance {
            stop,
            ..only(status)
        };
    }
    start_again(snapshot, operation, status, stop, now)
}

fn start_again(
    snapshot: &Snapshot,
    operation: &Operation,
    status: OperationStatus,
    stop: Stop,
    now: Timestamp,
) -> Advance {
    match job::job(snapshot, operation) {
        Ok(job) => Advance {
            stop,
            start: Some(Box::new(job)),
            ..only(status)
        },
        Err(error) => only(failed(refused(status, None, now), error, now)),
    }
}

/// Merges what the work reports. Percent never goes down, and a block keeps its beginning.
fn progressed(mut status: OperationStatus, work: Option<&Work>, now: Timestamp) -> OperationStatus {
    let Some(progress) = work.map(Work::progress) else {
        return status;
    };
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

/// The status with a request to abort that was accepted; what was noted of it before stays.
fn requested(
    mut status: OperationStatus,
    request: &AbortRequest,
    now: Timestamp,
) -> OperationStatus {
    status.cancellation.get_or_insert_with(|| Cancellation {
        status: CancellationStatus::InProgress,
        reason: request.reason.clone(),
        requested_by: request.requested_by.clone(),
        requested_at: Some(Time(request.requested_at.unwrap_or(now))),
        accepted_at: Some(Time(now)),
    });
    status
}

/// The status with a request to abort that came too late.
fn refused(
    mut status: OperationStatus,
    request: Option<&AbortRequest>,
    now: Timestamp,
) -> OperationStatus {
    if let Some(request) = request {
        status = requested(status, request, now);
    }
    if let Some(cancellation) = &mut status.cancellation
        && cancellation.status == CancellationStatus::InProgress
    {
        cancellation.status = CancellationStatus::Failed;
        cancellation.reason = messages::ENDED_BEFORE_ABORT.into();
    }
    status
}

/// Whether a request to abort was refused for good, though the operation goes on.
fn was_refused(status: &OperationStatus) -> bool {
    let cancellation = status.cancellation.as_ref();
    cancellation.is_some_and(|cancellation| cancellation.status == CancellationStatus::Failed)
}

/// The status with a request to abort that was refused: the operation goes on.
fn too_late(mut status: OperationStatus) -> OperationStatus {
    if let Some(cancellation) = &mut status.cancellation {
        cancellation.status = CancellationStatus::Failed;
        cancellation.reason = messages::ROLLBACK_HAS_BEGUN.into();
    }
    status
}

fn canceled(mut status: OperationStatus, now: Timestamp) -> OperationStatus {
    status.steps = steps::end(&status.steps, StepPhase::Canceled, now);
    if let Some(cancellation) = &mut status.cancellation {
        cancellation.status = CancellationStatus::Successful;
    }
    ended(status, OperationPhase::Canceled, now)
}

fn succeeded(
    status: OperationStatus,
    request: Option<&AbortRequest>,
    now: Timestamp,
) -> OperationStatus {
    let mut status = refused(status, request, now);
    status.steps = steps::succeed(&status.steps, now);
    status.percent_complete = 100;
    ended(status, OperationPhase::Succeeded, now)
}

fn failed(mut status: OperationStatus, error: OperationError, now: Timestamp) -> OperationStatus {
    status.steps = steps::end(&status.steps, StepPhase::Failed, now);
    status.error = Some(error);
    ended(status, OperationPhase::Failed, now)
}

fn ended(mut status: OperationStatus, phase: OperationPhase, now: Timestamp) -> OperationStatus {
    status.phase = phase;
    status.plan = None;
    status.blocked = None;
    status.end_time = Some(Time(now));
    status
}

/// The error of what can't be done now.
pub(super) fn not_allowed(message: String) -> OperationError {
    OperationError {
        code: OPERATION_NOT_ALLOWED.into(),
        message,
        ..OperationError::default()
    }
}

fn replaced(reason: String) -> AbortRequest {
    AbortRequest {
        reason,
        policy: super::AbortPolicy::Now,
        requested_by: String::new(),
        requested_at: None,
    }
}

fn work<'a>(snapshot: &'a Snapshot, operation: &Operation) -> Option<&'a Work> {
    snapshot.work.get(operation.metadata.uid.as_deref()?)
}

/// The phase of an Operation.
pub(super) fn of(operation: &Operation) -> OperationPhase {
    let status = operation.status.as_ref();
    status.map(|status| status.phase).unwrap_or_default()
}

/// The generation of its target's spec that Belay made the Operation for; none where a person made it.
pub(super) fn made_for(operation: &Operation) -> Option<&String> {
    let labels = operation.metadata.labels.as_ref()?;
    labels.get(FOR_GENERATION_LABEL)
}

/// Whether Belay made the Operation from a spec, rather than a person.
pub(super) fn is_from_spec(operation: &Operation) -> bool {
    made_for(operation).is_some()
}

/// Whether the lock, as it was read, is the operation's.
pub(super) fn holds_lock(snapshot: &Snapshot, operation: &Operation) -> bool {
    snapshot.lock().iter().any(|held| {
        Some(&held.name) == operation.metadata.name.as_ref() && held.target == operation.spec.target
    })
}

/// The generation of a target's spec, as it was read.
pub(super) fn target_generation(snapshot: &Snapshot, target: &OperationTarget) -> i64 {
    let metadata = match target.kind {
        TargetKind::ManagedCluster => Some(&snapshot.cluster.metadata),
        TargetKind::AgentPool => snapshot.pool(&target.name).map(|pool| &pool.metadata),
    };
    metadata
        .and_then(|metadata| metadata.generation)
        .unwrap_or_default()
}

/// Whether the operation counts as the last one on its target once it has ended: it held the lock, or an
/// abort kept it from beginning; not one that was refused or replaced, nor one that gave way to a deletion,
/// which it would hold back.
pub(super) fn counts(snapshot: &Snapshot, operation: &Operation, status: &OperationStatus) -> bool {
    holds_lock(snapshot, operation)
        || (status.phase == OperationPhase::Canceled
            && is_replaced(snapshot, operation).is_none()
            && abort::deletion_in_the_way(snapshot, operation).is_none())
}

/// Whether a person's Operation was refused before it began: its target stays as it was, and on no hold.
pub(super) fn is_refusal(operation: &Operation, status: &OperationStatus) -> bool {
    !is_from_spec(operation)
        && status.phase == OperationPhase::Failed
        && status.start_time.is_none()
}

/// The status of an Operation whose target there isn't.
pub fn failed_without_target(operation: &Operation, now: Timestamp) -> OperationStatus {
    let before = operation.status.clone().unwrap_or_default();
    let mut status = failed(before, job::target_not_found(operation), now);
    status.observed_generation = operation.metadata.generation;
    conditions::of_operation(&mut status, operation, now);
    status
}
