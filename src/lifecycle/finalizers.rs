//! Who is kept until its work has ended, and when it is let go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{AgentPool, FINALIZER, Operation, OperationStatus, TargetKind};

use super::{Action, ObjectId, Snapshot, need};

/// Whether an object is kept until its work has ended.
pub(super) fn is_kept(metadata: &ObjectMeta) -> bool {
    metadata
        .finalizers
        .as_ref()
        .is_some_and(|kept| kept.iter().any(|name| name == FINALIZER))
}

fn is_going(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

/// What is to be kept before anything is done to it: the cluster, its pools, and Operations that will run.
pub(super) fn keep(snapshot: &Snapshot) -> Vec<Action> {
    let mut actions = Vec::new();
    let cluster = &snapshot.cluster.metadata;
    if !is_kept(cluster) && !is_going(cluster) {
        actions.push(Action::AddFinalizer(ObjectId::Cluster));
    }
    for pool in snapshot
        .pools
        .iter()
        .map(|pool| &pool.metadata)
        .filter(|pool| !is_going(pool))
    {
        if !is_kept(pool) {
            actions.push(Action::AddFinalizer(ObjectId::Pool(name(pool))));
        }
        let owners = pool.owner_references.as_deref().unwrap_or_default();
        if !owners
            .iter()
            .any(|owner| Some(&owner.uid) == cluster.uid.as_ref())
        {
            actions.push(Action::AdoptPool(name(pool)));
        }
    }
    actions
}

/// Whether an Operation must be kept before it may begin.
pub(super) fn is_unkept(operation: &Operation) -> bool {
    !is_kept(&operation.metadata) && !is_going(&operation.metadata)
}

/// What is let go: Operations that ended and were noted, targets that were deleted.
pub(super) fn release(
    snapshot: &Snapshot,
    statuses: &dyn Fn(&Operation) -> OperationStatus,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let status = snapshot.cluster.status.clone().unwrap_or_default();
    let is_noted = |op: &Operation| {
        !status
            .operations
            .iter()
            .any(|held| Some(&held.name) == op.metadata.name.as_ref())
    };
    for operation in &snapshot.operations {
        let metadata = &operation.metadata;
        if is_kept(metadata) && statuses(operation).phase.is_finished() && is_noted(operation) {
            actions.push(Action::RemoveFinalizer(ObjectId::Operation(name(metadata))));
        }
    }
    let cluster_is_deleted = is_going(&snapshot.cluster.metadata)
        && need::is_gone(status.last_operation.as_ref())
        && status.operations.is_empty();
    for pool in &snapshot.pools {
        if cluster_is_deleted && !is_going(&pool.metadata) {
            actions.push(Action::DeletePool(name(&pool.metadata)));
        }
        if is_kept(&pool.metadata)
            && is_going(&pool.metadata)
            && (cluster_is_deleted || pool_is_deleted(pool, &status.operations))
        {
            actions.push(Action::RemoveFinalizer(ObjectId::Pool(name(
                &pool.metadata,
            ))));
        }
    }
    if cluster_is_deleted && snapshot.pools.is_empty() && is_kept(&snapshot.cluster.metadata) {
        actions.push(Action::RemoveFinalizer(ObjectId::Cluster));
    }
    actions
}

fn pool_is_deleted(pool: &AgentPool, lock: &[crate::api::OperationInFlight]) -> bool {
    let last = pool
        .status
        .as_ref()
        .and_then(|status| status.last_operation.as_ref());
    let is_held = lock.iter().any(|held| {
        held.target.kind == TargetKind::ManagedCluster
            || Some(&held.target.name) == pool.metadata.name.as_ref()
    });
    need::is_gone(last) && !is_held
}

/// Whether a pool may be let go whose cluster there isn't: nobody could do its work any more.
pub fn owned_by_nothing(metadata: &ObjectMeta) -> bool {
    is_kept(metadata) && is_going(metadata)
}
