//! Why what a person's Operation asks for can't be done, in words that say what to ask for instead. The
//! API server refuses the same at admission; here it ends the Operation Failed.

use std::fmt::Display;

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::{
    AgentPool, AgentPoolMode, KubernetesVersion, LastOperation, ManagedCluster, Operation,
    OperationError, OperationInFlight, OperationType, PowerState, ProvisioningState, TargetKind,
};

use super::{
    Snapshot, hold, job,
    messages::{self, refusal},
    need, phase,
};

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
        OperationType::Create if snapshot.control_plane().is_some() => Some(phase::not_allowed(
            refusal::EXISTS_ALREADY.fill(&[("kind", &"ManagedCluster"), ("name", &name)]),
        )),
        OperationType::Upgrade | OperationType::Rollback => {
            let Some(runs) = snapshot.control_plane() else {
                return Some(job::no_control_plane());
            };
            let wanted: KubernetesVersion = spec.kubernetes_version.as_deref()?.parse().ok()?;
            if wanted == runs && is_settled {
                return Some(runs_already("ManagedCluster", name, runs));
            }
            direction("ManagedCluster", name, spec.type_, runs, wanted)
                .or_else(|| one_minor_at_a_time(runs, wanted))
                .or_else(|| pool_left_behind(snapshot, name, wanted))
        }
        OperationType::Start | OperationType::Stop => {
            power(&TargetState::of(cluster), spec.type_, is_settled, now)
        }
        _ => None,
    }
}

/// Why a pool can't go while its cluster lives: it is the last System pool. Of those that are deleted at
/// once, before the API server could know, the one that was last stays.
pub(super) fn to_deletion(snapshot: &Snapshot, pool: &AgentPool) -> Option<String> {
    let cluster = &snapshot.cluster;
    let goes_after = |pool: &AgentPool| {
        let metadata = &pool.metadata;
        let deleted = metadata.deletion_timestamp.clone();
        (deleted.is_none(), deleted, metadata.name.clone())
    };
    let is_kept_by = |other: &AgentPool| {
        other.spec.mode == AgentPoolMode::System && goes_after(other) > goes_after(pool)
    };
    let is_last = pool.spec.mode == AgentPoolMode::System
        && cluster.metadata.deletion_timestamp.is_none()
        && !snapshot.pools.iter().any(|other| is_kept_by(other));
    is_last.then(|| {
        refusal::LAST_SYSTEM_POOL
            .fill(&[("name", &pool.name_any()), ("cluster", &cluster.name_any())])
    })
}

