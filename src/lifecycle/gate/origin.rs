//! Rules about the origin of a request: whether somebody asks for it, and still does.

use crate::{
    api::{Aspect, OPERATION_UID_LABEL, OperationType, TargetKind},
    lifecycle::{
        facts::{Coverage, Facts, Origin, coverage, needs_window},
        messages,
        windows::Windows,
    },
};

use super::{Request, Source, Verdict, awaited_operation, in_flight, next_operation, replaced};

/// Admits what others began: it already runs at the engine, so no other rule applies. Belay follows it while the
/// engine shows it.
pub fn engine_runs_it(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let handle = operation.begun_by_others()?;
    let mut begun = facts.snapshot.observed.begun_by_others.iter();
    let is_there = begun.any(|begun| begun.handle == *handle && begun.spec == *operation.spec);
    Some(match (is_there, operation.holds_lock) {
        (true, true) => Verdict::Admit,
        (true, false) => Verdict::Wait("waits for its turn".into()),
        (false, _) => replaced(messages::NOT_AT_THE_ENGINE.into()),
    })
}

/// Replaces a copy of an Operation, made by a person or restored by a backup tool: it isn't run again.
pub fn copy_is_not_run(_: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation().filter(|operation| operation.is_copy)?;
    let labels = operation.object.metadata.labels.as_ref()?;
    let of = labels.get(OPERATION_UID_LABEL)?;
    Some(replaced(messages::is_a_copy(of)))
}

/// Replaces an Operation that Belay created for a spec, unless Belay would create the same one now.
pub fn spec_still_asks(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let Origin::Spec(made_for) = operation.origin else {
        return None;
    };
    let target = facts.target(&operation.spec.target)?;
    if matches!(
        coverage(facts, target, Some(operation)),
        Coverage::AboutToBegin(_)
    ) {
        // What that operation leaves to do is known once it has begun.
        return None;
    }
    let has_windows = facts.windows != Windows::None;
    let is_asked = if operation.spec.type_ == OperationType::Delete {
        target.deleted.is_some() && !target.held.all().contains(&Aspect::Deletion)
    } else {
        // What waits for a window is kept although the spec was edited, if it still asks for the same: an autoscaler may
        // scale the pool often.
        let is_current = made_for == target.generation || (has_windows && operation.needs_window());
        let needed = if operation.waits_for_window(facts) {
            awaited_operation(facts, target, Some(operation))
        } else {
            next_operation(facts, target, Some(operation))
        };
        is_current && needed.as_ref() == Some(operation.spec)
    };
    (!is_asked).then(|| replaced(messages::SPEC_CHANGED.into()))
}

/// Refuses a person's Operation if the spec change that it needs was refused.
pub fn spec_could_be_written(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let error = facts.snapshot.refused_specs.get(operation.uid)?;
    Some(Verdict::Refuse(error.clone()))
}

/// Lets a pool's spec wait while its cluster needs an operation. A Delete doesn't wait, and neither does a change
/// that enters a queue. What the cluster needs in the next maintenance window keeps only such changes waiting that need a
/// window too.
pub fn cluster_goes_first(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let Source::Spec = request.source else {
        return None;
    };
    let is_pools = request.spec.target.kind == TargetKind::AgentPool;
    let may_pass = request.spec.type_ == OperationType::Delete
        || in_flight::is_queued(facts, &request.spec.target);
    let cluster = &facts.cluster;
    let needed = next_operation(facts, cluster, None).or_else(|| {
        let waits = needs_window(request.spec.type_) && facts.windows.keep_waiting();
        awaited_operation(facts, cluster, None).filter(|_| waits)
    });
    let waits = is_pools && !may_pass && needed.is_some();
    waits.then(|| Verdict::Wait("waits for an operation on its cluster".into()))
}
