//! The texts that people's scripts depend on. The texts of refusals follow the AKS page on `OperationNotAllowed`
//! errors (design.md, section 4).

pub mod force;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    ABORT_POLICY_ANNOTATION, Aspect, Hold, OPERATION_UID_LABEL, OperationInFlight, OperationPhase,
    OperationStatus, OperationTarget, OperationType, PowerState, ProvisioningState, TargetKind,
};

/// The code for something that isn't possible now.
pub const OPERATION_NOT_ALLOWED: &str = "OperationNotAllowed";
/// The code for something that is never possible.
pub const INVALID_PARAMETER: &str = "InvalidParameter";
/// The code for something that only somebody else may do.
pub const FORBIDDEN: &str = "Forbidden";

/// Who requests an abort that Belay makes by itself.
pub const BELAY: &str = "belay";
/// Why Belay aborts an operation when its maintenance window closes. It begins as the reason of each pause.
pub const WINDOW_CLOSED: &str = "paused: the maintenance window closed";

/// The code for something that couldn't be cleaned up when work stopped.
pub const LEFT_BEHIND: &str = "LeftBehind";

/// Why the abort of a rollback failed once the control plane goes back (EKS refuses it, too).
pub const ROLLBACK_HAS_BEGUN: &str =
    "the control plane's rollback has begun: it can no longer be aborted";

/// Why an abort failed: it came too late.
pub const ENDED_BEFORE_ABORT: &str = "the operation ended before the abort took effect";

/// Why an operation that waited isn't run: its target's spec now asks for something else.
pub const SPEC_CHANGED: &str = "replaced: the spec changed before this operation started";

/// Why a person's operation that waited isn't run: its target's spec was edited after the operation was created.
pub const SPEC_IS_NEWER: &str = "replaced: the spec was changed after this Operation was created";

/// Why an Operation that follows one of the engine's isn't run.
pub const NOT_AT_THE_ENGINE: &str =
    "the provider reports no such operation: it has ended, or it never started";

/// Returns why an operation that a newer one replaces isn't run.
pub fn replaced_by(newer: &str) -> String {
    format!("replaced by Operation {newer}: only the newest waiting change is kept")
}

/// Returns why the deletion of a pool isn't run while its cluster is being deleted.
pub fn goes_with_its_cluster(pool: &str, cluster: &str) -> String {
    format!("deletion was issued on '{cluster}', which also deletes '{pool}'")
}

/// Returns why a copy of an Operation isn't run.
pub fn is_a_copy(uid: &str) -> String {
    format!(
        "this is a copy of an Operation that Belay has already handled (label {OPERATION_UID_LABEL}={uid}), created by a person or a backup tool: Belay doesn't run it again. To run it, create it without that label"
    )
}

/// Returns why an abort request with an unknown policy isn't accepted.
pub fn unknown_abort_policy(written: &str) -> String {
    format!("annotation {ABORT_POLICY_ANNOTATION} is {written:?}: write Now or AfterStep")
}

/// Reasons of conditions and Events.
pub mod reason {
    /// The work of an operation began.
    pub const STARTED: &str = "OperationStarted";
    /// Something blocks an operation.
    pub const BLOCKED: &str = "OperationBlocked";
    /// Nothing blocks it any more.
    pub const UNBLOCKED: &str = "OperationUnblocked";
    /// An operation was aborted and is stopping.
    pub const CANCELING: &str = "OperationCanceling";
    /// A request to abort an operation was refused, and the operation goes on.
    pub const ABORT_REFUSED: &str = "OperationAbortRefused";
    /// A cluster keeps its last System pool, whatever that pool's spec says.
    pub const LAST_SYSTEM_POOL: &str = "LastSystemPool";
    /// A pool pins a newer version than its control plane runs.
    pub const NEWER_THAN_CONTROL_PLANE: &str = "NewerThanControlPlane";
    /// Somebody changed an object outside Belay, and it isn't as its spec says.
    pub const CHANGED_BY_OTHERS: &str = "ChangedByOthers";
    /// Something that belongs to the cluster can't be read.
    pub const UNREADABLE: &str = "Unreadable";
    /// Somebody refuses Belay's writes to an object.
    pub const WRITE_REFUSED: &str = "WriteRefused";
    /// An operation was aborted and has stopped.
    pub const CANCELED: &str = "OperationCanceled";
    /// An operation ended as planned.
    pub const SUCCEEDED: &str = "OperationSucceeded";
    /// An operation ended with an error.
    pub const FAILED: &str = "OperationFailed";
    /// An operation waits for its turn.
    pub const PENDING: &str = "OperationPending";
    /// A change waits for a maintenance window.
    pub const WAITS_FOR_WINDOW: &str = "WaitsForWindow";
    /// It can't be known when a maintenance window is open.
    pub const INVALID_WINDOW: &str = "InvalidMaintenanceWindow";
    /// An operation runs.
    pub const IN_PROGRESS: &str = "OperationInProgress";
}

