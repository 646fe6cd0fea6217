//! What an Operation is to bring about, for a provider to work on: stages, one after the other.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::api::{
    AgentPool, AgentPoolMode, KubernetesVersion, Operation, OperationError, OperationType,
    PowerState, ProviderSpec, ScaleSetPriority, Step, TargetKind,
};

use super::{NodeSettings, Snapshot, hold, need, objection, rollout};

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    /// The control plane is so; none: it is gone.
    ControlPlane(Option<ControlPlaneGoal>),
    /// A pool has its nodes.
    Pool(PoolGoal),
}

/// What the control plane is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlaneGoal {
    /// What it runs.
    pub version: KubernetesVersion,
    /// Whether it is on.
    pub running: bool,
}

/// The nodes that a pool is to have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// What all nodes carry, old and new.
    pub settings: NodeSettings,
    /// The size of new machines.
    pub vm_size: Option<String>,
    /// How new machines are bought.
    pub priority: ScaleSetPriority,
}

/// The work of an Operation, or why there can be none: as it was planned when it began, or, where it
/// hasn't, as the specs are now.
pub(super) fn job(snapshot: &Snapshot, operation: &Operation) -> Result<Job, OperationError> {
    let cluster = &snapshot.cluster;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let stages = match (planned(snapshot, operation), operation.spec.target.kind) {
        (Some(stages), _) => stages,
        (None, TargetKind::ManagedCluster) => cluster_stages(snapshot, operation)?,
        (None, TargetKind::AgentPool) => pool_stages(snapshot, operation)?,
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

/// The stages as an Operation's status keeps them.
pub(super) fn to_plan(stages: &[Stage]) -> Option<String> {
    serde_json::to_string(stages).ok()
}

fn planned(snapshot: &Snapshot, operation: &Operation) -> Option<Vec<Stage>> {
    let plan = operation.status.as_ref()?.plan.as_ref()?;
    let mut stages: Vec<Stage> = serde_json::from_str(plan).ok()?;
    // No node is made for a pool that there isn't any more.
    stages.retain(|stage| match stage {
        Stage::Pool(goal) => goal.count == 0 || snapshot.pool(&goal.pool).is_some(),
        Stage::ControlPlane(_) => true,
    });
    Some(stages)
}

fn cluster_stages(
    snapshot: &Snapshot,
    operation: &Operation,
) -> Result<Vec<Stage>, OperationError> {
    let spec = &snapshot.cluster.spec;
    let version: KubernetesVersion = parse(&spec.kubernetes_version)?;
    if snapshot.cluster.metadata.deletion_timestamp.is_some() {
        let pools = snapshot.pools.iter();
        let pools = pools.map(|pool| Stage::Pool(gone(snapshot, pool, false)));
        return Ok(pools.chain([Stage::ControlPlane(None)]).collect());
    }
    let runs = snapshot.control_plane();
    if let Some(error) = runs.and_then(|runs| objection::one_minor_at_a_time(runs, version)) {
        return Err(error);
    }
    let running = spec.power_state == PowerState::Running;
    let control_plane = Stage::ControlPlane(Some(ControlPlaneGoal { version, running }));
    // What the cluster's operation changes on a pool, with what it is to have in the end.
    let pool = |pool: &Arc<AgentPool>| {
        let runs = running && pool.spec.power_state == PowerState::Running;
        let goal = PoolGoal {
            drain: running,
            ..goal(snapshot, pool, need::version_under(version, pool))
        };
        Stage::Pool(PoolGoal {
            count: in_cluster_count(snapshot, pool, runs),
            ..goal
        })
    };
    let system_first = || {
        let mut pools: Vec<_> = snapshot.pools.iter().collect();
        pools.sort_by_key(|pool| pool.spec.mode != AgentPoolMode::System);
        pools
    };
    let all = || system_first().into_iter().map(pool);
    let followers = || {
        let followers = system_first()
            .into_iter()
            .filter(|pool| need::follows(pool));
        followers.map(pool)
    };
    let goes_back = runs.is_some_and(|runs| runs > version);
    Ok(match operation.spec.type_ {
        OperationType::Create => vec![control_plane],
        OperationType::Stop | OperationType::Reconcile if !running => {
            // What keeps the cluster going goes last.
            all().rev().chain([control_plane]).collect()
        }
        OperationType::Rollback | OperationType::Reconcile if goes_back => {
            all().chain([control_plane]).collect()
        }
        OperationType::Upgrade | OperationType::Rollback => {
            [control_plane].into_iter().chain(followers()).collect()
        }
        OperationType::Start | OperationType::Reconcile => {
            [control_plane].into_iter().chain(all()).collect()
        }
        OperationType::Update => system_first()
            .into_iter()
            .map(|pool| Stage::Pool(in_place(snapshot, pool)))
            .collect(),
        other @ (OperationType::Stop | OperationType::Scale | OperationType::Delete) => {
            return Err(unsupported(other, "ManagedCluster"));
        }
    })
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
    Ok(vec![Stage::Pool(match spec.type_ {
        OperationType::Create
        | OperationType::Start
        | OperationType::Upgrade
        | OperationType::Rollback
        | OperationType::Reconcile => goal,
        // The version of a pool that follows its cluster is the cluster's to change.
        OperationType::Scale | OperationType::Stop => PoolGoal {
            replace_outdated: !need::follows(pool),
            ..goal
        },
        OperationType::Update => in_place(snapshot, pool),
        other @ OperationType::Delete => return Err(unsupported(other, "AgentPool")),
    })])
}

/// The pool as its spec says, with nodes of `version`.
fn goal(snapshot: &Snapshot, pool: &AgentPool, version: KubernetesVersion) -> PoolGoal {
    let (spec, settings) = (&pool.spec, &pool.spec.upgrade_settings);
    let full = need::count_if(true, pool);
    let surge = rollout::resolve(&settings.max_surge, full, true);
    let unavailable = rollout::resolve(&settings.max_unavailable, full, false);
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
        count: need::desired_count(snapshot, pool),
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
        settings: NodeSettings::of(pool),
        vm_size: spec.vm_size.clone(),
        priority: spec.scale_set_priority,
    }
}

/// How many nodes a pool has after an operation of its cluster. One that is on hold changes its version
/// and not its size: only its own spec, or an Operation on it, takes it from the hold.
fn in_cluster_count(snapshot: &Snapshot, pool: &AgentPool, runs: bool) -> usize {
    if runs && need::pool_power(pool) == PowerState::Running && hold::pool_hold(pool).is_some() {
        return present(snapshot, pool);
    }
    need::count_if(runs, pool)
}

/// The pool's nodes as they are, with its settings.
fn in_place(snapshot: &Snapshot, pool: &AgentPool) -> PoolGoal {
    let version = need::desired_version(snapshot, pool).unwrap_or(NO_VERSION);
    PoolGoal {
        count: present(snapshot, pool),
        replace_outdated: false,
        ..goal(snapshot, pool, version)
    }
}

fn present(snapshot: &Snapshot, pool: &AgentPool) -> usize {
    let nodes = snapshot.nodes(pool.metadata.name.as_deref().unwrap_or_default());
    nodes.iter().filter(|node| !node.deleting).count()
}

/// The version of new nodes where none will be made.
const NO_VERSION: KubernetesVersion = KubernetesVersion {
    major: 0,
    minor: 0,
    patch: 0,
};

/// The pool without nodes.
fn gone(snapshot: &Snapshot, pool: &AgentPool, drain: bool) -> PoolGoal {
    let version = snapshot.control_plane().unwrap_or(NO_VERSION);
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
            "an Operation of type {type_:?} can't be run on this {kind} as its spec is: use type Reconcile to bring it to its spec"
        ),
        ..OperationError::default()
    }
}

/// The error of what needs a control plane.
pub(super) fn no_control_plane() -> OperationError {
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
