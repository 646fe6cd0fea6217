//! Which operation closes the difference between a spec and what is there: one for all that differs, of
//! the weightiest type. None, while the target is on hold.

use crate::api::{
    AgentPool, KubernetesVersion, LastOperation, OperationPhase, OperationSpec, OperationTarget,
    OperationType, PowerState, TargetKind,
};

use super::{
    NodeSettings, Snapshot,
    hold::{cluster_hold, cluster_hold_covers, is_rolled_back_halfway, pool_hold},
    objection,
};

/// Whether the pool follows its cluster's version.
pub(super) fn follows(pool: &AgentPool) -> bool {
    pool.spec.kubernetes_version.is_none()
}

/// What the pool's nodes are to run: its own version, or the control plane's; never a newer one than the control plane's.
pub(super) fn desired_version(snapshot: &Snapshot, pool: &AgentPool) -> Option<KubernetesVersion> {
    Some(version_under(snapshot.control_plane()?, pool))
}

/// What the pool's nodes are to run under a control plane of that version.
pub(super) fn version_under(
    control_plane: KubernetesVersion,
    pool: &AgentPool,
) -> KubernetesVersion {
    let own = pool.spec.kubernetes_version.as_deref();
    let own: Option<KubernetesVersion> = own.and_then(|version| version.parse().ok());
    own.map_or(control_plane, |own| own.min(control_plane))
}

/// How many nodes the pool is to have: none while it or its cluster is off.
pub(super) fn desired_count(snapshot: &Snapshot, pool: &AgentPool) -> usize {
    let runs = snapshot.is_running() && pool.spec.power_state == PowerState::Running;
    count_if(runs, pool)
}

/// The pool's count, or none.
pub(super) fn count_if(runs: bool, pool: &AgentPool) -> usize {
    let count = usize::try_from(pool.spec.count).unwrap_or_default();
    if runs { count } else { 0 }
}

/// Whether a node of the pool runs another version than it is to run.
pub(super) fn has_outdated_nodes(snapshot: &Snapshot, pool: &AgentPool) -> bool {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    desired_version(snapshot, pool).is_some_and(|version| {
        let nodes = snapshot.nodes(name).iter();
        nodes.into_iter().any(|node| node.version != version)
    })
}

/// Whether the pool has the number of nodes, with the settings, that it is to have.
pub(super) fn has_its_nodes(snapshot: &Snapshot, pool: &AgentPool) -> bool {
    let nodes = snapshot.nodes(pool.metadata.name.as_deref().unwrap_or_default());
    let present = || nodes.iter().filter(|node| !node.deleting);
    let settings = NodeSettings::of(pool);
    present().count() == desired_count(snapshot, pool)
        && present().all(|node| node.settings == settings)
}

/// The power state that the pool's status tells.
pub(super) fn pool_power(pool: &AgentPool) -> PowerState {
    let status = pool.status.as_ref();
    let power = status.and_then(|status| status.power_state);
    power.unwrap_or_default().code
}

/// The operation that the cluster needs.
pub(super) fn cluster_need(snapshot: &Snapshot) -> Option<OperationSpec> {
    if cluster_hold(snapshot).is_some() {
        return None;
    }
    let cluster = &snapshot.cluster;
    let status = cluster.status.as_ref();
    let last = status.and_then(|status| status.last_operation.as_ref());
    let spec = |type_, version: Option<KubernetesVersion>| OperationSpec {
        type_,
        target: OperationTarget {
            kind: TargetKind::ManagedCluster,
            name: cluster.metadata.name.clone().unwrap_or_default(),
        },
        kubernetes_version: version.map(|version| version.to_string()),
        count: None,
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return (!is_gone(last)).then(|| spec(OperationType::Delete, None));
    }
    let wanted: KubernetesVersion = cluster.spec.kubernetes_version.parse().ok()?;
    if last.is_none() {
        return Some(spec(OperationType::Create, None));
    }
    let Some(runs) = snapshot.control_plane() else {
        return Some(spec(OperationType::Reconcile, None));
    };
    match (cluster.spec.power_state, snapshot.is_running()) {
        (PowerState::Stopped, true) => return Some(spec(OperationType::Stop, None)),
        (PowerState::Running, false) => return Some(spec(OperationType::Start, None)),
        _ => {}
    }
    let left_behind = || {
        snapshot
            .pools
            .iter()
            .any(|pool| follows(pool) && pool_is_there(pool) && has_outdated_nodes(snapshot, pool))
    };
    if wanted < runs {
        Some(spec(OperationType::Rollback, Some(wanted)))
    } else if wanted > runs || left_behind() {
        Some(spec(OperationType::Upgrade, Some(wanted)))
    } else {
        None
    }
}

