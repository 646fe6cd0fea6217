//! Who asks for an operation's abort, and how it is to stop.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{
    ABORT_ANNOTATION, ABORT_POLICY_AFTER_STEP, ABORT_POLICY_ANNOTATION,
    ABORT_REQUESTED_BY_ANNOTATION, ConcurrencyPolicy, Operation, OperationPhase, OperationType,
    TargetKind,
};

use super::{
    Snapshot, Stop, ask,
    names::{fingerprint, name_of},
    phase,
};

/// How the step in process is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortPolicy {
    /// It stops where it stands.
    Now,
    /// It is finished.
    AfterStep,
}

impl From<AbortPolicy> for Stop {
    fn from(policy: AbortPolicy) -> Self {
        match policy {
            AbortPolicy::Now => Self::Now,
            AbortPolicy::AfterStep => Self::AfterStep,
        }
    }
}

/// A request to abort an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortRequest {
    /// Why.
    pub reason: String,
    /// How.
    pub policy: AbortPolicy,
    /// Who asked, where the API server stamped it.
    pub requested_by: String,
    /// When it was asked for, where the object tells.
    pub requested_at: Option<Timestamp>,
}

/// The request that an operation stands under, if there is one: its annotation, its target's, a newer
/// change that takes its place, its own deletion, or the deletion of what it is on, for once deletion
/// began only deletion is allowed.
pub(super) fn request(
    snapshot: &Snapshot,
    operation: &Operation,
    now: Timestamp,
) -> Option<AbortRequest> {
    by_annotation(&operation.metadata)
        .or_else(|| by_target(snapshot, operation))
        .or_else(|| by_deletion(snapshot, operation))
        .or_else(|| by_newer_change(snapshot, operation, now))
}

/// Whether somebody asked for the operation's abort on itself.
pub(super) fn is_asked_for(snapshot: &Snapshot, operation: &Operation) -> bool {
    by_annotation(&operation.metadata).is_some() || by_deletion(snapshot, operation).is_some()
}

fn by_annotation(metadata: &ObjectMeta) -> Option<AbortRequest> {
    let annotations = metadata.annotations.as_ref()?;
    let reason = annotations.get(ABORT_ANNOTATION)?.clone();
    let policy = match annotations.get(ABORT_POLICY_ANNOTATION).map(String::as_str) {
        Some(ABORT_POLICY_AFTER_STEP) => AbortPolicy::AfterStep,
        _ => AbortPolicy::Now,
    };
    let requested_by = annotations.get(ABORT_REQUESTED_BY_ANNOTATION);
    Some(AbortRequest {
        reason,
        policy,
        requested_by: requested_by.cloned().unwrap_or_default(),
        requested_at: annotated_at(metadata),
    })
}

/// The request on the operation's cluster or pool: it is about what is in flight on that very object, and
/// each value is honoured once.
fn by_target(snapshot: &Snapshot, operation: &Operation) -> Option<AbortRequest> {
    let target = &operation.spec.target;
    let (metadata, is_new, last) = match target.kind {
        TargetKind::ManagedCluster => {
            let status = snapshot.cluster.status.as_ref();
            (
                &snapshot.cluster.metadata,
                status.is_some_and(|status| {
                    is_unobserved(&snapshot.cluster.metadata, status.observed_abort.as_ref())
                }),
                status.and_then(|status| status.last_operation.as_ref()),
            )
        }
        TargetKind::AgentPool => {
            let pool = snapshot.pool(&target.name)?;
            let status = pool.status.as_ref();
            (
                &pool.metadata,
                status.is_some_and(|status| {
                    is_unobserved(&pool.metadata, status.observed_abort.as_ref())
                }),
                status.and_then(|status| status.last_operation.as_ref()),
            )
        }
    };
    // Written on the target before a crash kept it from being written here.
    let was_noted = last.is_some_and(|last| {
        Some(&last.name) == operation.metadata.name.as_ref()
            && last.phase == OperationPhase::Canceled
    });
    if is_new && is_the_one_in_flight(snapshot, operation) || was_noted {
        return by_annotation(metadata).or_else(|| was_noted.then(|| now(String::new())));
    }
    // It was accepted before: how it is to stop is still told there.
    let request = by_annotation(metadata)?;
    let accepted = operation.status.as_ref()?.cancellation.as_ref()?;
    let is_canceling = phase::of(operation) == OperationPhase::Canceling;
    (is_canceling && accepted.reason == request.reason).then_some(request)
}

