//! The newest change of a target wins, whether it came by an Operation or by an edit of the spec.

use serde_json::{Value, json};

use crate::{
    api::{KubernetesVersion, OperationTarget, OperationType, PowerState},
    lifecycle::{
        desired::{aspects_of, changed, wanted_version},
        facts::{Facts, Operation, Target},
        messages,
        windows::Windows,
    },
};

use super::{
    Replacement, Request, Verdict, awaited, can_be_done, in_flight::is_queued, pursued, replaced,
};

/// The change of a target that is needed before a person's Operation can run.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecChange {
    /// The cluster or pool.
    pub target: OperationTarget,
    /// The fields for its spec. None: the target has to be deleted.
    pub spec: Option<Value>,
}

/// Returns what still has to be written into the target's spec before a person's Operation can run.
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

/// Whether a target has to run that version: by its own spec, or, for a pool that follows its cluster, by the version
/// of the control plane.
fn says_version(facts: &Facts<'_>, target: &Target<'_>, wanted: &str) -> bool {
    if target.follows() {
        let runs = facts.control_plane().map(|runs| target.version_under(runs));
        return runs.is_some_and(|runs| runs.to_string() == wanted);
    }
    let parsed: Option<KubernetesVersion> = wanted.parse().ok();
    wanted_version(target) == parsed
}

/// Keeps only the newest possible change among those of a target that wait. A deletion is never replaced.
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

/// Whether an operation of that type writes what it asks for into the spec.
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

/// Whether the target's spec was edited after a person's Operation arrived. In a queue the edit replaces the
/// Operation; otherwise only if both change the same aspect.
fn spec_is_newer(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    let Some(target) = facts.target(&operation.spec.target) else {
        return false;
    };
    // It isn't judged by the generation: it is kept as long as the spec asks for the same.
    if operation.needs_window() && facts.windows != Windows::None {
        return false;
    }
    let is_edited = target.generation > operation.arrived_at;
    let is_queued = is_queued(facts, &operation.spec.target);
    // The operation in flight may have made the edit itself. Then the rules about operations in flight decide.
    if !operation.holds_lock && !is_queued && has_another_in_flight(facts, operation) {
        return false;
    }
    // Once it holds the lock, an edit with the same value is its own.
    let is_its_own = operation.holds_lock && spec_change(facts, operation).is_none();
    if !is_edited || is_its_own || target.deleted.is_some() || !is_written(operation.spec.type_) {
        return false;
    }
    let mut asked = pursued(facts, target, Some(operation));
    if let Some(before) = &operation.status.asked_before {
        // Include an edit to a value that is already reached.
        asked.extend(changed(before, &target.asked));
    }
    let about = aspects_of(operation.spec.type_);
    if !operation.holds_lock && is_queued {
        // What waits for a window replaces nothing that needn't wait.
        let awaited = awaited(facts, target, Some(operation));
        asked.retain(|aspect| about.contains(aspect) || !awaited.contains(aspect));
        return !asked.is_empty();
    }
    !asked.is_disjoint(&about)
}
