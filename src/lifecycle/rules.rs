//! What the core asks a provider about its own ways. The answers are as pure as the core: they follow from
//! what is passed in, and wait for nothing.

use std::fmt;

use crate::api::{KubernetesVersion, OperationType, ProviderSpec, Step, StepAction, TargetKind};

use super::{
    observed::NodeView,
    plan::PoolGoal,
    step_names::{POOL_STEP_PREFIX, step},
};

/// What a provider can do, and how it goes about it. What isn't overridden holds for a provider whose engine
/// orders the nodes itself.
pub trait Rules: fmt::Debug + Send + Sync {
    /// What to do instead of an operation that the provider can't do; none where it can do it.
    fn instead_of(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        let _ = (type_, on);
        None
    }

    /// What to write instead of a version that the provider can't be asked for; none where it can.
    fn instead_of_version(&self, version: KubernetesVersion) -> Option<&'static str> {
        let _ = version;
        None
    }

    /// Why an operation that has begun can't be aborted; none where an abort can be tried.
    fn why_unstoppable(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        let _ = (type_, on);
        None
    }

    /// Whether the deletion of that pool, or of the cluster with all of them, leaves at the engine what there is of it.
    fn retains(&self, provider: &ProviderSpec, pool: Option<&str>) -> bool {
        let _ = (provider, pool);
        false
    }

    /// Whether the engine stops a cluster as a whole, its pools included.
    fn stops_whole(&self) -> bool {
        false
    }

    /// The steps that lead a pool's nodes to its goal, in the order in which they begin; at most `most` of
    /// them are about one node. `uid` is the Operation's.
    fn steps(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView], most: usize) -> Vec<Step> {
        let _ = (uid, most);
        one_step(goal, nodes).into_iter().collect()
    }

    /// Whether what goes on at a resource may be the work of a step in process there. `kept` is the step's handle, as far
    /// as it is known, and `begun` that of what goes on, which differs.
    fn may_be_same_work(&self, kept: Option<&str>, begun: &str) -> bool {
        let _ = begun;
        kept.is_none()
    }

    /// The nodes of a pool once its goal is reached.
    fn outcome(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Vec<NodeView>;
}

/// The step that leads a pool's nodes to its goal, where an engine orders them: one for all. None where nothing differs.
pub fn one_step(goal: &PoolGoal, nodes: &[NodeView]) -> Option<Step> {
    let differs = |node: &&NodeView| {
        (goal.replace_outdated && node.version != goal.version)
            || (goal.update_settings && node.settings != goal.settings)
    };
    let changed = nodes.iter().filter(differs).count();
    let action = match nodes.len().cmp(&goal.count) {
        _ if goal.deleted => StepAction::Delete,
        _ if changed > 0 => StepAction::Replace,
        std::cmp::Ordering::Less => StepAction::Create,
        std::cmp::Ordering::Greater => StepAction::Delete,
        std::cmp::Ordering::Equal => return None,
    };
    let count = changed.max(nodes.len().abs_diff(goal.count));
    let nodes = i32::try_from(count).unwrap_or(i32::MAX);
    Some(Step {
        nodes: Some(nodes),
        nodes_done: Some(0),
        ..step(
            format!("{POOL_STEP_PREFIX}{}", goal.pool),
            action,
            format!("{nodes} nodes"),
        )
    })
}
