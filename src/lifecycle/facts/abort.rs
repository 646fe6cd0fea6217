//! The request to abort that an Operation stands under: by its own annotation, by its target's, or by a
//! deletion. A request that was accepted stays accepted, with the policy that it was accepted with.

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
    /// Why.
    pub reason: String,
    /// How.
    pub policy: AbortPolicy,
    /// Who asked, where the API server stamped it.
    pub requested_by: String,
    /// When it was asked for, where the object shows it.
    pub requested_at: Option<Timestamp>,
    /// The newer Operation that it makes room for, by name and uid.
    pub replaced_by: Option<(String, String)>,
    /// By what the same request is known again.
    pub fingerprint: Option<String>,
    /// Why it can't be taken.
    pub objection: Option<String>,
}

impl AbortRequest {
    /// A request that nobody made by an annotation: it stops the operation where it stands.
    pub fn now(reason: String) -> Self {
        Self {
            reason,
            ..Self::default()
        }
    }

    /// The request by an Operation's own annotation, where it wasn't decided on before.
    pub fn by_annotation(operation: &crate::api::Operation) -> Option<Self> {
        let request = of_metadata(&operation.metadata, OWN)?;
        let status = operation.status.as_ref();
        let observed = status.and_then(|status| status.observed_abort.as_ref());
        (request.fingerprint.as_ref() != observed).then_some(request)
    }
}

/// Where an annotation is.
const OWN: &str = "operation";
const TARGET: &str = "target";

impl Operation<'_> {
    /// The request that it stands under, if there is one that wasn't refused before.
    pub fn abort_request(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        if let Some(accepted) = self.accepted() {
            return Some(self.hurried(accepted, facts));
        }
        self.by_annotation()
            .or_else(|| self.by_target(facts))
            .or_else(|| self.by_deletion(facts))
    }

    /// Whether somebody asked for its abort on itself.
    pub fn is_asked_to_abort(&self) -> bool {
        self.by_annotation().is_some() || self.object.metadata.deletion_timestamp.is_some()
    }

    /// The request that was accepted: nothing takes it back, and no annotation that goes makes it milder
    /// or harder.
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

    /// The accepted request, to be done now where someone says so since: with the policy `Now`, written
    /// out, or by a deletion.
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
        if by_own || by_target || self.by_deletion(facts).is_some() {
            AbortRequest {
                policy: AbortPolicy::Now,
                ..accepted
            }
        } else {
            accepted
        }
    }

    fn by_annotation(&self) -> Option<AbortRequest> {
        AbortRequest::by_annotation(self.object)
    }

    /// The request on its cluster or pool: it is about what is in flight on that very object, and each
    /// value is honoured once.
    fn by_target(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        let target = facts.target(&self.spec.target)?;
        // Written on the target before a crash kept it from being written here.
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

    /// Whether an abort on its target means it: it holds the lock, or nothing does that is on the same
    /// target and it is the first that waits.
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
            // It came after the deletion: it is refused, not aborted.
            return None;
        }
        let reason = format!("deletion was issued on '{name}'");
        Some(AbortRequest::now(reason))
    }
}

impl Target<'_> {
    /// Whether its abort annotation has a value that wasn't honoured yet. One that the object was created
    /// with, before Belay first wrote its status, counts as honoured.
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

/// The request by the annotations of an object.
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

/// What the fingerprint of a request on a target begins with, whatever its policy.
fn target_fingerprint(metadata: &ObjectMeta) -> Option<String> {
    let reason = annotation(metadata, ABORT_ANNOTATION)?;
    Some(format!("{TARGET}/{}/", fingerprint(reason)))
}

/// Whether an Operation's status, with that `observed`, has decided on the request of a target.
pub fn was_decided(metadata: &ObjectMeta, observed: Option<&String>) -> bool {
    target_fingerprint(metadata)
        .is_some_and(|request| observed.is_some_and(|observed| observed.starts_with(&request)))
}

/// What a target's status keeps of its abort annotation.
pub fn observed_abort(metadata: &ObjectMeta) -> Option<String> {
    annotation(metadata, ABORT_ANNOTATION).map(|reason| fingerprint(reason))
}

/// When the annotation was set, as the API server noted it with its field manager.
fn annotated_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let mut entries = metadata.managed_fields.iter().flatten();
    let entry = entries.find(|entry| writes_annotation(entry, ABORT_ANNOTATION))?;
    entry.time.as_ref().map(|time| time.0)
}

/// What is being deleted and since when, where the operation is another than a deletion.
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

/// Whether the operation deletes its target: a Delete, or a Reconcile that was asked for after the
/// target's own deletion was issued.
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