/// The sentences of refusals, one for each reason. The API server returns them through the policies that are made
/// from them (`crate::admission`). Belay returns them if admission was too late or isn't installed.
pub mod refusal {
    use crate::lifecycle::template::Template;

    /// An operation on the cluster is in flight.
    pub const ANOTHER_OPERATION: Template = Template(
        "Operation is not allowed: Another operation ({operation}) is in progress, please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {operation} belay.dev/abort=<reason>",
    );
    /// An operation on the pool is in flight.
    pub const ANOTHER_AGENTPOOL_OPERATION: Template = Template(
        "Operation is not allowed: Another agentpool operation ({operation}) is in progress, please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {operation} belay.dev/abort=<reason>",
    );
    /// An operation on one of the cluster's pools is in flight.
    pub const ANOTHER_OPERATION_ON_POOL: Template = Template(
        "Managed Cluster operation is not allowed: Another operation ({operation}) is in progress on agent pool ({pool}), please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {operation} belay.dev/abort=<reason>",
    );
    /// The deletion of the object or of its cluster was requested.
    pub const DELETION_WAS_ISSUED: Template = Template(
        "Unable to perform '{state}' operation on '{name}' since deletion was issued on '{deleted}'. The only allowed operation is deletion once deletion has started. The delete operation started at '{since}'",
    );
    /// A start or a stop in a state that doesn't allow it.
    pub const WRONG_TIME: Template = Template(
        "{kind} is in Provisioning State({state}) and Power State({power}), {change} cannot be performed",
    );
    /// Follows [`WRONG_TIME`], if the time is known.
    pub const PREVIOUS_OPERATION: Template =
        Template(" The previous operation started at '{since}'");
    /// A stop of something that doesn't run.
    pub const NOT_RUNNING: Template =
        Template("{kind} is not currently running, stopping cannot be performed");
    /// Follows [`NOT_RUNNING`], if the time is known.
    pub const STOP_OPERATION: Template = Template("; The stop operation started at '{since}'");
    /// Follows a time in these messages, if the current time is known.
    pub const ELAPSED: Template = Template(" and elapsed time is: '{elapsed}' (RFC3339 format)");

    /// A change of how a Cluster API Cluster is created.
    pub const CREATION_IS_OVER: Template = Template(
        "spec.provider.clusterAPI.create says how Belay creates Cluster {cluster}, and is immutable: change the Cluster itself (kubectl edit cluster.cluster.x-k8s.io {cluster})",
    );

    /// A Create of something that exists.
    pub const EXISTS_ALREADY: Template =
        Template("{kind} {name} already exists: use type Reconcile to apply its spec");
    /// A change to the version that the target already has.
    pub const RUNS_ALREADY: Template = Template("{kind} {name} already runs {version}");
    /// A Scale to the number of nodes that the pool already has.
    pub const HAS_NODES_ALREADY: Template = Template("AgentPool {name} already has {count} nodes");
    /// An Upgrade to an older version.
    pub const RUNS_NEWER: Template = Template(
        "{kind} {name} runs {version}, which is newer than {wanted}: use type Rollback to change to it",
    );
    /// A Rollback to a newer version.
    pub const RUNS_OLDER: Template = Template(
        "{kind} {name} runs {version}, which is older than {wanted}: use type Upgrade to change to it",
    );
    /// More than one minor version up.
    pub const ONE_MINOR_UP: Template = Template(
        "a control plane can be upgraded only one minor version at a time: it runs {version}, so upgrade to a {next} version first",
    );
    /// More than one minor version down.
    pub const ONE_MINOR_BACK: Template = Template(
        "a control plane can be rolled back at most one minor version: it runs {version}, so {last} is the oldest possible version",
    );
    /// A pool newer than its control plane.
    pub const POOL_TOO_NEW: Template = Template(
        "AgentPool {name} can't be newer than its control plane, which runs {version}: upgrade the ManagedCluster first",
    );
    /// A pool too much older than its control plane.
    pub const POOL_TOO_OLD: Template = Template(
        "AgentPool {name} can't be more than three minor versions older than its control plane, which runs {version}",
    );
    /// A control plane that would leave a pool too far behind.
    pub const POOL_LEFT_BEHIND: Template = Template(
        "ManagedCluster {name} can't be upgraded to {version}: AgentPool {pool} runs {behind}, and a pool can't be more than three minor versions older than its control plane. Upgrade the pool first",
    );
    /// The removal of the last System pool.
    pub const LAST_SYSTEM_POOL: Template = Template(
        "AgentPool {name} is the last System pool of ManagedCluster {cluster}, which needs at least one: create another System pool first",
    );