/// The operation that an abort on its target means: the one that holds the lock, or else the oldest that waits.
fn is_the_one_in_flight(snapshot: &Snapshot, operation: &Operation) -> bool {
    if phase::holds_lock(snapshot, operation) {
        return true;
    }
    let mut unfinished = snapshot.operations.iter().filter(|other| {
        other.spec.target == operation.spec.target && !phase::of(other).is_finished()
    });
    let oldest = unfinished.clone().next();
    oldest.is_some_and(|oldest| oldest.metadata.uid == operation.metadata.uid)
        && !unfinished.any(|other| phase::holds_lock(snapshot, other))
}

/// Whether the abort annotation has a value that wasn't honoured yet.
fn is_unobserved(metadata: &ObjectMeta, observed: Option<&String>) -> bool {
    let asked = observed_abort(metadata);
    asked.is_some() && asked.as_ref() != observed
}

/// What a target's status notes of its abort annotation.
pub(super) fn observed_abort(metadata: &ObjectMeta) -> Option<String> {
    let annotations = metadata.annotations.as_ref()?;
    Some(fingerprint(annotations.get(ABORT_ANNOTATION)?))
}

fn now(reason: String) -> AbortRequest {
    AbortRequest {
        reason,
        policy: AbortPolicy::Now,
        requested_by: String::new(),
        requested_at: None,
    }
}

/// With concurrencyPolicy Replace, an operation makes room for a newer change.
fn by_newer_change(
    snapshot: &Snapshot,
    operation: &Operation,
    at: Timestamp,
) -> Option<AbortRequest> {
    let is_replace = snapshot.cluster.spec.concurrency_policy == ConcurrencyPolicy::Replace;
    if !is_replace
        || operation.spec.type_ == OperationType::Delete
        || !phase::holds_lock(snapshot, operation)
    {
        return None;
    }
    let newer = ask::makes_room_for(snapshot, operation, at)?;
    Some(now(format!("replaced by Operation {}", name_of(newer))))
}

/// Whether the operation can't be aborted any more: its control plane has begun to go back.
pub(super) fn is_past_return(snapshot: &Snapshot, operation: &Operation) -> bool {
    let Some(control_plane) = snapshot.observed.control_plane else {
        return false;
    };
    let rolls_back = operation.spec.target.kind == TargetKind::ManagedCluster
        && matches!(
            operation.spec.type_,
            OperationType::Rollback | OperationType::Reconcile
        );
    rolls_back
        && control_plane
            .changing_to
            .is_some_and(|version| version < control_plane.version)
}

/// When the annotation was set, as the API server noted it with its field manager.
fn annotated_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let field = format!("f:{ABORT_ANNOTATION}");
    let managers = metadata.managed_fields.as_ref()?;
    managers
        .iter()
        .find(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|fields| !fields.0["f:metadata"]["f:annotations"][&field].is_null())
        })
        .and_then(|entry| entry.time.as_ref())
        .map(|time| time.0)
}

fn by_deletion(snapshot: &Snapshot, operation: &Operation) -> Option<AbortRequest> {
    if operation.metadata.deletion_timestamp.is_some() && !is_deletion(snapshot, operation) {
        return Some(now("the Operation was deleted".into()));
    }
    let (name, _) = deletion_in_the_way(snapshot, operation)?;
    Some(now(format!("deletion was issued on '{name}'")))
}

/// What is being deleted and since when, where the operation is another than that deletion.
pub(super) fn deletion_in_the_way(
    snapshot: &Snapshot,
    operation: &Operation,
) -> Option<(String, Timestamp)> {
    let target = &operation.spec.target;
    let cluster = &snapshot.cluster.metadata;
    if target.kind == TargetKind::AgentPool
        && let Some(since) = &cluster.deletion_timestamp
    {
        return Some((cluster.name.clone().unwrap_or_default(), since.0));
    }
    let since = deletion_of_target(snapshot, operation)?;
    (!is_deletion(snapshot, operation)).then(|| (target.name.clone(), since))
}

/// Whether the operation deletes its target: a Delete, or a Reconcile that was asked for after the
/// target's deletion was issued.
pub(super) fn is_deletion(snapshot: &Snapshot, operation: &Operation) -> bool {
    match operation.spec.type_ {
        OperationType::Delete => true,
        OperationType::Reconcile => deletion_of_target(snapshot, operation).is_some_and(|since| {
            let asked = operation.metadata.creation_timestamp.as_ref();
            asked.is_some_and(|asked| asked.0 >= since)
        }),
        _ => false,
    }
}

/// Since when the operation's target is being deleted.
pub(super) fn deletion_of_target(snapshot: &Snapshot, operation: &Operation) -> Option<Timestamp> {
    let target = &operation.spec.target;
    let metadata = match target.kind {
        TargetKind::ManagedCluster => &snapshot.cluster.metadata,
        TargetKind::AgentPool => &snapshot.pool(&target.name)?.metadata,
    };
    metadata.deletion_timestamp.as_ref().map(|time| time.0)
}
