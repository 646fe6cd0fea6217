//! The history: how many finished Operations are kept, and which waiting change is created again.

use crate::{
    api::{Operation as Object, OperationPhase, OperationTarget, is_kept},
    lifecycle::{
        facts::{Facts, Operation},
        managed_fields::applies_spec,
        messages::OPERATION_NOT_ALLOWED,
        names,
        transition::Transition,
    },
};

/// The maximum number of Operations that one pass deletes.
const BATCH: usize = 20;

/// Returns the finished Operations beyond the limit, for each target those that ended first. Operations that never
/// ran are counted separately, so that they don't displace any that ran. An Operation stays if its end isn't recorded
/// on its target yet, if it has a finalizer, or if the tool that applied it would create it again.
pub fn surplus<'f, 'a>(facts: &'f Facts<'a>) -> Vec<&'f Operation<'a>> {
    let spec = &facts.snapshot.cluster.spec;
    let limit = usize::try_from(spec.operation_history_limit).unwrap_or_default();
    let over: Vec<_> = facts
        .operations
        .iter()
        .filter(|operation| operation.phase().is_finished() && !operation.holds_lock)
        .filter(|operation| operation.object.metadata.deletion_timestamp.is_none())
        .collect();
    let mut targets: Vec<&OperationTarget> = over.iter().map(|over| &over.spec.target).collect();
    targets.sort_by_key(|target| (format!("{:?}", target.kind), &target.name));
    targets.dedup();
    let mut surplus = Vec::new();
    for target in targets {
        for ran in [true, false] {
            let of_kind = over.iter().filter(|operation| {
                operation.spec.target == *target && operation.status.start_time.is_some() == ran
            });
            let mut of_kind: Vec<_> = of_kind.copied().collect();
            of_kind.sort_by_key(|operation| ended(operation));
            let more = of_kind.len().saturating_sub(limit);
            surplus.extend(of_kind.into_iter().take(more));
        }
    }
    surplus
        .retain(|operation| !is_kept(&operation.object.metadata) && !is_applied(operation.object));
    surplus.truncate(BATCH);
    surplus
}

/// Returns when it ended. For Operations that ended in the same second, the order of arrival decides.
fn ended(operation: &Operation<'_>) -> (Option<jiff::Timestamp>, crate::lifecycle::facts::Arrival) {
    let end = operation.status.end_time.as_ref().map(|end| end.0);
    (end, operation.arrival.clone())
}

/// Whether a tool applies an Operation, for example from Git. If Belay deleted it, the tool would create it again,
/// and it would run again.
fn is_applied(operation: &Object) -> bool {
    const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let metadata = &operation.metadata;
    let annotations = metadata.annotations.as_ref();
    let by_client = annotations.is_some_and(|notes| notes.contains_key(LAST_APPLIED));
    let mut entries = metadata.managed_fields.iter().flatten();
    let by_server = entries.any(applies_spec);
    by_client || by_server
}

/// Returns the Operations to create again: a newer Operation replaced a person's Operation while it waited, and then
/// couldn't be done. (For a spec this isn't necessary: the spec itself still asks for the change.)
pub fn asked_again(facts: &Facts<'_>, transitions: &[Transition<'_, '_>]) -> Vec<Object> {
    let failed = transitions.iter().filter(|transition| {
        transition.status.phase == OperationPhase::Failed
            && transition.status.start_time.is_none()
            && transition.operation.is_asked()
            && !asks_for_what_is_so(facts, transition)
    });
    failed
        .filter_map(|transition| {
            let newer = transition.operation;
            let was_replaced_by_it = |older: &&Operation<'_>| {
                let cancellation = older.status.cancellation.as_ref();
                let by = cancellation.and_then(|cancellation| cancellation.replaced_by.as_ref());
                let never_began = older.status.start_time.is_none();
                never_began && by.is_some_and(|by| by.uid == newer.uid)
            };
            let mut replaced = facts.operations.iter().filter(was_replaced_by_it);
            let older = replaced.rfind(|older| older.is_asked())?;
            Some(again(older, newer))
        })
        .collect()
}

/// Whether it failed because its target already has what it asked for. Then the older change is obsolete, too.
fn asks_for_what_is_so(facts: &Facts<'_>, transition: &Transition<'_, '_>) -> bool {
    let error = transition.status.error.as_ref();
    let is_not_allowed = error.is_some_and(|error| error.code == OPERATION_NOT_ALLOWED);
    let refused = &facts.snapshot.refused_specs;
    is_not_allowed && !refused.contains_key(transition.operation.uid)
}

fn again(older: &Operation<'_>, newer: &Operation<'_>) -> Object {
    let name = names::suffixed(older.name, &[older.uid, newer.uid]);
    let mut operation = Object::new(&name, older.spec.clone());
    operation
        .metadata
        .namespace
        .clone_from(&older.object.metadata.namespace);
    operation
}
