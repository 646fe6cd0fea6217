//! Rules about what the cluster's provider can do.

use crate::{
    api::{OperationError, OperationType, TargetKind},
    lifecycle::{
        errors::NOT_SUPPORTED,
        facts::{Facts, Target},
    },
};

use super::{Request, Verdict};

/// Lets everything wait while a cluster can't be seen: objects that Belay can't see may exist.
pub fn is_seen(facts: &Facts<'_>, _: &Request<'_>) -> Option<Verdict> {
    let trouble = facts.snapshot.observed.trouble.as_ref()?;
    Some(Verdict::Wait(trouble.sentence()))
}

/// Refuses an Operation that the provider can't do, and names an alternative. Belay still creates an Operation for
/// what a spec needs: that Operation then reports the refusal.
pub fn can_do_it(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let (type_, target) = (operation.spec.type_, &operation.spec.target);
    let instead = facts.snapshot.rules.instead_of(type_, target.kind)?;
    // A deletion is always accepted: otherwise an object could never be removed.
    (type_ != OperationType::Delete).then(|| {
        Verdict::Refuse(OperationError::new(NOT_SUPPORTED, format!(
                "the provider of this cluster can't do an Operation of type {type_:?} on {:?} {}: {instead}",
                target.kind, target.name
            )))
    })
}

/// Refuses a version that the provider can't be asked for, and says what to write instead.
pub fn can_run_it(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let text = operation.spec.kubernetes_version.as_deref()?;
    let instead = facts
        .snapshot
        .rules
        .instead_of_version(text.parse().ok()?)?;
    Some(Verdict::Refuse(OperationError::new(
        NOT_SUPPORTED,
        format!("the provider of this cluster doesn't accept version {text}: {instead}"),
    )))
}

/// Refuses to replace nodes of a pool that wants the operation to go on without nodes that can't be drained, if the
/// provider can't do that. The pool's owner may rely on it.
pub fn can_go_on_without_nodes(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    let what_happens = facts.snapshot.rules.fails_at_undrainable()?;
    let replaces = matches!(
        operation.spec.type_,
        OperationType::Upgrade | OperationType::Rollback | OperationType::Reconcile
    );
    let target = &operation.spec.target;
    let is_concerned = |pool: &&Target<'_>| {
        let is_of_cluster = target.kind == TargetKind::ManagedCluster && pool.follows();
        pool.key == *target || is_of_cluster
    };
    let wants_it = |pool: &&Target<'_>| {
        let pool = pool.pool.as_ref();
        pool.is_some_and(|pool| {
            let upgrades = &pool.object.spec.upgrade_settings;
            upgrades.undrainable_node_behavior.is_some()
        })
    };
    let pool = facts
        .pools
        .iter()
        .filter(is_concerned)
        .find(wants_it)
        .filter(|_| replaces)?;
    Some(Verdict::Refuse(OperationError::new(
        NOT_SUPPORTED,
        format!(
            "the provider of this cluster can't go on without a node that can't be drained: {what_happens}. Remove spec.upgradeSettings.undrainableNodeBehavior from AgentPool {}",
            pool.key.name
        ),
    )))
}

/// Refuses to scale a pool that something else scales, such as an autoscaler: the two would work against each other.
pub fn nobody_else_scales_it(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    if request.spec.type_ != OperationType::Scale {
        return None;
    }
    let target = facts.target(&request.spec.target)?;
    let by = target.pool.as_ref()?.scaled_by?;
    Some(Verdict::Refuse(OperationError::new(
        NOT_SUPPORTED,
        format!(
            "AgentPool {} is scaled by {by}: change the limits there, or turn off that scaling first",
            target.key.name
        ),
    )))
}