/// Why an Operation on a pool can't be done.
pub(super) fn to_pool(
    snapshot: &Snapshot,
    pool: &AgentPool,
    operation: &Operation,
    now: Timestamp,
) -> Option<OperationError> {
    if operation.spec.type_ == OperationType::Delete {
        return to_deletion(snapshot, pool).map(phase::not_allowed);
    }
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
        OperationType::Create if last.is_some() && is_settled => Some(phase::not_allowed(
            refusal::EXISTS_ALREADY.fill(&[("kind", &"AgentPool"), ("name", &name)]),
        )),
        OperationType::Upgrade | OperationType::Rollback => {
            let Some(control_plane) = snapshot.control_plane() else {
                return Some(job::no_control_plane());
            };
            let wanted: KubernetesVersion = spec.kubernetes_version.as_deref()?.parse().ok()?;
            let runs = need::newest_version(snapshot, pool).unwrap_or(wanted);
            if wanted == runs && is_settled {
                return Some(runs_already("AgentPool", name, runs));
            }
            direction("AgentPool", name, spec.type_, runs, wanted)
                .or_else(|| skew(name, control_plane, wanted))
        }
        OperationType::Scale
            if is_settled && need::desired_count(snapshot, pool) == count(spec.count) =>
        {
            Some(phase::not_allowed(
                refusal::HAS_NODES_ALREADY.fill(&[("name", &name), ("count", &count(spec.count))]),
            ))
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

fn runs_already(kind: &str, name: &str, version: KubernetesVersion) -> OperationError {
    let places: [(&str, &dyn Display); 3] =
        [("kind", &kind), ("name", &name), ("version", &version)];
    phase::not_allowed(refusal::RUNS_ALREADY.fill(&places))
}

fn direction(
    kind: &str,
    name: &str,
    type_: OperationType,
    runs: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    let template = match type_ {
        OperationType::Upgrade if wanted < runs => refusal::RUNS_NEWER,
        OperationType::Rollback if wanted > runs => refusal::RUNS_OLDER,
        _ => return None,
    };
    Some(invalid(template.fill(&[
        ("kind", &kind),
        ("name", &name),
        ("version", &runs),
        ("wanted", &wanted),
    ])))
}

/// Why a control plane can't go to that version.
pub(super) fn one_minor_at_a_time(
    runs: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    let (from, to) = (i64::from(runs.minor), i64::from(wanted.minor));
    let minor = |minor: u32| format!("{}.{minor}", runs.major);
    if runs.major != wanted.major || to - from > 1 {
        let next = minor(runs.minor + 1);
        return Some(invalid(
            refusal::ONE_MINOR_UP.fill(&[("version", &runs), ("next", &next)]),
        ));
    }
    (from - to > 1).then(|| {
        let last = minor(runs.minor.saturating_sub(1));
        invalid(refusal::ONE_MINOR_BACK.fill(&[("version", &runs), ("last", &last)]))
    })
}

fn skew(
    name: &str,
    control_plane: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    let template = if wanted > control_plane {
        refusal::POOL_TOO_NEW
    } else if is_too_old(control_plane, wanted) {
        refusal::POOL_TOO_OLD
    } else {
        return None;
    };
    Some(invalid(
        template.fill(&[("name", &name), ("version", &control_plane)]),
    ))
}

fn is_too_old(control_plane: KubernetesVersion, pool: KubernetesVersion) -> bool {
    control_plane.minor.saturating_sub(pool.minor) > OLDEST_POOL_MINORS
}

/// A pool whose own version is too old for a control plane of the wanted one.
fn pool_left_behind(
    snapshot: &Snapshot,
    name: &str,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    let own = |pool: &AgentPool| -> Option<KubernetesVersion> {
        pool.spec.kubernetes_version.as_deref()?.parse().ok()
    };
    let pools = snapshot.pools.iter();
    let behind = pools
        .filter(|pool| pool.metadata.deletion_timestamp.is_none())
        .find(|pool| own(pool).is_some_and(|own| is_too_old(wanted, own)))?;
    Some(invalid(
        refusal::POOL_LEFT_BEHIND.fill(&[
            ("name", &name),
            ("version", &wanted),
            ("pool", &behind.metadata.name.as_deref().unwrap_or_default()),
            (
                "behind",
                &behind
                    .spec
                    .kubernetes_version
                    .as_deref()
                    .unwrap_or_default(),
            ),
        ]),
    ))
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

    fn since(&self, type_: OperationType) -> Option<Timestamp> {
        let last = self.last.as_ref()?;
        // A stop's refusal tells of the stop before; where another operation came after it, of none.
        let is_told = type_ != OperationType::Stop || last.type_ == OperationType::Stop;
        let start = last.start_time.as_ref().filter(|_| is_told)?;
        Some(start.0)
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
    let since = state.since(type_);
    phase::not_allowed(if type_ == OperationType::Start {
        messages::wrong_time(state.kind, (state.state, state.power), true, since, now)
    } else {
        messages::not_running(state.kind, since, now)
    })
}

/// Why a start or a stop isn't done while `held` is in flight on its target.
pub(super) fn wrong_time(
    snapshot: &Snapshot,
    operation: &Operation,
    held: &OperationInFlight,
    now: Timestamp,
) -> Option<String> {
    let target = &operation.spec.target;
    let state = match target.kind {
        TargetKind::ManagedCluster => TargetState::of(&snapshot.cluster),
        TargetKind::AgentPool => TargetState::of_pool(snapshot.pool(&target.name)?),
    };
    Some(messages::wrong_time(
        target.kind,
        (state.state, state.power),
        operation.spec.type_ == OperationType::Start,
        held.start_time.as_ref().map(|time| time.0),
        now,
    ))
}

fn invalid(message: String) -> OperationError {
    OperationError {
        code: messages::INVALID_PARAMETER.into(),
        message,
        ..OperationError::default()
    }
}
