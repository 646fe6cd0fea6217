//! Builds the snapshot of one cluster from the stores.

use std::sync::Arc;

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{api::ManagedCluster, lifecycle::Snapshot};

use super::{Context, ReconcileError};

/// Returns everything that belongs to a cluster now, and whether a write to any of it isn't answered yet.
///
/// # Errors
/// [`ReconcileError::Stale`] if a store lags behind what was written; [`ReconcileError::NotReady`] if the provider
/// hasn't looked yet.
pub fn build(
    cluster: &Arc<ManagedCluster>,
    context: &Context,
) -> Result<(Snapshot, bool), ReconcileError> {
    let key = ObjectRef::from_obj(cluster.as_ref());
    let stores = &context.stores;
    // The store may have a newer version than the one that woke the controller.
    let cluster = stores.cluster(&key).unwrap_or_else(|| cluster.clone());
    let pools = stores.pools_of(&key);
    let operations = stores.operations_of(&key);
    let uids = pools.iter().filter_map(|pool| pool.uid());
    let uids = uids.chain(operations.iter().filter_map(|operation| operation.uid()));
    let uids: Vec<_> = uids.chain(cluster.uid()).collect();
    // This is checked before the comparison with what was written: a write that is answered in between shows there.
    let is_about_to_change = uids.iter().any(|uid| context.writing.is_on_its_way(uid));
    let seen = &context.seen;
    let is_fresh = seen.is_fresh(cluster.as_ref())
        & pools.iter().all(|pool| seen.is_fresh(pool.as_ref()))
        & operations
            .iter()
            .all(|operation| seen.is_fresh(operation.as_ref()))
        & context.created.are_among(&key, &operations);
    if !is_fresh {
        return Err(ReconcileError::Stale);
    }
    let provider = context
        .providers
        .of(&cluster.spec.provider)
        .ok_or(ReconcileError::NoProvider)?;
    let observed = provider.observe(&cluster).ok_or(ReconcileError::NotReady)?;
    let refused_specs = context.specs.refused(operations.iter().map(AsRef::as_ref));
    let snapshot = Snapshot {
        work: context.workers.of(&key),
        refused_specs,
        refused_writes: context.refusals.of(uids.into_iter()),
        has_unreadable_pools: stores
            .pools
            .has_unreadable(key.namespace.as_deref().unwrap_or_default()),
        gone: context.gone.all(),
        namespace_is_terminating: cluster
            .uid()
            .is_some_and(|uid| context.terminating.contains(&uid)),
        ..Snapshot::new(cluster, pools, operations, observed, provider.rules())
    };
    Ok((snapshot, is_about_to_change))
}
