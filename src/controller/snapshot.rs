//! Builds the snapshot of one cluster from the stores.

use std::sync::Arc;

use kube::{
    ResourceExt as _,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{
    api::{AgentPool, CLUSTER_LABEL, ManagedCluster, Operation, TargetKind},
    lifecycle::Snapshot,
    machinery::watches::Readiness,
};

use super::{Context, ReconcileError};

/// The stores of Belay's own kinds.
#[derive(Clone)]
pub struct Stores {
    /// All clusters.
    pub clusters: Store<ManagedCluster>,
    /// All pools.
    pub pools: Store<AgentPool>,
    /// All Operations.
    pub operations: Store<Operation>,
    /// Whether the first look at each is complete.
    pub ready: [Readiness; 3],
}

impl Stores {
    /// Whether the first look at each kind is complete now.
    pub fn are_ready(&self) -> bool {
        self.ready.iter().all(Readiness::is_ready)
    }

    /// Waits until the first look at each kind is complete.
    pub async fn ready(&self) {
        for readiness in &self.ready {
            readiness.ready().await;
        }
    }

    /// The cluster that an Operation is about, as far as it can be told.
    pub fn cluster_of(&self, operation: &Operation) -> Option<ObjectRef<ManagedCluster>> {
        let namespace = operation.namespace()?;
        let target = &operation.spec.target;
        let name = match target.kind {
            TargetKind::ManagedCluster => Some(target.name.clone()),
            TargetKind::AgentPool => {
                let pool = self
                    .pools
                    .get(&ObjectRef::new(&target.name).within(&namespace));
                pool.map(|pool| pool.spec.cluster_name.clone())
                    .or_else(|| operation.labels().get(CLUSTER_LABEL).cloned())
            }
        };
        Some(ObjectRef::new(&name?).within(&namespace))
    }
}

/// The cluster that a pool names.
pub fn cluster_of_pool(pool: &AgentPool) -> ObjectRef<ManagedCluster> {
    ObjectRef::new(&pool.spec.cluster_name).within(&pool.namespace().unwrap_or_default())
}

/// All that belongs to a cluster now.
///
/// # Errors
/// [`ReconcileError::Stale`] where a store lags behind what was written; [`ReconcileError::NotReady`]
/// where the provider has yet to look.
pub fn build(cluster: &Arc<ManagedCluster>, context: &Context) -> Result<Snapshot, ReconcileError> {
    let key = ObjectRef::from_obj(cluster.as_ref());
    let stores = &context.stores;
    // The store may have a newer one than the controller was woken with.
    let cluster = stores.clusters.get(&key).unwrap_or_else(|| cluster.clone());
    let pools = stores
        .pools
        .state_filter(|pool| cluster_of_pool(pool) == key);
    let operations = stores
        .operations
        .state_filter(|op| stores.cluster_of(op).as_ref() == Some(&key));
    let seen = &context.seen;
    let is_fresh = seen.is_fresh(cluster.as_ref())
        & pools.iter().all(|pool| seen.is_fresh(pool.as_ref()))
        & operations
            .iter()
            .all(|operation| seen.is_fresh(operation.as_ref()));
    if !is_fresh {
        return Err(ReconcileError::Stale);
    }
    let provider = context
        .providers
        .of(&cluster.spec.provider)
        .ok_or(ReconcileError::NoProvider)?;
    let observed = provider.observe(&cluster).ok_or(ReconcileError::NotReady)?;
    let refused_specs = context.specs.refused(operations.iter().map(AsRef::as_ref));
    Ok(Snapshot {
        work: context.workers.of(&key),
        refused_specs,
        gone: context.gone.all(),
        namespace_is_terminating: cluster
            .uid()
            .is_some_and(|uid| context.terminating.contains(&uid)),
        ..Snapshot::new(cluster, pools, operations, observed)
    })
}
