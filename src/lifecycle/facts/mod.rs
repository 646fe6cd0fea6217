//! The facts of a snapshot, as the rules need them: of each target what is asked and what is there, of each
//! Operation where it came from and when. This is the only place that digs in the optional fields of API
//! objects.

mod abort;
mod asked;
mod coverage;
mod hold;
mod operation;
mod target;

use jiff::Timestamp;

use crate::api::{ConcurrencyPolicy, KubernetesVersion, OperationTarget, TargetKind};

use super::snapshot::Snapshot;

pub use abort::{AbortRequest, deletion_in_the_way, is_deletion, observed_abort, was_decided};
pub use coverage::{Coverage, coverage};
pub use hold::held_back;
pub use operation::{Arrival, Operation, Origin, PlanState};
pub use target::{Pool, Target};

/// All facts of one cluster at one moment.
pub struct Facts<'a> {
    /// What they are taken from.
    pub snapshot: &'a Snapshot,
    /// The time, in whole seconds.
    pub now: Timestamp,
    /// The cluster.
    pub cluster: Target<'a>,
    /// Its pools, by name.
    pub pools: Vec<Target<'a>>,
    /// The Operations on it and on its pools, in the order in which they arrived.
    pub operations: Vec<Operation<'a>>,
}

impl<'a> Facts<'a> {
    /// The facts of a snapshot.
    pub fn of(snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let cluster = Target::of_cluster(snapshot);
        let pools = target::of_pools(snapshot);
        let mut operations: Vec<_> = snapshot
            .operations
            .iter()
            .map(|object| Operation::of(snapshot, object))
            .collect();
        operations.sort_by(|a, b| a.arrival.cmp(&b.arrival));
        Self {
            snapshot,
            now,
            cluster,
            pools,
            operations,
        }
    }

    /// The cluster or the pool of that kind and name.
    pub fn target(&self, target: &OperationTarget) -> Option<&Target<'a>> {
        match target.kind {
            TargetKind::ManagedCluster => {
                (self.cluster.key.name == target.name).then_some(&self.cluster)
            }
            TargetKind::AgentPool => self.pool(&target.name),
        }
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Target<'a>> {
        self.pools.iter().find(|pool| pool.key.name == name)
    }

    /// The cluster, then its pools.
    pub fn targets(&self) -> impl Iterator<Item = &Target<'a>> {
        std::iter::once(&self.cluster).chain(&self.pools)
    }

    /// The Operation of that uid.
    pub fn operation(&self, uid: &str) -> Option<&Operation<'a>> {
        self.operations
            .iter()
            .find(|operation| operation.uid == uid)
    }

    /// The Operations that haven't ended, in the order in which they arrived.
    pub fn unfinished(&self) -> impl Iterator<Item = &Operation<'a>> {
        self.operations
            .iter()
            .filter(|operation| !operation.phase().is_finished())
    }

    /// The Operations that haven't ended and don't hold the lock, in the order in which they arrived.
    pub fn waiting(&self) -> impl Iterator<Item = &Operation<'a>> {
        self.unfinished().filter(|operation| !operation.holds_lock)
    }

    /// What the control plane runs.
    pub fn control_plane(&self) -> Option<KubernetesVersion> {
        self.snapshot.control_plane()
    }

    /// What a change meets while an operation is in flight.
    pub fn policy(&self) -> ConcurrencyPolicy {
        self.snapshot.cluster.spec.concurrency_policy
    }
}
