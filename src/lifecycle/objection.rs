//! Why what a person's Operation asks for can't be done, in words that say what to ask for instead. The
//! API server refuses the same at admission; here it ends the Operation Failed.

use jiff::Timestamp;

use crate::api::{
    AgentPool, KubernetesVersion, LastOperation, ManagedCluster, Operation, OperationError,
    OperationType, PowerState, ProvisioningState, TargetKind,
};

use super::{Snapshot, hold, job, messages, need, phase};

/// How many minor versions a pool may be behind its control plane (Kubernetes' version skew policy).
const OLDEST_POOL_MINORS: u32 = 3;

/// Why an Operation on the cluster can't be done.
pub(super) fn to_cluster(
    snapshot: &Snapshot,
    operation: &Operation,
    now: Timestamp,
) -> Option<OperationError> {
    let cluster = &snapshot.cluster;
    if cluster.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let spec = &operation.spec;
    let is_settled =
        hold::cluster_hold(snapshot).is_none() && need::cluster_need(snapshot).is_none();
    match spec.type_ {
        OperationType::Create if snapshot.control_plane().is_some() => Some(not_allowed(format!(
            "ManagedCluster {name} exists already: use type Reconcile to bring it to its spec"
        ))),
        OperationType::Upgrade | OperationType::Rollback => {
            let Some(runs) = snapshot.control_plane() else {
                return Some(job::no_control_plane());
            };
            let wanted: KubernetesVersion = spec.kubernetes_version.as_deref()?.parse().ok()?;
            if wanted == runs && is_settled {
                return Some(not_allowed(format!(
                    "ManagedCluster {name} runs {runs} already"
                )));
            }
            direction("ManagedCluster", name, spec.type_, runs, wanted)
                .or_else(|| one_minor_at_a_time(runs, wanted))
        }
        OperationType::Start | OperationType::Stop => {
            power(&TargetState::of(cluster), spec.type_, is_settled, now)
        }
        _ => None,
    }
}

/// Why an Operation on a pool can't be done.
pub(super) fn to_pool(
    snapshot: &Snapshot,
    pool: &AgentPool,
    operation: &Operation,
    now: Timestamp,
) -> Option<OperationError> {
    if pool.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let spec = &operation.spec;
    let is_settled = hold::pool_hold(pool).is_none() && need::pool_need(snapshot, pool).is_none();
    let last = pool
        .status
        .as_ref()
        .and_then(|status| status.last_operation.as_ref());
    match spec.type_ {
        OperationType::Create if last.is_some() && is_settled => Some(not_allowed(format!(
            "AgentPool {name} exists already: use type Reconcile to bring it to its spec"
        ))),
        OperationType::Upgrade | OperationType::Rollback => {
            let Some(control_plane) = snapshot.control_plane() else {
                return Some(job::no_control_plane());
            };
            let wanted: KubernetesVersion = spec.kubernetes_version.as_deref()?.parse().ok()?;
            let runs = need::newest_version(snapshot, pool).unwrap_or(wanted);
            if wanted == runs && is_settled {
                return Some(not_allowed(format!("AgentPool {name} runs {runs} already")));
            }
            direction("AgentPool", name, spec.type_, runs, wanted)
                .or_else(|| skew(name, control_plane, wanted))
        }
        OperationType::Scale
            if is_settled && need::desired_count(snapshot, pool) == count(spec.count) =>
        {
            Some(not_allowed(format!(
                "AgentPool {name} has {} nodes already",
                count(spec.count)
            )))
        }
        OperationType::Start | OperationType::Stop => {
            if !snapshot.is_running() {
                let state = TargetState::of(&snapshot.cluster);
                return Some(wrong_power(&state, spec.type_, now));
            }
            power(&TargetState::of_pool(pool), spec.type_, is_settled, now)
        }
        _ => None,
    }
}

fn count(count: Option<i32>) -> usize {
    usize::try_from(count.unwrap_or_default()).unwrap_or_default()
}

fn direction(
    kind: &str,
    name: &str,
    type_: OperationType,
    runs: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    match type_ {
        OperationType::Upgrade if wanted < runs => Some(invalid(format!(
            "{kind} {name} runs {runs}, which is newer than {wanted}: use type Rollback to go back"
        ))),
        OperationType::Rollback if wanted > runs => Some(invalid(format!(
            "{kind} {name} runs {runs}, which is older than {wanted}: use type Upgrade to go up"
        ))),
        _ => None,
    }
}

fn one_minor_at_a_time(
    runs: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    let (from, to) = (i64::from(runs.minor), i64::from(wanted.minor));
    if runs.major != wanted.major || to - from > 1 {
        return Some(invalid(format!(
            "a control plane goes up one minor version at a time: it runs {runs}, so upgrade to a {}.{} first",
            runs.major,
            runs.minor + 1
        )));
    }
    (from - to > 1).then(|| {
        invalid(format!(
            "a control plane goes back one minor version at most: it runs {runs}, so {}.{} is the oldest",
            runs.major,
            runs.minor.saturating_sub(1)
        ))
    })
}

fn skew(
    name: &str,
    control_plane: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    if wanted > control_plane {
        return Some(invalid(format!(
            "AgentPool {name} can't be newer than its control plane, which runs {control_plane}: upgrade the ManagedCluster first"
        )));
    }
    let too_old = control_plane.minor.saturating_sub(wanted.minor) > OLDEST_POOL_MINORS;
    too_old.then(|| {
        invalid(format!(
            "AgentPool {name} can't be more than three minor versions older than its control plane, which runs {control_plane}"
        ))
    })
}

/// What the vendors' refusals tell of a cluster or a pool.
struct TargetState {
    kind: TargetKind,
    state: ProvisioningState,
    power: PowerState,
    last: Option<LastOperation>,
}

impl TargetState {
    fn of(cluster: &ManagedCluster) -> Self {
        let status = cluster.status.clone().unwrap_or_default();
        Self {
            kind: TargetKind::ManagedCluster,
            state: status
                .provisioning_state
                .unwrap_or(ProvisioningState::Creating),
            power: status.power_state.unwrap_or_default().code,
            last: status.last_operation,
        }
    }

    fn of_pool(pool: &AgentPool) -> Self {
        let status = pool.status.clone().unwrap_or_default();
        Self {
            kind: TargetKind::AgentPool,
            state: status
                .provisioning_state
                .unwrap_or(ProvisioningState::Creating),
            power: need::pool_power(pool),
            last: status.last_operation,
        }
    }

    fn since(&self) -> Option<Timestamp> {
        let last = self.last.as_ref()?;
        last.start_time.as_ref().map(|time| time.0)
    }
}

/// A start of what runs, or a stop of what is stopped.
fn power(
    state: &TargetState,
    type_: OperationType,
    is_settled: bool,
    now: Timestamp,
) -> Option<OperationError> {
    let is_so = matches!(
        (type_, state.power),
        (OperationType::Start, PowerState::Running) | (OperationType::Stop, PowerState::Stopped)
    );
    (is_so && is_settled).then(|| wrong_power(state, type_, now))
}

fn wrong_power(state: &TargetState, type_: OperationType, now: Timestamp) -> OperationError {
    let since = state.since();
    not_allowed(if type_ == OperationType::Start {
        messages::cannot_start(state.kind, state.state, state.power, since, now)
    } else {
        messages::not_running(state.kind, since, now)
    })
}

fn invalid(message: String) -> OperationError {
    OperationError {
        code: "InvalidParameter".into(),
        message,
        ..OperationError::default()
    }
}

fn not_allowed(message: String) -> OperationError {
    phase::not_allowed(message)
}
