//! Which operation closes the difference between a spec and what is there. None, while the target is on
//! hold: left alone after an operation that was canceled or failed, until its spec changes.

use crate::api::{
    AgentPool, KubernetesVersion, LastOperation, OperationPhase, OperationSpec, OperationTarget,
    OperationType, TargetKind,
};

use super::Snapshot;

/// The operation that holds a target back, if it is on hold.
fn hold(last: Option<&LastOperation>, generation: Option<i64>) -> Option<&LastOperation> {
    last.filter(|last| {
        matches!(
            last.phase,
            OperationPhase::Canceled | OperationPhase::Failed
        ) && Some(last.target_generation) == generation
    })
}

/// The operation that holds the cluster back.
pub(super) fn cluster_hold(snapshot: &Snapshot) -> Option<&LastOperation> {
    let last = snapshot
        .cluster
        .status
        .as_ref()
        .and_then(|status| status.last_operation.as_ref());
    hold(last, snapshot.cluster.metadata.generation)
}

/// The operation that holds a pool back by itself.
pub(super) fn pool_hold(pool: &AgentPool) -> Option<&LastOperation> {
    let last = pool
        .status
        .as_ref()
        .and_then(|status| status.last_operation.as_ref());
    hold(last, pool.metadata.generation)
}

/// Whether the pool follows its cluster's version.
pub(super) fn follows(pool: &AgentPool) -> bool {
    pool.spec.kubernetes_version.is_none()
}

/// What the pool's nodes are to run: its own version, or the control plane's; never a newer one than the control plane's.
pub(super) fn desired_version(snapshot: &Snapshot, pool: &AgentPool) -> Option<KubernetesVersion> {
    let control_plane = snapshot.control_plane()?;
    let own = pool
        .spec
        .kubernetes_version
        .as_deref()
        .and_then(|version| version.parse().ok());
    Some(own.map_or(control_plane, |own: KubernetesVersion| {
        own.min(control_plane)
    }))
}

/// Whether a node of the pool runs another version than it is to run.
pub(super) fn has_outdated_nodes(snapshot: &Snapshot, pool: &AgentPool) -> bool {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    desired_version(snapshot, pool).is_some_and(|version| {
        snapshot
            .nodes(name)
            .iter()
            .any(|node| node.version != version)
    })
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
    let Some(runs) = snapshot.control_plane() else {
        let type_ = if last.is_none() {
            OperationType::Create
        } else {
            OperationType::Reconcile
        };
        return Some(spec(type_, None));
    };
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
    let name = pool.metadata.name.clone().unwrap_or_default();
    let spec = |type_, version: Option<KubernetesVersion>, count| OperationSpec {
        type_,
        target: OperationTarget {
            kind: TargetKind::AgentPool,
            name: name.clone(),
        },
        kubernetes_version: version.map(|version| version.to_string()),
        count,
    };
    if pool.metadata.deletion_timestamp.is_some() {
        return (!is_gone(last)).then(|| spec(OperationType::Delete, None, None));
    }
    let version = desired_version(snapshot, pool)?;
    let Some(last) = last else {
        return Some(spec(OperationType::Create, None, None));
    };
    let unchanged = Some(last.target_generation) == pool.metadata.generation;
    // What the cluster's own operation left begun is on hold with the cluster.
    if unchanged && follows(pool) && cluster_hold(snapshot).is_some() {
        return None;
    }
    let nodes = snapshot.nodes(&name);
    let present = nodes.iter().filter(|node| !node.deleting).count();
    let resized = i32::try_from(present) != Ok(pool.spec.count);
    let outdated = !follows(pool) && has_outdated_nodes(snapshot, pool);
    if !resized && !outdated {
        return None;
    }
    // The spec is as the last operation left it: then it was the nodes that changed.
    if unchanged {
        return Some(spec(OperationType::Reconcile, None, None));
    }
    if !outdated {
        return Some(spec(OperationType::Scale, None, Some(pool.spec.count)));
    }
    let newest = nodes.iter().map(|node| node.version).max();
    let back = newest.is_some_and(|newest| newest > version);
    let type_ = if back {
        OperationType::Rollback
    } else {
        OperationType::Upgrade
    };
    Some(spec(type_, Some(version), None))
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
