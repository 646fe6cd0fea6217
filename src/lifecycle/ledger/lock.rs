//! The next lock: without the operations that ended, and with those whose turn has come.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{OperationInFlight, OperationPhase, OperationTarget, OperationType, is_kept},
    lifecycle::{
        facts::{Facts, Operation},
        gate::{conflict, excludes},
        transition::Transition,
    },
};

/// Returns the next lock. The queue is in the order of arrival, with deletions first. A waiting operation lets no
/// later one pass that would keep it waiting. An operation that has begun and lost its place in the lock goes before
/// all others. One that has to wait for a maintenance window neither holds the lock nor waits in the queue.
pub fn next(facts: &Facts<'_>, transitions: &[Transition<'_, '_>]) -> Vec<OperationInFlight> {
    let held = facts.snapshot.lock();
    let of = |uid: &str| {
        let mut all = transitions.iter();
        all.find(|transition| transition.operation.uid == uid)
    };
    let still_held = |held: &OperationInFlight| {
        let Some(transition) = of(&held.uid) else {
            let is_over = facts.operation(&held.uid).is_some() || is_gone(facts, held);
            return (!is_over).then(|| held.clone());
        };
        let gives_it_back = transition.operation.waits_for_window(facts);
        (!transition.status.phase.is_finished() && !gives_it_back).then(|| OperationInFlight {
            phase: transition.status.phase,
            percent_complete: about(held.percent_complete, transition.status.percent_complete),
            target_generation: generation(facts, transition.operation, held),
            ..held.clone()
        })
    };
    let mut lock: Vec<_> = held.iter().filter_map(still_held).collect();
    let mut queue: Vec<_> = transitions
        .iter()
        .filter(|transition| !transition.status.phase.is_finished())
        .map(|transition| transition.operation)
        .filter(|operation| !operation.holds_lock && may_hold(operation))
        .filter(|operation| !operation.waits_for_window(facts))
        .collect();
    // What others began already runs at the engine, so it enters the lock beside any other holder.
    let runs_already = |operation: &Operation<'_>| operation.begun_by_others().is_some();
    queue.sort_by_key(|operation| {
        let has_begun = operation.phase() != OperationPhase::Pending || runs_already(operation);
        (!has_begun, operation.spec.type_ != OperationType::Delete)
    });
    let mut waiting: Vec<&OperationTarget> = Vec::new();
    for operation in queue {
        let target = &operation.spec.target;
        let is_free = conflict(held, target).is_none() && conflict(&lock, target).is_none();
        if runs_already(operation)
            || is_free && !waiting.iter().any(|other| excludes(other, target))
        {
            lock.push(in_flight(facts, operation, facts.now));
        } else {
            waiting.push(target);
        }
    }
    lock
}

/// Returns the percentage that the lock shows. It changes only once per ten percent, so that the statuses of cluster
/// and pools aren't written for each percent.
fn about(shown: i32, now: i32) -> i32 {
    if now / 10 == shown / 10 { shown } else { now }
}

fn is_gone(facts: &Facts<'_>, held: &OperationInFlight) -> bool {
    facts.snapshot.gone.contains(&held.uid)
}

/// Returns the holders of the lock that no cache shows: deleted by force, or not visible yet.
pub fn unseen<'f>(facts: &'f Facts<'_>) -> Vec<&'f OperationInFlight> {
    let held = facts.snapshot.lock().iter();
    held.filter(|held| facts.operation(&held.uid).is_none() && !is_gone(facts, held))
        .collect()
}

/// Whether an Operation may hold the lock. One without a finalizer could disappear and leave the lock held forever.
fn may_hold(operation: &Operation<'_>) -> bool {
    let metadata = &operation.object.metadata;
    is_kept(metadata) || metadata.deletion_timestamp.is_some()
}

/// Returns the generation that a holder of the lock brings about. The plan has it; the lock may be outdated after a
/// crash. If a person's Operation hasn't begun, Belay is still writing it into the spec, so this is the current
/// generation.
pub fn generation(facts: &Facts<'_>, operation: &Operation<'_>, held: &OperationInFlight) -> i64 {
    let plan = operation.begun();
    if let Some(planned) = plan.and_then(|plan| plan.of_target(&held.target)) {
        return planned.generation;
    }
    if operation.is_asked() && operation.phase() == OperationPhase::Pending {
        target_generation(facts, &held.target)
    } else {
        held.target_generation
    }
}

/// Returns the generation of a target's spec, as it was read.
pub fn target_generation(facts: &Facts<'_>, target: &OperationTarget) -> i64 {
    facts.target(target).map_or(0, |target| target.generation)
}

fn in_flight(facts: &Facts<'_>, operation: &Operation<'_>, now: Timestamp) -> OperationInFlight {
    let status = &operation.status;
    OperationInFlight {
        name: operation.name.to_owned(),
        uid: operation.uid.to_owned(),
        type_: operation.spec.type_,
        target: operation.spec.target.clone(),
        phase: status.phase,
        percent_complete: status.percent_complete,
        start_time: Some(status.start_time.clone().unwrap_or(Time(now))),
        target_generation: target_generation(facts, &operation.spec.target),
    }
}
