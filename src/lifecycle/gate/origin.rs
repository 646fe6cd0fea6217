//! Rules about where a request comes from: whether it is asked for at all, and still.

use crate::{
    api::{Aspect, OPERATION_UID_LABEL, OperationType, TargetKind},
    lifecycle::{
        facts::{Coverage, Facts, Origin, coverage},
        messages,
    },
};

use super::{Request, Source, Verdict, in_flight, next_operation, replaced};

/// What others began runs at the engine already, so no other rule applies. It is followed while the engine shows
/// it.
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

/// A copy of an Operation, made by a person or brought back by a backup tool, isn't run again.
pub fn copy_is_not_run(_: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation().filter(|operation| operation.is_copy)?;
    let labels = operation.object.metadata.labels.as_ref()?;
    let of = labels.get(OPERATION_UID_LABEL)?;
    Some(replaced(messages::is_a_copy(of)))
}

/// An Operation that Belay made from a spec runs only while Belay would make the same one.
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
        // What it leaves to be done is known once it has begun.
        return None;
    }
    let is_asked = if operation.spec.type_ == OperationType::Delete {
        target.deleted.is_some() && !target.held.all().contains(&Aspect::Deletion)
    } else {
        made_for == target.generation
            && next_operation(facts, target, Some(operation)).as_ref() == Some(operation.spec)
    };
    (!is_asked).then(|| replaced(messages::SPEC_CHANGED.into()))
}

/// What a person's Operation asks for is written into the spec first; where that was refused, so is it.
pub fn spec_could_be_written(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let error = facts.snapshot.refused_specs.get(operation.uid)?;
    Some(Verdict::Refuse(error.clone()))
}

/// What a cluster needs is done before what its pools need, but for what goes and what waits for its turn.
pub fn cluster_goes_first(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let Source::Spec = request.source else {
        return None;
    };
    let is_pools = request.spec.target.kind == TargetKind::AgentPool;
    let may_pass = request.spec.type_ == OperationType::Delete
        || in_flight::is_queued(facts, &request.spec.target);
    let waits = is_pools && !may_pass && next_operation(facts, &facts.cluster, None).is_some();
    waits.then(|| Verdict::Wait("waits for an operation on its cluster".into()))
}