/// The operation that a pool needs.
pub(super) fn pool_need(snapshot: &Snapshot, pool: &AgentPool) -> Option<OperationSpec> {
    if pool_hold(pool).is_some() || snapshot.cluster.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let last = pool
        .status
        .as_ref()
        .and_then(|status| status.last_operation.as_ref());
    let spec = |type_, version: Option<KubernetesVersion>, count| OperationSpec {
        type_,
        target: OperationTarget {
            kind: TargetKind::AgentPool,
            name: pool.metadata.name.clone().unwrap_or_default(),
        },
        kubernetes_version: version.map(|version| version.to_string()),
        count,
    };
    if pool.metadata.deletion_timestamp.is_some() {
        let may_go = !is_gone(last) && objection::to_deletion(snapshot, pool).is_none();
        return may_go.then(|| spec(OperationType::Delete, None, None));
    }
    let version = desired_version(snapshot, pool)?;
    let Some(last) = last else {
        return Some(spec(OperationType::Create, None, None));
    };
    let changed = Some(last.target_generation) != pool.metadata.generation;
    if !changed && is_rolled_back_halfway(snapshot, pool) {
        // The cluster is on hold; its pools converge to what the control plane runs.
        return Some(spec(OperationType::Upgrade, Some(version), None));
    }
    // What the cluster's own operation left begun is on hold with the cluster.
    if !changed && cluster_hold(snapshot).is_some_and(|hold| cluster_hold_covers(hold, pool)) {
        return None;
    }
    if let Some(type_) = power_change(snapshot, pool) {
        return Some(spec(type_, None, None));
    }
    if let Some(type_) = version_change(snapshot, pool, version) {
        return Some(spec(type_, Some(version), None));
    }
    let resized = !has_its_nodes(snapshot, pool);
    match (changed, resized) {
        // The spec is as the last operation left it: then it was the nodes that changed.
        (false, true) => Some(spec(OperationType::Reconcile, None, None)),
        (false, false) => None,
        (true, _) if has_other_count(snapshot, pool) => {
            Some(spec(OperationType::Scale, None, Some(pool.spec.count)))
        }
        (true, _) => Some(spec(OperationType::Update, None, None)),
    }
}

fn power_change(snapshot: &Snapshot, pool: &AgentPool) -> Option<OperationType> {
    if !snapshot.is_running() {
        return None;
    }
    match (pool.spec.power_state, pool_power(pool)) {
        (PowerState::Stopped, PowerState::Running) => Some(OperationType::Stop),
        (PowerState::Running, PowerState::Stopped) => Some(OperationType::Start),
        _ => None,
    }
}

/// Whether the pool itself is to change its version. One that follows its cluster changes with it.
fn version_change(
    snapshot: &Snapshot,
    pool: &AgentPool,
    wanted: KubernetesVersion,
) -> Option<OperationType> {
    if follows(pool) {
        return None;
    }
    let newest = newest_version(snapshot, pool)?;
    let nodes = snapshot.nodes(pool.metadata.name.as_deref().unwrap_or_default());
    if newest > wanted {
        Some(OperationType::Rollback)
    } else if newest < wanted || nodes.iter().any(|node| node.version != wanted) {
        Some(OperationType::Upgrade)
    } else {
        None
    }
}

/// The newest version of the pool: of its nodes, or, where it has none, what its next ones were to run.
pub(super) fn newest_version(snapshot: &Snapshot, pool: &AgentPool) -> Option<KubernetesVersion> {
    let nodes = snapshot.nodes(pool.metadata.name.as_deref().unwrap_or_default());
    let of_nodes = nodes.iter().map(|node| node.version).max();
    of_nodes.or_else(|| {
        let told = &pool.status.as_ref()?.versions;
        told.last()?.kubernetes_version.parse().ok()
    })
}

fn has_other_count(snapshot: &Snapshot, pool: &AgentPool) -> bool {
    let nodes = snapshot.nodes(pool.metadata.name.as_deref().unwrap_or_default());
    nodes.iter().filter(|node| !node.deleting).count() != desired_count(snapshot, pool)
}

/// Whether the pool was made, so that its nodes are its cluster's to upgrade.
fn pool_is_there(pool: &AgentPool) -> bool {
    pool.metadata.deletion_timestamp.is_none()
        && pool
            .status
            .as_ref()
            .is_some_and(|status| status.last_operation.is_some())
}

/// Whether the last operation took everything away that the target had.
pub(super) fn is_gone(last: Option<&LastOperation>) -> bool {
    last.is_some_and(|last| {
        last.phase == OperationPhase::Succeeded && last.type_ == OperationType::Delete
    })
}
