//! Rules about what is on hold.

use kube::ResourceExt as _;

use crate::{
    api::{FOR_GENERATION_LABEL, Operation, OperationPhase, OperationStatus, OperationType},
    lifecycle::{
        desired::aspects_of,
        facts::{self, Facts},
        fixtures::World,
    },
};

use super::{Broken, HELD, WINDOW, holds};

/// Checks that nothing is created for an aspect on hold. If an object was removed by force, it is no longer known
/// what it asked for.
pub fn check_creation(
    world: &World,
    operation: &Operation,
    was_forced: bool,
) -> Result<(), Broken> {
    if is_about_nothing_held(operation) {
        return Ok(());
    }
    if !was_forced {
        check_again(world, operation)?;
    }
    check_held(world, operation)
}

/// Checks that nothing on hold begins, even if it was created on a stale view.
pub fn check_beginning(
    world: &World,
    name: &str,
    before: &OperationStatus,
    after: &OperationStatus,
) -> Result<(), Broken> {
    if !begins(before, after) {
        return Ok(());
    }
    match world.snapshot().operation(name) {
        Some(operation) if !is_about_nothing_held(operation) => check_held(world, operation),
        _ => Ok(()),
    }
}

fn begins(before: &OperationStatus, after: &OperationStatus) -> bool {
    before.phase == OperationPhase::Pending && after.phase == OperationPhase::InProgress
}

/// Checks that what waits for a maintenance window begins only while one is open.
pub fn check_window(
    world: &World,
    name: &str,
    before: &OperationStatus,
    after: &OperationStatus,
) -> Result<(), Broken> {
    if !begins(before, after) {
        return Ok(());
    }
    let snapshot = world.snapshot();
    let facts = Facts::of(&snapshot, world.now());
    let operation = facts.operations.iter().find(|it| it.name == name);
    let is_early =
        operation.is_some_and(facts::Operation::needs_window) && facts.windows.keep_waiting();
    holds(WINDOW, !is_early, || {
        format!(
            "{name} begins at {} although no window is open",
            world.now()
        )
    })
}

/// Whether it is for something that nobody asked for, such as a lost node.
fn is_about_nothing_held(operation: &Operation) -> bool {
    matches!(
        operation.spec.type_,
        OperationType::Reconcile | OperationType::Update | OperationType::Create
    )
}

fn check_held(world: &World, operation: &Operation) -> Result<(), Broken> {
    let snapshot = world.snapshot();
    let facts = Facts::of(&snapshot, world.now());
    let Some(target) = facts.target(&operation.spec.target) else {
        return Ok(());
    };
    let (about, held) = (aspects_of(operation.spec.type_), target.held.all());
    let is_from_spec = generation(operation).is_some();
    holds(HELD, !is_from_spec || !about.is_subset(&held), || {
        format!("{:?} is made though {held:?} is held", operation.spec)
    })
}

/// Returns the generation of the spec that it was created for.
fn generation(operation: &Operation) -> Option<i64> {
    let label = operation.labels().get(FOR_GENERATION_LABEL)?;
    label.parse().ok()
}

/// Checks that an operation that was aborted, or failed after its begin, isn't created again for the same generation
/// of a spec. Exceptions: something newer replaced it, a person asked for something since, or its cluster's spec now
/// has the fix for the failure.
fn check_again(world: &World, made: &Operation) -> Result<(), Broken> {
    let Some(made_for) = generation(made) else {
        return Ok(());
    };
    let snapshot = world.snapshot();
    let all = || snapshot.operations.iter();
    if all().any(|operation| generation(operation).is_none()) {
        return Ok(());
    }
    let was_ended = |status: &OperationStatus| match status.phase {
        OperationPhase::Failed => status.start_time.is_some(),
        OperationPhase::Canceled => status.cancellation.as_ref().is_some_and(|cancellation| {
            // What a window paused goes on in the next one.
            cancellation.replaced_by.is_none()
                && cancellation.accepted_at.is_some()
                && !facts::is_by_window(cancellation)
        }),
        _ => false,
    };
    let facts = Facts::of(&snapshot, world.now());
    // The last of them counts.
    let last = facts.operations.iter().rfind(|other| {
        *other.spec == made.spec
            && generation(other.object) == Some(made_for)
            && was_ended(&other.status)
    });
    let again = last.filter(|last| !is_mended_by_cluster(&facts, last));
    holds(HELD, again.is_none(), || {
        format!("{:?} is made again for generation {made_for}", made.spec)
    })
}

/// Whether an operation failed, and the cluster of its pool has asked for another version or other options since.
fn is_mended_by_cluster(facts: &Facts<'_>, ended: &facts::Operation<'_>) -> bool {
    let target = &ended.spec.target;
    let failed = Some(ended).filter(|ended| ended.phase() == OperationPhase::Failed);
    let then = failed.and_then(|failed| failed.begun()?.of_target(target));
    then.zip(facts.target(target)).is_some_and(|(then, now)| {
        let (then, now) = (&then.asked_for, &now.asked);
        then.kubernetes_version != now.kubernetes_version || then.options != now.options
    })
}
