//! Which operation in flight covers a target. What that operation is about to bring about needs no other operation.

use crate::{
    api::{OperationPhase, OperationType, TargetKind},
    lifecycle::plan::PlannedTarget,
};

use super::{Facts, Operation, Target};

/// What is in flight on a target.
pub enum Coverage<'f> {
    /// Nothing that changes it.
    None,
    /// An operation that will leave the target in this state.
    Planned(&'f PlannedTarget),
    /// An operation of that type that holds the lock and hasn't planned yet. It will plan with what the spec asks for
    /// then.
    AboutToBegin(OperationType),
}

/// Returns what is in flight on a target, except `but`.
pub fn coverage<'f>(
    facts: &'f Facts<'_>,
    target: &Target<'_>,
    but: Option<&Operation<'_>>,
) -> Coverage<'f> {
    let holders = facts
        .unfinished()
        .filter(|operation| operation.holds_lock && but.is_none_or(|but| but.uid != operation.uid));
    for holder in holders {
        if let Some(plan) = holder.begun() {
            let planned = plan.of_target(&target.key);
            if let Some(planned) = planned.filter(|planned| planned.uid == target.uid) {
                return Coverage::Planned(planned);
            }
        } else if holder.phase() == OperationPhase::Pending {
            let on = &holder.spec.target;
            if *on == target.key || on.kind == TargetKind::ManagedCluster {
                return Coverage::AboutToBegin(holder.spec.type_);
            }
        }
    }
    Coverage::None
}
