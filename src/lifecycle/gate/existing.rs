//! Rules about what already exists.

use crate::{
    api::OperationType,
    lifecycle::{
        desired, errors,
        facts::{Coverage, Facts, Target, coverage},
        messages::refusal,
    },
};

use super::{Request, Verdict, not_allowed};

/// Refuses an Operation whose target doesn't exist.
pub fn target_exists(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let is_there = facts.target(&request.spec.target).is_some();
    (!is_there).then(|| Verdict::Refuse(errors::target_not_found(operation.object)))
}

/// Whether a target is as its spec says, and nothing in flight changes it.
pub fn is_settled(facts: &Facts<'_>, target: &Target<'_>) -> bool {
    let is_left_alone = matches!(coverage(facts, target, None), Coverage::None);
    is_left_alone && desired::differs(facts, target).is_empty()
}

/// Returns the target of a person's Operation, unless that target is being deleted.
pub fn living_target<'f, 'a>(
    facts: &'f Facts<'a>,
    request: &Request<'_>,
) -> Option<&'f Target<'a>> {
    request.asked_by_person()?;
    let target = facts.target(&request.spec.target)?;
    target.deleted.is_none().then_some(target)
}

/// Refuses a Create of something that exists: a Reconcile brings it to its spec.
pub fn is_not_there_already(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    if request.spec.type_ != OperationType::Create {
        return None;
    }
    let target = living_target(facts, request)?;
    let exists = if target.is_cluster() {
        target.there.exists
    } else {
        target.last.is_some() && is_settled(facts, target)
    };
    exists.then(|| {
        not_allowed(refusal::EXISTS_ALREADY.fill(&[
            ("kind", &format!("{:?}", target.key.kind)),
            ("name", &target.key.name),
        ]))
    })
}

/// Refuses a Scale to the count that a pool already has.
pub fn has_not_that_count(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let wanted = request.spec.count?;
    let pool = living_target(facts, request)?;
    let wanted = usize::try_from(wanted).unwrap_or_default();
    let has_it = is_settled(facts, pool) && pool.desired_count(facts.snapshot) == wanted;
    has_it.then(|| {
        not_allowed(
            refusal::HAS_NODES_ALREADY.fill(&[("name", &pool.key.name), ("count", &wanted)]),
        )
    })
}
