//! What an Operation is to bring about, for a provider to work on: stages, one after the other.

use std::{collections::BTreeMap, time::Duration};

use crate::api::{
    AgentPool, AgentPoolMode, KubernetesVersion, NodeTaint, Operation, OperationError,
    OperationType, ProviderSpec, ScaleSetPriority, Step, TargetKind,
};

use super::{Snapshot, need, rollout};

/// The work of one Operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The Operation's name.
    pub operation: String,
    /// The Operation's uid: what a provider is called with, so that a call of an operation that ended can be told.
    pub uid: String,
    /// The namespace of the Operation and its cluster.
    pub namespace: String,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's uid.
    pub cluster_uid: String,
    /// The cluster's provider.
    pub provider: ProviderSpec,
    /// What is to be reached, one after the other.
    pub stages: Vec<Stage>,
    /// The steps as they were planned.
    pub steps: Vec<Step>,
}

/// One stage of a [`Job`].
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// The control plane runs that version; none: it is gone.
    ControlPlane(Option<KubernetesVersion>),
    /// A pool has its nodes.
    Pool(PoolGoal),
}

/// The nodes that a pool is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolGoal {
    /// The pool's name.
    pub pool: String,
    /// What the names of new nodes begin with.
    pub node_prefix: String,
    /// How many nodes.
    pub count: usize,
    /// What new nodes run.
    pub version: KubernetesVersion,
    /// Whether nodes of another version are replaced.
    pub replace_outdated: bool,
    /// How many nodes may exist beyond `count` while nodes are replaced.
    pub surge: usize,
    /// How many of `count` may be unavailable while nodes are replaced.
    pub unavailable: usize,
    /// Whether a node is drained before it is deleted.
    pub drain: bool,
    /// How long the drain of one node may take.
    pub drain_timeout: Duration,
    /// Labels of new nodes.
    pub labels: BTreeMap<String, String>,
    /// Taints of new nodes.
    pub taints: Vec<NodeTaint>,
    /// The size of new machines.
    pub vm_size: Option<String>,
    /// How new machines are bought.
    pub priority: ScaleSetPriority,
    /// What the pool is for.
    pub mode: AgentPoolMode,
}

/// The work of an Operation, or why there can be none.
pub(super) fn job(snapshot: &Snapshot, operation: &Operation) -> Result<Job, OperationError> {
    let cluster = &snapshot.cluster;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let stages = match operation.spec.target.kind {
        TargetKind::ManagedCluster => cluster_stages(snapshot, operation)?,
        TargetKind::AgentPool => pool_stages(snapshot, operation)?,
    };
    Ok(Job {
        operation: name(&operation.metadata.name),
        uid: name(&operation.metadata.uid),
        namespace: name(&cluster.metadata.namespace),
        cluster: name(&cluster.metadata.name),
        cluster_uid: name(&cluster.metadata.uid),
        provider: cluster.spec.provider.clone(),
        stages,
        steps: operation
            .status
            .as_ref()
            .map(|status| status.steps.clone())
            .unwrap_or_default(),
    })
}

fn cluster_stages(
    snapshot: &Snapshot,
    operation: &Operation,
) -> Result<Vec<Stage>, OperationError> {
    let wanted: KubernetesVersion = parse(&snapshot.cluster.spec.kubernetes_version)?;
    if snapshot.cluster.metadata.deletion_timestamp.is_some() {
        let pools = snapshot
            .pools
            .iter()
            .map(|pool| Stage::Pool(gone(snapshot, pool, false)));
        return Ok(pools.chain([Stage::ControlPlane(None)]).collect());
    }
    let control_plane = Stage::ControlPlane(Some(wanted));
    let followers = || {
        let mut pools: Vec<_> = snapshot
            .pools
            .iter()
            .filter(|pool| need::follows(pool))
            .collect();
        pools.sort_by_key(|pool| pool.spec.mode != AgentPoolMode::System);
        pools
            .into_iter()
            .map(|pool| Stage::Pool(follower_goal(snapshot, pool, wanted)))
    };
    match operation.spec.type_ {
        OperationType::Create => Ok(vec![control_plane]),
        OperationType::Rollback => Ok(followers().chain([control_plane]).collect()),
        OperationType::Reconcile if snapshot.control_plane().is_some_and(|runs| runs > wanted) => {
            Ok(followers().chain([control_plane]).collect())
        }
        OperationType::Upgrade | OperationType::Reconcile => {
            Ok([control_plane].into_iter().chain(followers()).collect())
        }
        other => Err(unsupported(other, "ManagedCluster")),
    }
}

fn pool_stages(snapshot: &Snapshot, operation: &Operation) -> Result<Vec<Stage>, OperationError> {
    let spec = &operation.spec;
    let pool = snapshot
        .pool(&spec.target.name)
        .ok_or_else(|| target_not_found(operation))?;
    if pool.metadata.deletion_timestamp.is_some() {
        return Ok(vec![Stage::Pool(gone(snapshot, pool, true))]);
    }
    let version = need::desired_version(snapshot, pool).ok_or_else(no_control_plane)?;
    let goal = goal(snapshot, pool, version);
    match spec.type_ {
        OperationType::Create
        | OperationType::Upgrade
        | OperationType::Rollback
        | OperationType::Reconcile => Ok(vec![Stage::Pool(goal)]),
        OperationType::Scale => Ok(vec![Stage::Pool(PoolGoal {
            replace_outdated: false,
            ..goal
        })]),
        other => Err(unsupported(other, "AgentPool")),
    }
}

