//! What the core asks a provider about itself. The answers are as pure as the core: they depend only on the
//! arguments, and wait for nothing.

use std::fmt;

use crate::api::{KubernetesVersion, OperationType, ProviderSpec, Step, StepAction, TargetKind};

use super::{
    observed::NodeView,
    plan::PoolGoal,
    step_names::{POOL_STEP_PREFIX, step},
};

/// What a provider can do, and how it does it. The defaults are for a provider whose engine manages the nodes itself.
pub trait Rules: fmt::Debug + Send + Sync {
    /// Returns what to do instead of an operation that the provider can't do. None if it can do it.
    fn instead_of(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        let _ = (type_, on);
        None
    }

    /// Returns what to write instead of a version that the provider can't be asked for. None if it can be asked for
    /// it.
    fn instead_of_version(&self, version: KubernetesVersion) -> Option<&'static str> {
        let _ = version;
        None
    }

    /// Returns what the engine does with a node that can't be drained, if it can't go on without such a node. None if
    /// `undrainableNodeBehavior` has its effect.
    fn fails_at_undrainable(&self) -> Option<&'static str> {
        None
    }

    /// Returns why an operation that has begun can't be aborted. None if an abort can be tried.
    fn why_unstoppable(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        let _ = (type_, on);
        None
    }

    /// Returns what to do instead of a force, which deletes pods that a budget protects. None if Belay evicts the pods
    /// itself, so that it can delete them.
    fn instead_of_force(&self) -> Option<&'static str> {
        Some(
            "the provider of this cluster evicts the pods itself, so Belay can't delete pods that a PodDisruptionBudget protects: change the budget, or delete these pods",
        )
    }

    /// Whether a deletion of that pool, or with `None` of the cluster and all its pools, leaves the resources at the
    /// engine.
    fn retains(&self, provider: &ProviderSpec, pool: Option<&str>) -> bool {
        let _ = (provider, pool);
        false
    }

    /// Whether the engine stops a cluster as a whole, its pools included.
    fn stops_whole(&self) -> bool {
        false
    }

    /// Returns the steps that bring a pool's nodes to its goal, in the order in which they begin. At most `most` of
    /// them are about single nodes. `uid` is the Operation's uid.
    fn steps(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView], most: usize) -> Vec<Step> {
        let _ = (uid, most);
        one_step(goal, nodes).into_iter().collect()
    }

    /// Returns the names of those of a pool's nodes that are drained on the way to its goal. If the engine chooses
    /// them, these are all nodes that it may choose.
    fn drained(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Vec<String> {
        let _ = uid;
        let is_outdated = |node: &&NodeView| {
            let is_surplus = goal.count < nodes.len();
            is_surplus || (goal.replace_outdated && node.version != goal.version)
        };
        let drained = nodes.iter().filter(|node| goal.drain && is_outdated(node));
        drained.map(|node| node.name.clone()).collect()
    }

    /// Whether work that runs at a resource may belong to a step in process there. `kept` is the step's handle, if
    /// known; `begun` is the different handle of the running work.
    fn may_be_same_work(&self, kept: Option<&str>, begun: &str) -> bool {
        let _ = begun;
        kept.is_none()
    }

    /// Returns the nodes of a pool once its goal is reached.
    fn outcome(&self, goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Vec<NodeView>;
}

/// Returns the one step that brings all nodes of a pool to its goal, for an engine that manages nodes itself. None if
/// nothing differs.
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
