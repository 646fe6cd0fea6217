//! Which objects get Belay's finalizer until their work has ended, and when it is removed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use crate::api::{
    AgentPoolStatus, BEING_DELETED_LABEL, ConcurrencyPolicy, OperationInFlight, OperationType,
    SCALE_REFUSED_LABEL, TargetKind, is_kept,
};

use super::{
    action::Action,
    facts::{Facts, Target},
    orphaned_deletion,
    snapshot::ObjectId,
    transition::Transition,
};

fn is_going(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

/// Adds the finalizer to the cluster and its pools before anything is done to them, and makes the cluster the owner of
/// its pools.
pub fn keep(facts: &Facts<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let cluster = &facts.cluster;
    if !is_kept(cluster.metadata) && cluster.deleted.is_none() {
        actions.push(Action::AddFinalizer(ObjectId::Cluster));
    }
    for pool in facts.pools.iter().filter(|pool| pool.deleted.is_none()) {
        if !is_kept(pool.metadata) {
            actions.push(Action::AddFinalizer(ObjectId::Pool(pool.key.name.clone())));
            continue;
        }
        let owners = pool.metadata.owner_references.iter().flatten();
        let is_owned = owners.into_iter().any(|owner| owner.uid == cluster.uid);
        if !is_owned {
            actions.push(Action::AdoptPool(pool.key.name.clone()));
        }
    }
    actions
}

/// Adds the finalizer to Operations that will run, before they begin.
pub fn keep_operations(transitions: &[Transition<'_, '_>]) -> Vec<Action> {
    let unkept = transitions.iter().filter(|transition| {
        let metadata = &transition.operation.object.metadata;
        !is_kept(metadata) && !is_going(metadata) && !transition.status.phase.is_finished()
    });
    unkept
        .map(|transition| {
            let name = transition.operation.name.to_owned();
            Action::AddFinalizer(ObjectId::Operation(name))
        })
        .collect()
}

/// Removes the finalizer from Operations that ended and are recorded on their targets, and from deleted targets.
pub fn release(facts: &Facts<'_>, transitions: &[Transition<'_, '_>]) -> Vec<Action> {
    let mut actions = Vec::new();
    for operation in &facts.operations {
        let mut all = transitions.iter();
        let next = all.find(|transition| transition.operation.uid == operation.uid);
        let phase = next.map_or(operation.phase(), |transition| transition.status.phase);
        let is_over = phase.is_finished() && !operation.holds_lock;
        if is_kept(&operation.object.metadata) && is_over {
            let id = ObjectId::Operation(operation.name.to_owned());
            actions.push(Action::RemoveFinalizer(id));
        }
    }
    let cluster = &facts.cluster;
    let is_emptied = cluster.is_gone() || orphaned_deletion::is_done(facts);
    let cluster_is_deleted =
        cluster.deleted.is_some() && is_emptied && facts.snapshot.lock().is_empty();
    for pool in &facts.pools {
        let name = || pool.key.name.clone();
        if cluster_is_deleted && pool.deleted.is_none() {
            actions.push(Action::DeletePool(name()));
        }
        let may_go = cluster_is_deleted || pool_is_deleted(pool, facts.snapshot.lock());
        if is_kept(pool.metadata) && pool.deleted.is_some() && may_go {
            actions.push(Action::RemoveFinalizer(ObjectId::Pool(name())));
        }
    }
    let has_none_left = facts.pools.is_empty() && !facts.snapshot.has_unreadable_pools;
    if cluster_is_deleted && has_none_left && is_kept(cluster.metadata) {
        actions.push(Action::RemoveFinalizer(ObjectId::Cluster));
    }
    actions
}

fn pool_is_deleted(pool: &Target<'_>, lock: &[OperationInFlight]) -> bool {
    let is_held = lock
        .iter()
        .any(|held| held.target.kind == TargetKind::ManagedCluster || held.target == pool.key);
    pool.is_gone() && !is_held
}

/// Labels a cluster that is being deleted, and each pool whose status refuses a scale or makes a scale abort an
/// operation. The labels only help to find the objects; the objects' fields, which are written first, decide.
pub fn label(facts: &Facts<'_>) -> Vec<Action> {
    let cluster = facts.cluster.metadata;
    let of_cluster = label_of(
        ObjectId::Cluster,
        cluster,
        BEING_DELETED_LABEL,
        is_going(cluster),
    );
    let pools = facts.snapshot.pools.iter();
    let of_pools = pools.filter_map(|pool| {
        let is_refused = pool.status.as_ref().is_some_and(refuses_scale);
        let id = ObjectId::Pool(pool.name_any());
        label_of(id, &pool.metadata, SCALE_REFUSED_LABEL, is_refused)
    });
    of_cluster.into_iter().chain(of_pools).collect()
}

fn label_of(id: ObjectId, metadata: &ObjectMeta, label: &'static str, has: bool) -> Option<Action> {
    let labels = metadata.labels.as_ref();
    let had = labels.is_some_and(|labels| labels.contains_key(label));
    (has != had).then_some(Action::Label { id, label, has })
}

/// Whether a scale of a pool is refused, or aborts an operation, which is refused to users who may not abort.
fn refuses_scale(status: &AgentPoolStatus) -> bool {
    let cluster = status.cluster.as_ref();
    let replaces =
        cluster.is_some_and(|cluster| cluster.concurrency_policy == ConcurrencyPolicy::Replace);
    let is_busy =
        cluster.is_some_and(|cluster| cluster.operation.is_some()) || status.operation.is_some();
    let goes = status
        .operation
        .as_ref()
        .is_some_and(|operation| operation.type_ == OperationType::Delete);
    status.scale_refusal.is_some() || (replaces && is_busy && !goes)
}

/// Whether the finalizer may be removed from a pool whose cluster doesn't exist: nobody could do its work any more.
pub fn owned_by_nothing(metadata: &ObjectMeta) -> bool {
    is_kept(metadata) && is_going(metadata)
}
