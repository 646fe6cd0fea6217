//! The power state that a cluster and a pool tell. As in AKS, one that is `Stopped` with provisioningState
//! `Stopping` hasn't fully stopped yet, and one that is `Running` with `Starting` hasn't fully started.

use crate::api::{
    AgentPool, LastOperation, OperationInFlight, OperationPhase, OperationType, PowerState,
};

use super::{Snapshot, need};

/// The cluster's: where it is going, or where its control plane is.
pub(super) fn of_cluster(snapshot: &Snapshot, held: Option<&OperationInFlight>) -> PowerState {
    let reached = match snapshot.observed.control_plane {
        Some(control_plane) if !control_plane.running => PowerState::Stopped,
        _ => PowerState::Running,
    };
    going_to(held).unwrap_or(reached)
}

/// A pool's: where it is going, or what its nodes tell; where it has none, what the operation that ended
/// left it in.
pub(super) fn of_pool(
    snapshot: &Snapshot,
    pool: &AgentPool,
    held: Option<&OperationInFlight>,
    ended: Option<&LastOperation>,
) -> PowerState {
    if let Some(going_to) = going_to(held) {
        return match pool.spec.power_state {
            PowerState::Running => going_to,
            // It was stopped by itself, and a start of its cluster leaves it so.
            PowerState::Stopped => PowerState::Stopped,
        };
    }
    let nodes = snapshot.nodes(pool.metadata.name.as_deref().unwrap_or_default());
    if nodes.iter().any(|node| !node.deleting) {
        return PowerState::Running;
    }
    match ended {
        Some(ended) if ended.phase == OperationPhase::Succeeded && !snapshot.is_running() => {
            PowerState::Stopped
        }
        Some(ended) if ended.phase == OperationPhase::Succeeded => pool.spec.power_state,
        Some(ended) if ended.type_ == OperationType::Start => PowerState::Stopped,
        None if was_not_started(snapshot, pool) => PowerState::Stopped,
        _ if was_made(pool) => need::pool_power(pool),
        _ => pool.spec.power_state,
    }
}

/// Whether the last operation, on the pool or on its cluster, was to start it and didn't come to that.
fn was_not_started(snapshot: &Snapshot, pool: &AgentPool) -> bool {
    let of_pool = pool
        .status
        .as_ref()
        .and_then(|status| status.last_operation.as_ref());
    let of_cluster = snapshot
        .cluster
        .status
        .as_ref()
        .and_then(|status| status.last_operation.as_ref());
    let end = |last: &&LastOperation| last.end_time.as_ref().map(|end| end.0);
    let last = of_pool.into_iter().chain(of_cluster).max_by_key(end);
    last.is_some_and(|last| {
        last.type_ == OperationType::Start && last.phase != OperationPhase::Succeeded
    })
}

fn was_made(pool: &AgentPool) -> bool {
    let status = pool.status.as_ref();
    status.is_some_and(|status| status.last_operation.is_some())
}

fn going_to(held: Option<&OperationInFlight>) -> Option<PowerState> {
    match held?.type_ {
        OperationType::Start => Some(PowerState::Running),
        OperationType::Stop => Some(PowerState::Stopped),
        _ => None,
    }
}
