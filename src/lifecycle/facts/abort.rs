//! The request to abort that applies to an Operation: by its own annotation, by its target's, or by a deletion. Once
//! a request is accepted, it stays accepted, with the policy that it had then.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    api::{
        ABORT_ANNOTATION, ABORT_POLICY_AFTER_STEP, ABORT_POLICY_ANNOTATION, ABORT_POLICY_NOW,
        ABORT_REQUESTED_BY_ANNOTATION, AbortPolicy, CancellationStatus, OperationPhase,
        OperationType, TargetKind,
    },
    lifecycle::{managed_fields::writes_annotation, messages, names::fingerprint},
};

use super::{Facts, Operation, Target};

/// A request to abort an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortRequest {
    /// The reason.
    pub reason: String,
    /// How to stop.
    pub policy: AbortPolicy,
    /// Who asked, if the API server stamped it.
    pub requested_by: String,
    /// When it was made, if the object shows it.
    pub requested_at: Option<Timestamp>,
    /// The newer Operation that replaces this one, by name and uid.
    pub replaced_by: Option<(String, String)>,
    /// Identifies the same request when Belay sees it again.
    pub fingerprint: Option<String>,
    /// Why it can't be accepted.
    pub objection: Option<String>,
}

impl AbortRequest {
    /// Returns a request that doesn't come from an annotation. It stops the operation at once.
    pub fn now(reason: String) -> Self {
        Self {
            reason,
            ..Self::default()
        }
    }

    /// Returns the request by an Operation's own annotation, unless it was already decided on.
    pub fn by_annotation(operation: &crate::api::Operation) -> Option<Self> {
        let request = of_metadata(&operation.metadata, OWN)?;
        let status = operation.status.as_ref();
        let observed = status.and_then(|status| status.observed_abort.as_ref());
        (request.fingerprint.as_ref() != observed).then_some(request)
    }
}

/// Where an annotation is set.
const OWN: &str = "operation";
const TARGET: &str = "target";

impl Operation<'_> {
    /// Returns the request that applies to it, if there is one that wasn't refused before.
    pub fn abort_request(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        if let Some(accepted) = self.accepted() {
            let request = self.by_person_instead(facts).unwrap_or(accepted);
            return Some(self.hurried(request, facts));
        }
        self.by_annotation()
            .or_else(|| self.by_target(facts))
            .or_else(|| self.by_deletion(facts))
            .or_else(|| self.by_timeout(facts))
            .or_else(|| self.by_window(facts))
    }

    /// Whether somebody asked to abort it, on the Operation itself.
    pub fn is_asked_to_abort(&self) -> bool {
        self.by_annotation().is_some() || self.object.metadata.deletion_timestamp.is_some()
    }

    /// Returns the accepted request. Nothing takes it back, and removing an annotation doesn't change its policy.
    fn accepted(&self) -> Option<AbortRequest> {
        let cancellation = self.status.cancellation.as_ref()?;
        let is_accepted = self.phase() == OperationPhase::Canceling
            && cancellation.status == CancellationStatus::InProgress;
        is_accepted.then(|| AbortRequest {
            reason: cancellation.reason.clone(),
            policy: cancellation.policy,
            requested_by: cancellation.requested_by.clone(),
            requested_at: cancellation.requested_at.as_ref().map(|time| time.0),
            fingerprint: self.status.observed_abort.clone(),
            ..AbortRequest::default()
        })
    }

    /// Returns the accepted request, with the policy `Now` if someone has asked for that since: with an explicit
    /// policy `Now`, by a deletion, or because the step in progress takes too long after a timeout.
    fn hurried(&self, accepted: AbortRequest, facts: &Facts<'_>) -> AbortRequest {
        let own = &self.object.metadata;
        let by_own = annotation(own, ABORT_ANNOTATION).is_some() && says_now(own);
        let by_target = facts.target(&self.spec.target).is_some_and(|target| {
            let request = target_fingerprint(target.metadata);
            let is_known = |request: &String| {
                let observed = self.status.observed_abort.as_ref();
                observed.is_some_and(|observed| observed.starts_with(request))
            };
            let is_meant = request
                .as_ref()
                .is_some_and(|request| target.has_new_abort() || is_known(request));
            is_meant && says_now(target.metadata)
        });
        let by_others = by_own || by_target || self.by_deletion(facts).is_some();
        if by_others || self.has_timed_out_twice(facts) {
            AbortRequest {
                policy: AbortPolicy::Now,
                ..accepted
            }
        } else {
            accepted
        }
    }

    pub(super) fn by_annotation(&self) -> Option<AbortRequest> {
        AbortRequest::by_annotation(self.object)
    }

    /// Returns the request on its cluster or pool. Such a request applies to the operation in flight on exactly that
    /// object, and each value counts once.
    pub(super) fn by_target(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        let target = facts.target(&self.spec.target)?;
        // Recorded on the target; a crash then prevented the write here.
        let noted = target
            .last
            .filter(|last| last.uid == self.uid && last.phase == OperationPhase::Canceled);
        let request = of_metadata(target.metadata, TARGET);
        if let Some(last) = noted {
            let reason = last.message.trim_start_matches("canceled: ").to_owned();
            return request.or_else(|| Some(AbortRequest::now(reason)));
        }
        let request = request.filter(|request| request.fingerprint != self.status.observed_abort);
        let is_meant = target.has_new_abort() && self.is_in_flight_on(target, facts);
        request.filter(|_| is_meant)
    }

    /// Whether an abort on its target applies to it: it holds the lock, or it is the first that waits and no
    /// Operation on the same target holds the lock.
    pub fn is_in_flight_on(&self, target: &Target<'_>, facts: &Facts<'_>) -> bool {
        let on_target = || {
            facts
                .unfinished()
                .filter(|other| other.spec.target == target.key)
        };
        self.holds_lock
            || (on_target()
                .next()
                .is_some_and(|first| first.uid == self.uid)
                && !on_target().any(|other| other.holds_lock))
    }

    fn by_deletion(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        if self.object.metadata.deletion_timestamp.is_some() && !is_deletion(facts, self) {
            return Some(AbortRequest::now("the Operation was deleted".into()));
        }
        let (name, since) = deletion_in_the_way(facts, self)?;
        let is_refused = self.phase() == OperationPhase::Pending
            && self.is_asked()
            && self.created.is_some_and(|asked| asked >= since);
        if is_refused {
            // It came after the deletion: the gate refuses it, so nothing is aborted.
            return None;
        }
        let reason = format!("deletion was issued on '{name}'");
        Some(AbortRequest::now(reason))
    }
}

