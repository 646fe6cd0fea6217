//! The words that people script against. Those of a refusal follow the AKS page on `OperationNotAllowed`
//! errors (design.md, section 4).

use jiff::{SignedDuration, Timestamp};

use crate::api::{OperationInFlight, OperationTarget, PowerState, ProvisioningState, TargetKind};

/// The code and reason of every refusal.
pub const OPERATION_NOT_ALLOWED: &str = "OperationNotAllowed";

/// Why an abort of a rollback failed, once the control plane goes back (as EKS refuses it).
pub const ROLLBACK_HAS_BEGUN: &str =
    "the control plane's rollback has begun: it can't be aborted any more";

/// Why an abort failed that came too late.
pub const ENDED_BEFORE_ABORT: &str = "the operation ended before the abort took hold";

/// Reasons of conditions and Events.
pub mod reason {
    /// The work of an operation began.
    pub const STARTED: &str = "OperationStarted";
    /// Something stands in an operation's way.
    pub const BLOCKED: &str = "OperationBlocked";
    /// Nothing stands in its way any more.
    pub const UNBLOCKED: &str = "OperationUnblocked";
    /// An operation was aborted and is coming to a stop.
    pub const CANCELING: &str = "OperationCanceling";
    /// An operation was aborted and has stopped.
    pub const CANCELED: &str = "OperationCanceled";
    /// An operation ended as planned.
    pub const SUCCEEDED: &str = "OperationSucceeded";
    /// An operation ended by an error.
    pub const FAILED: &str = "OperationFailed";
    /// An operation waits for its turn.
    pub const PENDING: &str = "OperationPending";
    /// An operation runs.
    pub const IN_PROGRESS: &str = "OperationInProgress";
}

/// The refusal of an operation on `target` while `held` is in flight.
pub fn another_operation(target: &OperationTarget, held: &OperationInFlight) -> String {
    let name = &held.name;
    let wait = "please wait for it to finish before starting a new operation";
    let refusal = match (target.kind, held.target.kind) {
        (TargetKind::ManagedCluster, TargetKind::AgentPool) => format!(
            "Managed Cluster operation is not allowed: Another operation ({name}) is in progress on agent pool ({}), {wait}",
            held.target.name
        ),
        (TargetKind::AgentPool, TargetKind::AgentPool) => format!(
            "Operation is not allowed: Another agentpool operation ({name}) is in progress, {wait}"
        ),
        (_, TargetKind::ManagedCluster) => {
            format!("Operation is not allowed: Another operation ({name}) is in progress, {wait}")
        }
    };
    format!("{refusal}, or abort it: kubectl annotate operation {name} belay.dev/abort=<reason>")
}

/// The refusal of anything but a deletion on what is being deleted.
pub fn deletion_was_issued(
    state: ProvisioningState,
    name: &str,
    since: Timestamp,
    now: Timestamp,
) -> String {
    format!(
        "Unable to perform '{state:?}' operation on '{name}' since deletion was issued on '{name}'. The only allowed operation is deletion once deletion has started. The delete operation started at '{since}' and elapsed time is: '{}' (RFC3339 format)",
        elapsed(now.duration_since(since))
    )
}

/// The refusal of a start of what isn't stopped.
pub fn cannot_start(
    kind: TargetKind,
    state: ProvisioningState,
    power: PowerState,
    since: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let refusal = format!(
        "{} is in Provisioning State({state:?}) and Power State({power:?}), starting cannot be performed",
        words(kind)
    );
    since.map_or(refusal.clone(), |since| {
        format!(
            "{refusal} The previous operation started at '{since}' and elapsed time is: '{}' (RFC3339 format)",
            elapsed(now.duration_since(since))
        )
    })
}

/// The refusal of a stop of what doesn't run.
pub fn not_running(kind: TargetKind, since: Option<Timestamp>, now: Timestamp) -> String {
    let refusal = format!(
        "{} is not currently running, stopping cannot be performed",
        words(kind)
    );
    since.map_or(refusal.clone(), |since| {
        let passed = now.duration_since(since);
        let days = passed.as_hours().max(0) / 24;
        format!(
            "{refusal}; The stop operation started at '{since}' and elapsed time is: '{days} days and {}' (RFC3339 format)",
            elapsed(passed - SignedDuration::from_hours(days * 24))
        )
    })
}