    /// An abort of an operation that has ended.
    pub const HAS_ENDED: Template =
        Template("Operation {name} has ended ({phase}): there is nothing to abort");
    /// An abort on a target where nothing is in flight.
    pub const NOTHING_IN_FLIGHT: Template =
        Template("no operation is in flight on {kind} {name}: there is nothing to abort");
    /// An abort by a user who isn't allowed to abort.
    pub const MAY_NOT_ABORT: Template = Template(
        "User \"{user}\" cannot abort: this needs the verb update on {resource}/abort in API group belay.dev in the namespace \"{namespace}\"",
    );
    /// An annotation or a label that people must not set.
    pub const NOT_YOURS: Template = Template("only {whom} may set the {what}");
    /// A node that doesn't belong to Belay, or not to a namespace of this operator.
    pub const NOT_A_NODE_OF_BELAY: Template = Template(
        "User \"{user}\" runs Belay and cannot write node {node}: it may write only nodes with the labels belay.dev/cluster and belay.dev/namespace, may not change these labels, and needs the verb operate on managedclusters in the namespace that the label names",
    );
    /// A change that aborts an operation, by a user who isn't allowed to abort.
    pub const MAY_NOT_REPLACE: Template = Template(
        "User \"{user}\" cannot make this change: with concurrencyPolicy Replace it aborts Operation {operation}, which needs the verb update on operations/abort in API group belay.dev in the namespace \"{namespace}\"",
    );
    /// A reason for an abort that is too long.
    pub const REASON_TOO_LONG: Template =
        Template("annotation {annotation} has {size} characters: write a reason of at most {most}");
    /// An abort policy that doesn't exist.
    pub const NO_ABORT_POLICY: Template =
        Template("annotation {annotation} is \"{written}\": write Now or AfterStep");
    /// An Operation by a user who isn't allowed to make the same change in its target's spec.
    pub const MAY_NOT_CHANGE: Template = Template(
        "User \"{user}\" cannot create an Operation of type {type} on {kind} {name}: this needs the verb {verb} on {resource} in API group belay.dev in the namespace \"{namespace}\"",
    );
}

/// Returns the refusal of an operation on `target` while `held` is in flight.
pub fn another_operation(target: &OperationTarget, held: &OperationInFlight) -> String {
    let template = match (target.kind, held.target.kind) {
        (TargetKind::ManagedCluster, TargetKind::AgentPool) => refusal::ANOTHER_OPERATION_ON_POOL,
        (TargetKind::AgentPool, TargetKind::AgentPool) => refusal::ANOTHER_AGENTPOOL_OPERATION,
        (_, TargetKind::ManagedCluster) => refusal::ANOTHER_OPERATION,
    };
    template.fill(&[("operation", &held.name), ("pool", &held.target.name)])
}

/// Returns the refusal of everything except a deletion of `name`, while `deleted` (itself, or its cluster) is being
/// deleted. It contains the elapsed time if `now` is known.
pub fn deletion_was_issued(
    type_: OperationType,
    name: &str,
    deleted: &str,
    since: Timestamp,
    now: Option<Timestamp>,
) -> String {
    let state = format!("{:?}", type_.provisioning_state());
    let refusal = refusal::DELETION_WAS_ISSUED.fill(&[
        ("state", &state),
        ("name", &name),
        ("deleted", &deleted),
        ("since", &since),
    ]);
    let passed = now.map(|now| elapsed_text(&elapsed(now.duration_since(since))));
    refusal + &passed.unwrap_or_default()
}

/// Returns the refusal of a start or a stop (`is_start`) in a state that doesn't allow it.
pub fn wrong_time(
    kind: TargetKind,
    (state, power): (ProvisioningState, PowerState),
    is_start: bool,
    since: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let refusal = refusal::WRONG_TIME.fill(&[
        ("kind", &words(kind)),
        ("state", &format!("{state:?}")),
        ("power", &format!("{power:?}")),
        ("change", &if is_start { STARTING } else { STOPPING }),
    ]);
    let since = since.map(|since| {
        let previous = refusal::PREVIOUS_OPERATION.fill(&[("since", &since)]);
        previous + &elapsed_text(&elapsed(now.duration_since(since)))
    });
    refusal + &since.unwrap_or_default()
}

