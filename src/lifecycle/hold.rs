//! The hold: a target whose last operation was canceled or failed is left alone until its spec changes or
//! someone asks with an Operation. Without it the same operation would begin again at once.

use crate::api::{AgentPool, LastOperation, OperationPhase, OperationType};

use super::{Snapshot, need};

/// Whether that end holds a target of that generation back.
pub(super) fn is_hold(last: &LastOperation, generation: Option<i64>) -> bool {
    matches!(
        last.phase,
        OperationPhase::Canceled | OperationPhase::Failed
    ) && Some(last.target_generation) == generation
}

/// The operation that holds the cluster back.
pub(super) fn cluster_hold(snapshot: &Snapshot) -> Option<&LastOperation> {
    let status = snapshot.cluster.status.as_ref()?;
    let generation = snapshot.cluster.metadata.generation;
    status
        .last_operation
        .as_ref()
        .filter(|last| is_hold(last, generation))
}

/// The operation that holds a pool back by itself.
pub(super) fn pool_hold(pool: &AgentPool) -> Option<&LastOperation> {
    let status = pool.status.as_ref()?;
    status
        .last_operation
        .as_ref()
        .filter(|last| is_hold(last, pool.metadata.generation))
}

/// Whether what the cluster's operation left begun on the pool is on hold with the cluster: a change of
/// version is about the pools that follow the cluster, any other change about all of them.
pub(super) fn cluster_hold_covers(hold: &LastOperation, pool: &AgentPool) -> bool {
    need::follows(pool) || !matches!(hold.type_, OperationType::Upgrade)
}

/// Whether the pool was left with nodes of an older version by a rollback of its cluster that was canceled
/// while nodes rolled back: then it converges to what the control plane runs (as EKS does it after
/// `CancelUpdate`).
pub(super) fn is_rolled_back_halfway(snapshot: &Snapshot, pool: &AgentPool) -> bool {
    let canceled = cluster_hold(snapshot).is_some_and(|hold| {
        hold.type_ == OperationType::Rollback && hold.phase == OperationPhase::Canceled
    });
    canceled && need::has_outdated_nodes(snapshot, pool)
}
