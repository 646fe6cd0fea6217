//! How long an operation may run. After that Belay aborts it as a person would: after the step in progress. If that step
//! takes longer than a drain may, the abort becomes one that stops at once.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    api::{AbortPolicy, CancellationStatus, OperationPhase, TargetKind},
    lifecycle::messages::BELAY,
};

use super::{AbortRequest, Facts, Operation};

/// How the reason of that abort begins.
const TIMED_OUT: &str = "timed out after ";

impl Operation<'_> {
    /// Returns the abort request of an operation that has been InProgress for too long.
    pub(super) fn by_timeout(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        let is_due = self.times_out_at(facts).is_some_and(|due| facts.now >= due);
        let request = AbortRequest {
            policy: AbortPolicy::AfterStep,
            requested_by: BELAY.to_owned(),
            requested_at: Some(facts.now),
            ..AbortRequest::now(reason(self.timeout(facts)?))
        };
        is_due.then_some(request)
    }

    /// Whether the step that an abort by a timeout lets finish takes too long as well.
    pub(super) fn has_timed_out_twice(&self, facts: &Facts<'_>) -> bool {
        self.hurries_at(facts).is_some_and(|due| facts.now >= due)
    }

    /// Returns when its timeout does something next, or its force ends. None if neither is due later.
    pub fn due_at(&self, facts: &Facts<'_>) -> Option<Timestamp> {
        let due = match self.phase() {
            OperationPhase::InProgress => self.times_out_at(facts),
            OperationPhase::Canceling => self.hurries_at(facts),
            _ => None,
        };
        let due = due.into_iter().chain(self.force_ends_at());
        due.filter(|due| *due > facts.now).min()
    }

    /// Returns how long it may be InProgress.
    fn timeout(&self, facts: &Facts<'_>) -> Option<Duration> {
        let of_cluster = facts.snapshot.cluster.spec.operation_timeout;
        self.spec.timeout.or(of_cluster).map(Into::into)
    }

    fn times_out_at(&self, facts: &Facts<'_>) -> Option<Timestamp> {
        let started = self.status.start_time.as_ref()?.0;
        let is_running = self.phase() == OperationPhase::InProgress;
        let timeout = self.timeout(facts).filter(|_| is_running)?;
        started.checked_add(timeout).ok()
    }

    /// Returns when the abort by its timeout stops what is in progress: one drain timeout after it was accepted.
    fn hurries_at(&self, facts: &Facts<'_>) -> Option<Timestamp> {
        let cancellation = self.status.cancellation.as_ref().filter(|it| {
            it.status == CancellationStatus::InProgress
                && it.policy == AbortPolicy::AfterStep
                && it.requested_by == BELAY
                && it.reason.starts_with(TIMED_OUT)
        })?;
        let accepted = cancellation.accepted_at.as_ref()?.0;
        accepted.checked_add(self.drain_timeout(facts)).ok()
    }

    /// Returns the longest time that the drain of one of its nodes may take.
    fn drain_timeout(&self, facts: &Facts<'_>) -> Duration {
        let target = &self.spec.target;
        let is_meant =
            |name: &str| target.kind == TargetKind::ManagedCluster || target.name == name;
        let pools = facts.pools.iter().filter(|pool| is_meant(&pool.key.name));
        let timeouts = pools
            .filter_map(|pool| pool.pool.as_ref())
            .map(|pool| pool.object.spec.upgrade_settings.drain_timeout.into());
        timeouts.max().unwrap_or_default()
    }
}

fn reason(timeout: Duration) -> String {
    let seconds = timeout.as_secs();
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = parts
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    format!("{TIMED_OUT}{}", parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_has_the_timeout_as_people_write_it() {
        for (seconds, text) in [
            (7200, "timed out after 2h"),
            (5400, "timed out after 1h30m"),
            (90, "timed out after 1m30s"),
        ] {
            assert_eq!(reason(Duration::from_secs(seconds)), text);
        }
    }
}