/// The pool as its spec says, with nodes of `version`.
fn goal(snapshot: &Snapshot, pool: &AgentPool, version: KubernetesVersion) -> PoolGoal {
    let (spec, settings) = (&pool.spec, &pool.spec.upgrade_settings);
    let count = usize::try_from(spec.count).unwrap_or_default();
    let surge = rollout::resolve(&settings.max_surge, count, true);
    let unavailable = rollout::resolve(&settings.max_unavailable, count, false);
    let name = pool.metadata.name.clone().unwrap_or_default();
    let cluster = snapshot
        .cluster
        .metadata
        .name
        .as_deref()
        .unwrap_or_default();
    PoolGoal {
        node_prefix: if name.starts_with(&format!("{cluster}-")) {
            name.clone()
        } else {
            format!("{cluster}-{name}")
        },
        pool: name,
        count,
        version,
        replace_outdated: true,
        surge,
        // Both can come out as 0 of a small count; then one is taken, as Deployments do it.
        unavailable: if surge == 0 {
            unavailable.max(1)
        } else {
            unavailable
        },
        drain: true,
        drain_timeout: settings.drain_timeout.into(),
        labels: spec
            .node_labels
            .iter()
            .map(|(key, value)| (key.clone(), value.0.clone()))
            .collect(),
        taints: spec.node_taints.clone(),
        vm_size: spec.vm_size.clone(),
        priority: spec.scale_set_priority,
        mode: spec.mode,
    }
}

/// A pool in an operation of its cluster. One that is on hold changes its version and not its size: only
/// its own spec, or an Operation on it, takes it from the hold.
fn follower_goal(snapshot: &Snapshot, pool: &AgentPool, version: KubernetesVersion) -> PoolGoal {
    let goal = goal(snapshot, pool, version);
    if need::pool_hold(pool).is_some() {
        let count = snapshot.nodes(&goal.pool).len();
        return PoolGoal { count, ..goal };
    }
    goal
}

/// The pool without nodes.
fn gone(snapshot: &Snapshot, pool: &AgentPool, drain: bool) -> PoolGoal {
    let version = snapshot.control_plane().unwrap_or(KubernetesVersion {
        major: 0,
        minor: 0,
        patch: 0,
    });
    PoolGoal {
        count: 0,
        replace_outdated: false,
        drain,
        ..goal(snapshot, pool, version)
    }
}

fn parse(version: &str) -> Result<KubernetesVersion, OperationError> {
    version
        .parse()
        .map_err(|error: crate::api::InvalidVersion| OperationError {
            code: "InvalidParameter".into(),
            message: error.to_string(),
            ..OperationError::default()
        })
}

fn unsupported(type_: OperationType, kind: &str) -> OperationError {
    OperationError {
        code: "OperationNotSupported".into(),
        message: format!(
            "an Operation of type {type_:?} can't be asked for on a {kind}: change the {kind}'s spec instead, or use type Reconcile"
        ),
        ..OperationError::default()
    }
}

fn no_control_plane() -> OperationError {
    OperationError {
        code: "ControlPlaneNotFound".into(),
        message: "the cluster has no control plane: bring it to its spec first, with an Operation of type Reconcile on the ManagedCluster".into(),
        ..OperationError::default()
    }
}

/// The error of an Operation whose target there isn't.
pub(super) fn target_not_found(operation: &Operation) -> OperationError {
    let target = &operation.spec.target;
    OperationError {
        code: "NotFound".into(),
        message: format!(
            "{:?} {} does not exist in namespace {}: create it, or correct spec.target of a new Operation",
            target.kind,
            target.name,
            operation.metadata.namespace.as_deref().unwrap_or_default()
        ),
        ..OperationError::default()
    }
}

/// Whether a person's Operation asks for something else than its target's spec says: Belay doesn't bring
/// about what the next look at the spec would take back.
pub(super) fn contradiction(snapshot: &Snapshot, operation: &Operation) -> Option<OperationError> {
    let spec = &operation.spec;
    let (asked, said, field) = match (spec.target.kind, &spec.kubernetes_version, spec.count) {
        (TargetKind::ManagedCluster, Some(version), _) => (
            version.clone(),
            snapshot.cluster.spec.kubernetes_version.clone(),
            "kubernetesVersion",
        ),
        (TargetKind::AgentPool, Some(version), _) => {
            let desired = need::desired_version(snapshot, snapshot.pool(&spec.target.name)?)?;
            (version.clone(), desired.to_string(), "kubernetesVersion")
        }
        (_, None, Some(count)) => (
            count.to_string(),
            snapshot.pool(&spec.target.name)?.spec.count.to_string(),
            "count",
        ),
        (_, None, None) => return None,
    };
    (asked != said).then(|| OperationError {
        code: "InvalidParameter".into(),
        message: format!(
            "the Operation asks for {field} {asked}, {:?} {} is to have {said}: change its spec, and Belay makes the Operation",
            spec.target.kind, spec.target.name
        ),
        ..OperationError::default()
    })
}
