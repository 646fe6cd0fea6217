//! The newest change of a target wins, whichever way it came: by an Operation or by an edit of the spec.

use serde_json::{Value, json};

use crate::{
    api::{KubernetesVersion, OperationTarget, OperationType, PowerState},
    lifecycle::{
        desired::{aspects_of, changed, wanted_version},
        facts::{Facts, Operation, Target},
        messages,
    },
};

use super::{Replacement, Request, Verdict, can_be_done, in_flight::is_queued, pursued, replaced};

/// What is to be done to a target before a person's Operation can run.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecChange {
    /// The cluster or pool.
    pub target: OperationTarget,
    /// What its spec is to say; none: it is to be deleted.
    pub spec: Option<Value>,
}

/// What is left to be written into the target's spec before a person's Operation can run.
pub fn spec_change(facts: &Facts<'_>, operation: &Operation<'_>) -> Option<SpecChange> {
    if !operation.is_asked() {
        return None;
    }
    let spec = operation.spec;
    let target = facts.target(&spec.target)?;
    let power = |wanted: PowerState| {
        let is_so = target.asked.power_state == Some(wanted);
        (!is_so).then(|| json!({"powerState": wanted}))
    };
    let fields = match spec.type_ {
        OperationType::Upgrade | OperationType::Rollback => {
            let wanted = spec.kubernetes_version.as_ref()?;
            let is_so = says_version(facts, target, wanted);
            (!is_so).then(|| json!({"kubernetesVersion": wanted}))
        }
        OperationType::Scale => {
            let wanted = spec.count.filter(|_| !target.is_cluster())?;
            (target.asked.count != Some(wanted)).then(|| json!({"count": wanted}))
        }
        OperationType::Start => power(PowerState::Running),
        OperationType::Stop => power(PowerState::Stopped),
        OperationType::Delete => {
            return target.deleted.is_none().then(|| SpecChange {
                target: spec.target.clone(),
                spec: None,
            });
        }
        OperationType::Create | OperationType::Update | OperationType::Reconcile => None,
    }?;
    Some(SpecChange {
        target: spec.target.clone(),
        spec: Some(fields),
    })
}

/// Whether a target is to run that version: by its own spec, or a pool that names none under its control
/// plane.
fn says_version(facts: &Facts<'_>, target: &Target<'_>, wanted: &str) -> bool {
    if target.follows() {
        let runs = facts.control_plane().map(|runs| target.version_under(runs));
        return runs.is_some_and(|runs| runs.to_string() == wanted);
    }
    let parsed: Option<KubernetesVersion> = wanted.parse().ok();
    wanted_version(target) == parsed
}

/// Of the changes of a target that wait, only the newest that can be done is kept. A deletion is never
/// replaced.
pub fn newest_is_kept(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    if operation.spec.type_ == OperationType::Delete {
        return None;
    }
    if !operation.holds_lock && is_queued(facts, &operation.spec.target) {
        let newer = facts.waiting().filter(|other| {
            other.spec.target == operation.spec.target
                && other.is_newer_than(operation)
                && !other.is_asked_to_abort()
                && can_be_done(facts, &Request::of(facts, other))
        });
        if let Some(newest) = newer.last() {
            return Some(Verdict::Replaced(Replacement {
                reason: messages::replaced_by(newest.name),
                by: Some((newest.name.to_owned(), newest.uid.to_owned())),
            }));
        }
    }
    spec_is_newer(facts, operation).then(|| replaced(messages::SPEC_IS_NEWER.into()))
}

/// Whether what an operation of that type asks for is written into the spec.
fn is_written(type_: OperationType) -> bool {
    match type_ {
        OperationType::Upgrade
        | OperationType::Rollback
        | OperationType::Scale
        | OperationType::Start
        | OperationType::Stop => true,
        OperationType::Create
        | OperationType::Update
        | OperationType::Delete
        | OperationType::Reconcile => false,
    }
}

fn has_another_in_flight(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    let mut holders = facts.unfinished().filter(|other| other.holds_lock);
    holders.any(|other| other.uid != operation.uid && other.spec.target == operation.spec.target)
}

/// Whether the target's spec was edited after a person asked for something else. In a queue the edit takes
/// the place of the Operation; else only where both are about the same.
fn spec_is_newer(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    let Some(target) = facts.target(&operation.spec.target) else {
        return false;
    };
    let is_edited = target.generation > operation.arrived_at;
    let is_queued = is_queued(facts, &operation.spec.target);
    // What is in flight on the target may have written the edit itself: that it is in flight is the answer.
    if !operation.holds_lock && !is_queued && has_another_in_flight(facts, operation) {
        return false;
    }
    // Once it holds the lock, an edit that says the same is its own.
    let is_its_own = operation.holds_lock && spec_change(facts, operation).is_none();
    if !is_edited || is_its_own || target.deleted.is_some() || !is_written(operation.spec.type_) {
        return false;
    }
    let mut asked = pursued(facts, target, Some(operation));
    if let Some(before) = &operation.status.asked_before {
        // Also what was changed to what is there already.
        asked.extend(changed(before, &target.asked));
    }
    if !operation.holds_lock && is_queued {
        return !asked.is_empty();
    }
    !asked.is_disjoint(&aspects_of(operation.spec.type_))
}