/// Returns the refusal of a stop of something that doesn't run.
pub fn not_running(kind: TargetKind, since: Option<Timestamp>, now: Timestamp) -> String {
    let refusal = refusal::NOT_RUNNING.fill(&[("kind", &words(kind))]);
    let since = since.map(|since| {
        let passed = now.duration_since(since);
        let days = passed.as_hours().max(0) / 24;
        let rest = elapsed(passed - SignedDuration::from_hours(days * 24));
        let stop = refusal::STOP_OPERATION.fill(&[("since", &since)]);
        stop + &elapsed_text(&format!("{days}{DAYS_AND}{rest}"))
    });
    refusal + &since.unwrap_or_default()
}

/// The word for a start in its refusal.
pub const STARTING: &str = "starting";
/// See [`STARTING`].
pub const STOPPING: &str = "stopping";
/// The text between the days and the hours of an elapsed time.
pub const DAYS_AND: &str = " days and ";

/// Returns the name of a kind in the refusals of a start or a stop.
pub fn words(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::ManagedCluster => "managed cluster",
        TargetKind::AgentPool => "agent pool",
    }
}

fn elapsed_text(elapsed: &str) -> String {
    refusal::ELAPSED.fill(&[("elapsed", &elapsed)])
}

/// Returns `hh:mm:ss`, with no upper limit for the hours.
fn elapsed(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Returns the message of a target on hold: which operation caused the hold, what is on hold, and how the hold ends.
pub fn on_hold(kind: TargetKind, hold: &Hold, held: &BTreeSet<Aspect>) -> String {
    let how = match hold.phase {
        OperationPhase::Failed => format!("failed ({})", hold.message),
        OperationPhase::Succeeded => "was started outside Belay".to_owned(),
        _ => "was canceled".to_owned(),
    };
    format!(
        "Operation {operation} {how}; {held} of this {kind:?} {be} on hold until the spec of {on:?} {name} asks for another value, or until someone creates an Operation of type Reconcile on it",
        operation = hold.operation.name,
        held = aspects(held),
        be = if held.len() == 1 { "is" } else { "are" },
        on = hold.target.kind,
        name = hold.target.name,
    )
}

/// Returns aspects in words: `Version, Count and Settings`.
pub fn aspects<'a>(of: impl IntoIterator<Item = &'a Aspect>) -> String {
    let mut words: Vec<_> = of.into_iter().map(|aspect| format!("{aspect:?}")).collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        return last;
    }
    format!("{} and {last}", words.join(", "))
}

/// Returns in one line why an Operation was canceled or failed. Empty for other phases.
pub fn end_text(status: &OperationStatus) -> String {
    match status.phase {
        OperationPhase::Failed => status.error.as_ref().map_or_else(
            || "failed".to_owned(),
            |error| format!("{}: {}", error.code, error.message),
        ),
        OperationPhase::Canceled => {
            let cancellation = status.cancellation.as_ref();
            match cancellation.map_or("", |cancellation| &cancellation.reason) {
                "" => "canceled".to_owned(),
                reason => format!("canceled: {reason}"),
            }
        }
        OperationPhase::Pending
        | OperationPhase::InProgress
        | OperationPhase::Canceling
        | OperationPhase::Succeeded => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::OperationPhase;

    fn held(kind: TargetKind, name: &str) -> OperationInFlight {
        OperationInFlight {
            name: "op1".into(),
            uid: "uid-1".into(),
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
    fn a_refused_start_or_stop_shows_the_state_and_its_time() {
        let since: Timestamp = "2026-02-13T15:01:15Z".parse().expect("a time");
        let now: Timestamp = "2026-02-20T16:17:52Z".parse().expect("a time");
        assert_eq!(
            not_running(TargetKind::ManagedCluster, Some(since), now),
            "managed cluster is not currently running, stopping cannot be performed; The stop operation started at '2026-02-13T15:01:15Z' and elapsed time is: '7 days and 01:16:37' (RFC3339 format)"
        );
        let (state, power) = (ProvisioningState::Starting, PowerState::Running);
        assert_eq!(
            wrong_time(
                TargetKind::ManagedCluster,
                (state, power),
                true,
                Some(since),
                since
            ),
            "managed cluster is in Provisioning State(Starting) and Power State(Running), starting cannot be performed The previous operation started at '2026-02-13T15:01:15Z' and elapsed time is: '00:00:00' (RFC3339 format)"
        );
    }

    #[test]
    fn a_change_during_a_deletion_is_refused_with_the_time_of_the_deletion() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let now: Timestamp = "2026-01-02T01:02:03Z".parse().expect("a time");
        assert_eq!(
            deletion_was_issued(OperationType::Scale, "np1", "np1", since, Some(now)),
            "Unable to perform 'Scaling' operation on 'np1' since deletion was issued on 'np1'. The only allowed operation is deletion once deletion has started. The delete operation started at '2026-01-01T00:00:00Z' and elapsed time is: '25:02:03' (RFC3339 format)"
        );
    }
}
