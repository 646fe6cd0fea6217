//! Rules about what the cluster's provider can do.

use crate::{
    api::{OperationError, OperationType},
    lifecycle::{errors::NOT_SUPPORTED, facts::Facts},
};

use super::{Request, Verdict};

/// While a cluster can't be seen, nothing new begins on it: what isn't seen may be there.
pub fn is_seen(facts: &Facts<'_>, _: &Request<'_>) -> Option<Verdict> {
    let trouble = facts.snapshot.observed.trouble.as_ref()?;
    Some(Verdict::Wait(trouble.sentence()))
}

/// An Operation that the provider can't do is refused, with what to do instead. What a spec needs is asked for
/// all the same: the Operation then says it.
pub fn can_do_it(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let (type_, target) = (operation.spec.type_, &operation.spec.target);
    let instead = facts.snapshot.rules.instead_of(type_, target.kind)?;
    // A deletion is always taken: an object that can't go would stay for ever.
    (type_ != OperationType::Delete).then(|| {
        Verdict::Refuse(OperationError::new(NOT_SUPPORTED, format!(
                "the provider of this cluster can't do an Operation of type {type_:?} on {:?} {}: {instead}",
                target.kind, target.name
            )))
    })
}

/// A version that the provider can't be asked for is refused, with what to write instead.
pub fn can_run_it(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let text = operation.spec.kubernetes_version.as_deref()?;
    let instead = facts
        .snapshot
        .rules
        .instead_of_version(text.parse().ok()?)?;
    Some(Verdict::Refuse(OperationError::new(
        NOT_SUPPORTED,
        format!("the provider of this cluster can't be asked for version {text}: {instead}"),
    )))
}

/// A pool that something else scales, such as an autoscaler, isn't scaled by Belay as well: the two would work against
/// each other.
pub fn nobody_else_scales_it(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    if request.spec.type_ != OperationType::Scale {
        return None;
    }
    let target = facts.target(&request.spec.target)?;
    let by = target.pool.as_ref()?.scaled_by?;
    Some(Verdict::Refuse(OperationError::new(
        NOT_SUPPORTED,
        format!(
            "AgentPool {} is scaled by {by}: change the bounds there, or end that first",
            target.key.name
        ),
    )))
}
