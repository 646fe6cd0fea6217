//! Changes that begin only while a maintenance window is open. Such a change is an Operation that waits without a place in
//! the lock or in the queue, so everything else goes on meanwhile.

use crate::{
    api::OperationSpec,
    lifecycle::{
        desired,
        facts::{Facts, Operation, Target, needs_window},
        plan::Aspects,
    },
};

use super::{Request, Source, Verdict, not_held};

/// Lets an Operation wait for a window. For a spec, one Operation on a target waits at a time.
pub fn is_open(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let waits = match request.source {
        Source::Operation(operation) => operation.waits_for_window(facts),
        Source::Spec => {
            let mut others = facts.unfinished();
            needs_window(request.spec.type_)
                && others.any(|other| {
                    other.waits_for_window(facts) && other.spec.target == request.spec.target
                })
        }
        Source::Scale => false,
    };
    waits.then(|| Verdict::Wait(facts.windows.wait()))
}

/// Returns the aspects of a target that Belay will bring to its spec once a window is open.
pub fn awaited(facts: &Facts<'_>, target: &Target<'_>, but: Option<&Operation<'_>>) -> Aspects {
    let waiting = desired::waiting_for_window(facts, target);
    if waiting.is_empty() {
        return waiting;
    }
    let mut aspects = not_held(facts, target, but);
    aspects.retain(|aspect| waiting.contains(aspect));
    aspects
}

/// Returns the operation that a target needs once a window is open. The operation `but` doesn't count as in flight.
pub fn awaited_operation(
    facts: &Facts<'_>,
    target: &Target<'_>,
    but: Option<&Operation<'_>>,
) -> Option<OperationSpec> {
    let aspects = awaited(facts, target, but);
    desired::operation(facts, target, &aspects, but).filter(|spec| needs_window(spec.type_))
}
