//! The facts of a snapshot, as the rules need them: the desired and the observed state of each target, and the origin
//! and arrival of each Operation. Only this module reads the optional fields of API objects.

mod abort;
mod asked;
mod coverage;
mod force;
mod hold;
mod operation;
mod target;
mod timeout;
mod window;

use jiff::Timestamp;

use crate::api::{ConcurrencyPolicy, KubernetesVersion, OperationTarget, TargetKind};

use super::{snapshot::Snapshot, windows::Windows};

pub use abort::{AbortRequest, deletion_in_the_way, is_deletion, observed_abort, was_decided};
pub use coverage::{Coverage, coverage};
pub use force::{ForceRequest, forced_until};
pub use hold::held_back;
pub use operation::{Arrival, Operation, Origin, PlanState};
pub use target::{Pool, Target};
pub use window::{is_by_window, needs_window};

/// All facts about one cluster at one moment.
pub struct Facts<'a> {
    /// The snapshot that they come from.
    pub snapshot: &'a Snapshot,
    /// The time, in whole seconds.
    pub now: Timestamp,
    /// The cluster.
    pub cluster: Target<'a>,
    /// Its pools, by name.
    pub pools: Vec<Target<'a>>,
    /// The Operations on it and on its pools, in the order in which they arrived.
    pub operations: Vec<Operation<'a>>,
    /// Whether a maintenance window is open.
    pub windows: Windows,
}

impl<'a> Facts<'a> {
    /// Returns the facts of a snapshot.
    pub fn of(snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let windows = Windows::at(&snapshot.cluster.spec.maintenance_windows, now);
        let cluster = Target::of_cluster(snapshot, &windows);
        let pools = target::of_pools(snapshot, &windows);
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
            windows,
        }
    }

    /// Returns the cluster or the pool of that kind and name.
    pub fn target(&self, target: &OperationTarget) -> Option<&Target<'a>> {
        match target.kind {
            TargetKind::ManagedCluster => {
                (self.cluster.key.name == target.name).then_some(&self.cluster)
            }
            TargetKind::AgentPool => self.pool(&target.name),
        }
    }

    /// Returns the pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Target<'a>> {
        self.pools.iter().find(|pool| pool.key.name == name)
    }

    /// Iterates over the cluster, then its pools.
    pub fn targets(&self) -> impl Iterator<Item = &Target<'a>> {
        std::iter::once(&self.cluster).chain(&self.pools)
    }

    /// Returns the Operation with that uid.
    pub fn operation(&self, uid: &str) -> Option<&Operation<'a>> {
        self.operations
            .iter()
            .find(|operation| operation.uid == uid)
    }

    /// Iterates over the Operations that haven't ended, in the order in which they arrived.
    pub fn unfinished(&self) -> impl Iterator<Item = &Operation<'a>> {
        self.operations
            .iter()
            .filter(|operation| !operation.phase().is_finished())
    }

    /// Iterates over the Operations that haven't ended and don't hold the lock, in the order in which they arrived. Those
    /// that wait for a maintenance window aren't among them: nothing waits for them.
    pub fn waiting(&self) -> impl Iterator<Item = &Operation<'a>> {
        self.unfinished()
            .filter(|operation| !operation.holds_lock && !operation.waits_for_window(self))
    }

    /// Returns the version of the control plane. None if the cluster has no control plane.
    pub fn control_plane(&self) -> Option<KubernetesVersion> {
        self.snapshot.control_plane()
    }

    /// Returns the policy for a change that comes while an operation is in flight.
    pub fn policy(&self) -> ConcurrencyPolicy {
        self.snapshot.cluster.spec.concurrency_policy
    }
}