fn words(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::ManagedCluster => "managed cluster",
        TargetKind::AgentPool => "agent pool",
    }
}

/// `hh:mm:ss`, hours without a bound.
fn elapsed(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// What a target that is left alone tells, after its operation was canceled or failed.
pub fn on_hold(
    kind: TargetKind,
    operation: &str,
    how: &str,
    its_target: &OperationTarget,
) -> String {
    format!(
        "Operation {operation} {how}; this {kind:?} is left alone until the spec of {on:?} {name} changes, or an Operation of type Reconcile on it asks for the rest",
        on = its_target.kind,
        name = its_target.name,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{OperationPhase, OperationType};

    fn held(kind: TargetKind, name: &str) -> OperationInFlight {
        OperationInFlight {
            name: "op1".into(),
            type_: OperationType::Upgrade,
            target: OperationTarget {
                kind,
                name: name.into(),
            },
            phase: OperationPhase::InProgress,
            percent_complete: 0,
            start_time: None,
            target_generation: 1,
        }
    }

    #[test]
    fn a_refusal_names_the_operation_in_flight_and_how_to_abort_it() {
        use TargetKind::{AgentPool, ManagedCluster};
        let abort = ", or abort it: kubectl annotate operation op1 belay.dev/abort=<reason>";
        for (on, in_flight, expected) in [
            (
                ManagedCluster,
                held(ManagedCluster, "demo"),
                "Operation is not allowed: Another operation (op1) is in progress, please wait for it to finish before starting a new operation",
            ),
            (
                AgentPool,
                held(ManagedCluster, "demo"),
                "Operation is not allowed: Another operation (op1) is in progress, please wait for it to finish before starting a new operation",
            ),
            (
                AgentPool,
                held(AgentPool, "np1"),
                "Operation is not allowed: Another agentpool operation (op1) is in progress, please wait for it to finish before starting a new operation",
            ),
            (
                ManagedCluster,
                held(AgentPool, "np1"),
                "Managed Cluster operation is not allowed: Another operation (op1) is in progress on agent pool (np1), please wait for it to finish before starting a new operation",
            ),
        ] {
            let target = OperationTarget {
                kind: on,
                name: "np1".into(),
            };
            assert_eq!(
                another_operation(&target, &in_flight),
                format!("{expected}{abort}")
            );
        }
    }

    #[test]
    fn a_start_or_stop_at_the_wrong_time_tells_the_state_and_since_when() {
        let since: Timestamp = "2026-02-13T15:01:15Z".parse().expect("a time");
        let now: Timestamp = "2026-02-20T16:17:52Z".parse().expect("a time");
        assert_eq!(
            not_running(TargetKind::ManagedCluster, Some(since), now),
            "managed cluster is not currently running, stopping cannot be performed; The stop operation started at '2026-02-13T15:01:15Z' and elapsed time is: '7 days and 01:16:37' (RFC3339 format)"
        );
        let (state, power) = (ProvisioningState::Starting, PowerState::Running);
        assert_eq!(
            cannot_start(TargetKind::ManagedCluster, state, power, Some(since), since),
            "managed cluster is in Provisioning State(Starting) and Power State(Running), starting cannot be performed The previous operation started at '2026-02-13T15:01:15Z' and elapsed time is: '00:00:00' (RFC3339 format)"
        );
    }

    #[test]
    fn a_deletion_allows_only_deletion_and_tells_since_when() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let now: Timestamp = "2026-01-02T01:02:03Z".parse().expect("a time");
        assert_eq!(
            deletion_was_issued(ProvisioningState::Scaling, "np1", since, now),
            "Unable to perform 'Scaling' operation on 'np1' since deletion was issued on 'np1'. The only allowed operation is deletion once deletion has started. The delete operation started at '2026-01-01T00:00:00Z' and elapsed time is: '25:02:03' (RFC3339 format)"
        );
    }
}
