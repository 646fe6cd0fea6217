//! The power state that a cluster and a pool show. As in AKS, `Stopped` with the provisioningState `Stopping` means
//! not fully stopped yet, and `Running` with `Starting` means not fully started yet.

use crate::{
    api::{LastOperation, OperationInFlight, OperationPhase, OperationType, PowerState},
    lifecycle::{
        facts::{Facts, Target},
        snapshot::Snapshot,
    },
};

/// Returns the cluster's power state: the one that it is going to, or that of its control plane.
pub fn of_cluster(snapshot: &Snapshot, held: Option<&OperationInFlight>) -> PowerState {
    let reached = match snapshot.observed.control_plane {
        Some(control_plane) if !control_plane.running => PowerState::Stopped,
        _ => PowerState::Running,
    };
    going_to(held).unwrap_or(reached)
}

/// Returns a pool's power state: the one that it is going to, or the one that its nodes show. For a pool without
/// nodes, this is the state in which the operation that ended left it.
pub fn of_pool(
    facts: &Facts<'_>,
    pool: &Target<'_>,
    held: Option<&OperationInFlight>,
    ended: Option<&LastOperation>,
) -> PowerState {
    let asked = pool.asked.power_state.unwrap_or_default();
    if let Some(going_to) = going_to(held) {
        return match asked {
            PowerState::Running => going_to,
            // The pool itself was stopped, and a start of its cluster leaves it stopped.
            PowerState::Stopped => PowerState::Stopped,
        };
    }
    if pool.there.count > 0 {
        return PowerState::Running;
    }
    if facts.snapshot.observed.off.contains(&pool.key.name) {
        return PowerState::Stopped;
    }
    match ended {
        Some(ended) if ended.phase == OperationPhase::Succeeded => {
            if facts.snapshot.is_running() {
                asked
            } else {
                PowerState::Stopped
            }
        }
        Some(ended) if ended.type_ == OperationType::Start => PowerState::Stopped,
        None if was_not_started(facts, pool) => PowerState::Stopped,
        _ if pool.last.is_some() => pool.there.shown_power,
        _ => asked,
    }
}

/// Whether the last operation, on the pool or on its cluster, was a Start that didn't succeed.
fn was_not_started(facts: &Facts<'_>, pool: &Target<'_>) -> bool {
    let end = |last: &&LastOperation| last.end_time.as_ref().map(|end| end.0);
    let last = pool.last.into_iter().chain(facts.cluster.last);
    let last = last.max_by_key(end);
    last.is_some_and(|last| {
        last.type_ == OperationType::Start && last.phase != OperationPhase::Succeeded
    })
}

fn going_to(held: Option<&OperationInFlight>) -> Option<PowerState> {
    match held?.type_ {
        OperationType::Start => Some(PowerState::Running),
        OperationType::Stop => Some(PowerState::Stopped),
        OperationType::Create
        | OperationType::Update
        | OperationType::Upgrade
        | OperationType::Rollback
        | OperationType::Scale
        | OperationType::Delete
        | OperationType::Reconcile => None,
    }
}