impl Target<'_> {
    /// Whether its abort annotation has a value that Belay hasn't acted on yet. A value that the object had before
    /// Belay first wrote its status counts as done.
    pub fn has_new_abort(&self) -> bool {
        let asked = observed_abort(self.metadata);
        self.was_seen && asked.is_some() && asked.as_ref() != self.observed_abort
    }
}

fn annotation<'m>(metadata: &'m ObjectMeta, key: &str) -> Option<&'m String> {
    metadata.annotations.as_ref()?.get(key)
}

fn says_now(metadata: &ObjectMeta) -> bool {
    annotation(metadata, ABORT_POLICY_ANNOTATION).is_some_and(|policy| policy == ABORT_POLICY_NOW)
}

/// Returns the request in the annotations of an object.
fn of_metadata(metadata: &ObjectMeta, place: &str) -> Option<AbortRequest> {
    let reason = annotation(metadata, ABORT_ANNOTATION)?;
    let written = annotation(metadata, ABORT_POLICY_ANNOTATION).map_or("", String::as_str);
    let (policy, objection) = match written {
        "" | ABORT_POLICY_NOW => (AbortPolicy::Now, None),
        ABORT_POLICY_AFTER_STEP => (AbortPolicy::AfterStep, None),
        other => (
            AbortPolicy::AfterStep,
            Some(messages::unknown_abort_policy(other)),
        ),
    };
    let requested_by = annotation(metadata, ABORT_REQUESTED_BY_ANNOTATION);
    Some(AbortRequest {
        reason: reason.clone(),
        policy,
        requested_by: requested_by.cloned().unwrap_or_default(),
        requested_at: annotated_at(metadata),
        replaced_by: None,
        fingerprint: Some(format!(
            "{place}/{}/{}",
            fingerprint(reason),
            fingerprint(written)
        )),
        objection,
    })
}

/// Returns the prefix of the fingerprint of a request on a target, the same for each policy.
fn target_fingerprint(metadata: &ObjectMeta) -> Option<String> {
    let reason = annotation(metadata, ABORT_ANNOTATION)?;
    Some(format!("{TARGET}/{}/", fingerprint(reason)))
}

/// Whether an Operation's status, with that `observed`, has already decided on the request of a target.
pub fn was_decided(metadata: &ObjectMeta, observed: Option<&String>) -> bool {
    target_fingerprint(metadata)
        .is_some_and(|request| observed.is_some_and(|observed| observed.starts_with(&request)))
}

/// Returns what a target's status records of its abort annotation.
pub fn observed_abort(metadata: &ObjectMeta) -> Option<String> {
    annotation(metadata, ABORT_ANNOTATION).map(|reason| fingerprint(reason))
}

/// Returns when the annotation was set, by the timestamp in the object's managed fields.
fn annotated_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let mut entries = metadata.managed_fields.iter().flatten();
    let entry = entries.find(|entry| writes_annotation(entry, ABORT_ANNOTATION))?;
    entry.time.as_ref().map(|time| time.0)
}

/// Returns what is being deleted and since when, if that blocks the operation. None if the operation is itself a
/// deletion.
pub fn deletion_in_the_way(
    facts: &Facts<'_>,
    operation: &Operation<'_>,
) -> Option<(String, Timestamp)> {
    if is_deletion(facts, operation) {
        return None;
    }
    let target = &operation.spec.target;
    let of_cluster = facts
        .cluster
        .deleted
        .filter(|_| target.kind == TargetKind::AgentPool);
    if let Some(since) = of_cluster {
        return Some((facts.cluster.key.name.clone(), since));
    }
    let since = facts.target(target)?.deleted?;
    Some((target.name.clone(), since))
}

/// Whether the operation deletes its target: a Delete, or a Reconcile that was created after the target was deleted.
pub fn is_deletion(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    match operation.spec.type_ {
        OperationType::Delete => true,
        OperationType::Reconcile => {
            let deleted = facts
                .target(&operation.spec.target)
                .and_then(|target| target.deleted);
            deleted.is_some_and(|since| operation.created.is_some_and(|asked| asked >= since))
        }
        OperationType::Create
        | OperationType::Update
        | OperationType::Upgrade
        | OperationType::Rollback
        | OperationType::Scale
        | OperationType::Start
        | OperationType::Stop => false,
    }
}
