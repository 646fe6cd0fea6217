//! One operation at a time. An operation on a cluster excludes every other on it and on its pools. An operation on a
//! pool excludes those on its cluster and on itself. The list `status.operations` of the cluster is the lock.

use crate::{
    api::{
        ConcurrencyPolicy, OperationInFlight, OperationPhase, OperationTarget, OperationType,
        TargetKind,
    },
    lifecycle::{
        facts::{Facts, Operation},
        messages,
        windows::Windows,
    },
};

use super::{Request, Source, Verdict, can_be_done, not_allowed, power};

/// Whether two operations must not run in parallel.
pub fn excludes(a: &OperationTarget, b: &OperationTarget) -> bool {
    let whole = |target: &OperationTarget| target.kind == TargetKind::ManagedCluster;
    whole(a) || whole(b) || a.name == b.name
}

/// Returns the first holder of the lock that excludes an operation on `target`.
pub fn conflict<'l>(
    lock: &'l [OperationInFlight],
    target: &OperationTarget,
) -> Option<&'l OperationInFlight> {
    lock.iter().find(|held| excludes(&held.target, target))
}

/// Whether a change of the target would wait in a queue now.
pub fn is_queued(facts: &Facts<'_>, target: &OperationTarget) -> bool {
    facts.policy() != ConcurrencyPolicy::Forbid && conflict(facts.snapshot.lock(), target).is_some()
}

/// Lets a spec wait while an Operation that excludes it waits. A deletion may wait beside others, but only once.
pub fn one_waits_already(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let Source::Spec = request.source else {
        return None;
    };
    let spec = request.spec;
    let is_deletion = spec.type_ == OperationType::Delete;
    let waits = facts.waiting().any(|operation| {
        excludes(&operation.spec.target, &spec.target) && (!is_deletion || operation.spec == spec)
    });
    let is_in_flight = is_deletion
        && facts
            .unfinished()
            .any(|operation| operation.holds_lock && operation.spec == spec);
    (waits || is_in_flight).then(|| Verdict::Wait("another Operation is already waiting".into()))
}

/// With Forbid, an Operation that something in flight excludes is refused; for a spec, Belay creates the Operation
/// later. With Queue and Replace it waits as an Operation. A deletion always waits.
pub fn nothing_else_in_flight(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let spec = request.spec;
    let is_deletion = spec.type_ == OperationType::Delete;
    if is_deletion || facts.policy() != ConcurrencyPolicy::Forbid {
        return None;
    }
    let held = || conflict(request.lock, &spec.target);
    match request.source {
        Source::Spec => conflict(facts.snapshot.lock(), &spec.target)
            .or_else(held)
            .map(|held| Verdict::Wait(format!("waits for Operation {} to end", held.name))),
        Source::Operation(_) => {
            request.asked_by_person()?;
            let held = held()?;
            let changes_power = matches!(spec.type_, OperationType::Start | OperationType::Stop);
            if changes_power && held.target == spec.target {
                return power::while_in_flight(facts, request, held);
            }
            Some(not_allowed(messages::another_operation(&spec.target, held)))
        }
        Source::Scale => {
            // Before a person's Operation runs, Belay writes what it asks for into the spec.
            let is_written_now = |held: &&OperationInFlight| {
                held.type_ == OperationType::Scale && held.phase == OperationPhase::Pending
            };
            let held = held().filter(|held| !is_written_now(held))?;
            Some(not_allowed(messages::another_operation(&spec.target, held)))
        }
    }
}

/// Lets an Operation wait until it holds the lock.
pub fn turn_has_come(_: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let operation = request.operation()?;
    (!operation.holds_lock).then(|| Verdict::Wait("waits for its turn".into()))
}

/// Returns the waiting Operation that the one in flight has to make room for, with Replace. A deletion in flight
/// makes room for nothing. The Create of a pool for its spec replaces nothing: it waits.
pub fn makes_room_for<'f, 'a>(
    facts: &'f Facts<'a>,
    in_flight: &Operation<'_>,
) -> Option<&'f Operation<'a>> {
    let is_replaceable = facts.policy() == ConcurrencyPolicy::Replace
        && in_flight.spec.type_ != OperationType::Delete
        && in_flight.holds_lock;
    if !is_replaceable {
        return None;
    }
    let takes_a_place = |waiting: &&Operation<'_>| {
        let makes_a_pool = waiting.is_from_spec() && waiting.spec.type_ == OperationType::Create;
        // What waited for a maintenance window is older than what was asked for meanwhile.
        let is_older = facts.windows != Windows::None
            && waiting.needs_window()
            && waiting.arrival < in_flight.arrival;
        excludes(&waiting.spec.target, &in_flight.spec.target)
            && !waiting.is_asked_to_abort()
            && !makes_a_pool
            && !is_older
            && can_be_done(facts, &Request::of(facts, waiting))
    };
    facts.waiting().find(takes_a_place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_on_a_cluster_excludes_all_others_and_one_on_a_pool_those_on_the_same_pool() {
        let cluster = OperationTarget {
            kind: TargetKind::ManagedCluster,
            name: "demo".into(),
        };
        let pool = |name: &str| OperationTarget {
            kind: TargetKind::AgentPool,
            name: name.into(),
        };
        for (a, b, excluded) in [
            (cluster.clone(), cluster.clone(), true),
            (cluster.clone(), pool("np1"), true),
            (pool("np1"), cluster.clone(), true),
            (pool("np1"), pool("np1"), true),
            (pool("np1"), pool("np2"), false),
            // A pool may have its cluster's name.
            (pool("demo"), pool("np1"), false),
        ] {
            assert_eq!(excludes(&a, &b), excluded, "{a:?} and {b:?}");
        }
    }
}
