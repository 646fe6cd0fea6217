//! What Belay reports about clusters, pools and Operations: statuses, conditions and Events.

mod cluster;
mod conditions;
mod events;
mod pool;
mod power;
mod summary;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{Operation, OperationInFlight, OperationStatus, OperationTarget, TargetKind};

use super::{
    facts::{Facts, Target, observed_abort, was_decided},
    ledger::Ledger,
    transition::{self, Transition},
};

use conditions::Conditions;
pub use conditions::{of_operation, stalled};
pub use events::{Note, notes};
use summary::Summary;

/// The inputs for the statuses of the cluster and its pools.
pub struct Report<'f, 'a> {
    /// The facts.
    pub facts: &'f Facts<'a>,
    /// The transitions of the Operations that haven't ended, with their conditions.
    pub transitions: &'f [Transition<'f, 'a>],
    /// The lock, the last operations and the holds after this pass.
    pub ledger: &'f Ledger,
}

impl Report<'_, '_> {
    /// Returns the operation in flight on the whole cluster.
    fn held_by_cluster(&self) -> Option<&OperationInFlight> {
        let mut lock = self.ledger.lock.iter();
        lock.find(|held| held.target.kind == TargetKind::ManagedCluster)
    }

    /// Returns the new status of an Operation that hasn't ended.
    fn operation(&self, uid: &str) -> Option<&OperationStatus> {
        let mut transitions = self.transitions.iter();
        let found = transitions.find(|transition| transition.operation.uid == uid);
        found.map(|transition| &transition.status)
    }

    /// Sets the conditions of the cluster or of a pool.
    fn set_health(&self, all: &mut Vec<Condition>, generation: Option<i64>, summary: &Summary) {
        let mut conditions = Conditions::of(all, generation, self.facts.now);
        conditions.set_health(summary.health, &summary.reason, &summary.message);
        if let Some(trouble) = &self.facts.snapshot.observed.trouble {
            conditions.set_unknown(trouble);
        }
    }

    /// Whether the cluster can't be seen now and wasn't seen since the operator started.
    fn is_unseen(&self) -> bool {
        let trouble = self.facts.snapshot.observed.trouble.as_ref();
        trouble.is_some_and(|trouble| trouble.seen_at.is_none())
    }

    /// Returns what the target's status records of its abort annotation. A request counts as done once the operation
    /// in flight on exactly this target has decided on it, or if there is no such operation.
    fn observed_abort(&self, target: &Target<'_>) -> Option<String> {
        let asked = observed_abort(target.metadata);
        let mut on_target = self.transitions.iter().filter(|transition| {
            let operation = transition.operation;
            operation.spec.target == target.key && operation.is_in_flight_on(target, self.facts)
        });
        let waits = on_target.any(|transition| {
            let is_open = target.has_new_abort() && !transition.status.phase.is_finished();
            let is_canceling = transition.status.phase == crate::api::OperationPhase::Canceling;
            is_open
                && !is_canceling
                && !was_decided(target.metadata, transition.status.observed_abort.as_ref())
        });
        if waits {
            target.observed_abort.cloned()
        } else {
            asked
        }
    }
}

/// Returns the status, with conditions, of an Operation that misses an object: its target, or its target's cluster.
pub fn failed_without_target(
    operation: &Operation,
    missing: &OperationTarget,
    now: jiff::Timestamp,
) -> OperationStatus {
    let mut status = transition::failed_without_target(operation, missing, now);
    of_operation(&mut status, operation, "", now);
    status
}
