//! Which operations count as the last one on their target after their end.

use crate::{
    api::{Cancellation, LastOperation, OperationPhase, OperationStatus, OperationTarget, is_kept},
    lifecycle::{
        facts::{Facts, Operation, Target, deletion_in_the_way, is_by_window},
        messages,
        plan::Plan,
        transition::Transition,
    },
};

use super::lock;

/// The end of an operation that counts as the last one.
pub struct End<'f, 'a> {
    /// The Operation.
    pub operation: &'f Operation<'a>,
    /// What its target records of it.
    pub record: LastOperation,
    /// What it had to bring about. None if it never began, or if its plan is lost.
    pub plan: Option<&'f Plan>,
    /// Whether it had begun.
    pub had_begun: bool,
    /// Whether Belay aborted it because its maintenance window closed.
    pub by_window: bool,
}

/// Returns the operations that end now, or that ended and aren't recorded on their targets yet, oldest first.
pub fn ends<'f, 'a>(facts: &'f Facts<'a>, transitions: &[Transition<'f, 'a>]) -> Vec<End<'f, 'a>> {
    let mut ends: Vec<_> = of_holders(facts, transitions).collect();
    let is_deleted = |target: &OperationTarget| {
        let mut ended = ends.iter().map(|end| &end.record);
        ended.any(|record| record.target == *target && record.has_deleted())
            || facts.target(target).is_some_and(Target::is_gone)
    };
    // A copy of a Delete, canceled together with it, doesn't count: nothing is left to delete.
    let never_begun: Vec<_> = never_begun(facts, transitions)
        .filter(|end| !is_deleted(&end.record.target))
        .collect();
    ends.extend(never_begun);
    ends
}

/// Returns those that hold the lock.
fn of_holders<'f, 'a>(
    facts: &'f Facts<'a>,
    transitions: &[Transition<'f, 'a>],
) -> impl Iterator<Item = End<'f, 'a>> {
    facts.snapshot.lock().iter().filter_map(|held| {
        let operation = facts.operation(&held.uid)?;
        let transition = transitions
            .iter()
            .find(|transition| transition.operation.uid == held.uid);
        let status = transition.map_or(operation.status.as_ref(), |transition| &transition.status);
        let counts = status.phase.is_finished()
            && !is_refusal(operation, status)
            && !was_replaced(status)
            && !was_counted(facts, operation);
        let generation = lock::generation(facts, operation, held);
        counts.then(|| end(operation, status, generation))
    })
}

/// Returns those that somebody aborted while they waited, and those that a spec asked for and that were refused.
/// Belay creates neither again until the spec changes.
fn never_begun<'f, 'a>(
    facts: &'f Facts<'a>,
    transitions: &[Transition<'f, 'a>],
) -> impl Iterator<Item = End<'f, 'a>> {
    let never_began = transitions.iter().filter(|transition| {
        let status = &transition.status;
        let was_refused =
            status.phase == OperationPhase::Failed && transition.operation.is_from_spec();
        never_took_the_lock(transition)
            && (status.phase == OperationPhase::Canceled || was_refused)
            && !was_replaced(status)
            && !is_last(facts, transition.operation)
            && deletion_in_the_way(facts, transition.operation).is_none()
    });
    never_began.map(|transition| {
        let operation = transition.operation;
        let generation = lock::target_generation(facts, &operation.spec.target);
        end(operation, &transition.status, generation)
    })
}

/// Whether it is the last operation recorded on its target. A stale view may show it as still running.
fn is_last(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    last_beside(facts, operation).is_some_and(|last| last.uid == operation.uid)
}

/// Whether its end was already recorded, although the lock shows it again: a write based on a stale view, in which it
/// still ran, put it back. Since then another operation may have ended on its target, or the spec may have changed.
fn was_counted(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    let is_released = !is_kept(&operation.object.metadata);
    let is_as_late = |last: &LastOperation| {
        let (last, own) = (&last.end_time, &operation.status.end_time);
        last.as_ref().map(|time| time.0) >= own.as_ref().map(|time| time.0)
    };
    is_released
        && operation.phase().is_finished()
        && last_beside(facts, operation).is_some_and(is_as_late)
}

/// Returns what its target records as the last operation.
fn last_beside<'f>(facts: &'f Facts<'_>, operation: &Operation<'_>) -> Option<&'f LastOperation> {
    facts.target(&operation.spec.target)?.last
}

fn end<'f, 'a>(
    operation: &'f Operation<'a>,
    status: &OperationStatus,
    generation: i64,
) -> End<'f, 'a> {
    End {
        operation,
        plan: operation.begun(),
        had_begun: status.start_time.is_some(),
        by_window: status.phase == OperationPhase::Canceled
            && status.cancellation.as_ref().is_some_and(is_by_window),
        record: LastOperation {
            name: operation.name.to_owned(),
            uid: operation.uid.to_owned(),
            type_: operation.spec.type_,
            target: operation.spec.target.clone(),
            phase: status.phase,
            start_time: status.start_time.clone(),
            end_time: status.end_time.clone(),
            target_generation: generation,
            message: messages::end_text(status),
        },
    }
}

/// Whether an operation ends without having held the lock. Its end is recorded on its target first: if Belay lost it
/// in between, the spec would ask for the same operation again.
pub fn never_took_the_lock(transition: &Transition<'_, '_>) -> bool {
    transition.status.phase.is_finished() && !transition.operation.holds_lock
}

/// Whether a person's Operation was refused before it began. Then its target stays unchanged.
fn is_refusal(operation: &Operation<'_>, status: &OperationStatus) -> bool {
    operation.is_asked() && status.phase == OperationPhase::Failed && status.start_time.is_none()
}

/// Whether an Operation was canceled before it began although nobody asked for that: something newer replaced it, or
/// it was a copy.
fn was_replaced(status: &OperationStatus) -> bool {
    let was_accepted = |cancellation: &Cancellation| cancellation.accepted_at.is_some();
    status.phase == OperationPhase::Canceled
        && status.start_time.is_none()
        && !status.cancellation.as_ref().is_some_and(was_accepted)
}
