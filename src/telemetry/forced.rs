//! Pods that are deleted by force, taken from each status that is written.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

use crate::api::{Operation, OperationStatus};

/// Counts pods that are deleted by force.
#[derive(Clone)]
pub struct Forced(Counter);

impl Forced {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self(Counter::default());
        registry.register(
            "belay_forced_pod_deletions",
            "Pods that a PodDisruptionBudget protected, and that an Operation deleted by force",
            this.0.clone(),
        );
        this
    }

    /// Counts the pods that a written status has more than the status before.
    pub fn wrote(&self, operation: &Operation, after: &OperationStatus) {
        let count = |status: Option<&OperationStatus>| {
            let force = status.and_then(|status| status.force.as_ref());
            force.map_or(0, |force| force.pod_count)
        };
        let more = count(Some(after)).saturating_sub(count(operation.status.as_ref()));
        self.0.inc_by(u64::try_from(more).unwrap_or_default());
    }
}
