//! What Belay can do with AKS, and what to do instead if it can't.

use crate::{
    api::{OperationType, ProviderSpec, Step, StepAction, TargetKind},
    lifecycle::{
        NodeView, PoolGoal, Rules, one_step,
        step_names::{POOL_STEP_PREFIX, step},
    },
    provider::engine,
};

/// AKS manages the nodes itself, in node pools.
#[derive(Debug)]
pub struct ByAks;

impl Rules for ByAks {
    fn instead_of(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        match (type_, on) {
            (OperationType::Rollback, TargetKind::ManagedCluster) => Some(
                "AKS can't roll back a control plane: set spec.kubernetesVersion to the version that it runs",
            ),
            (OperationType::Rollback, TargetKind::AgentPool) => Some(
                "AKS can't roll back a node pool: set spec.kubernetesVersion to the version that it runs, or create a new pool and delete this one",
            ),
            _ => None,
        }
    }

    fn instead_of_force(&self) -> Option<&'static str> {
        Some(
            "AKS drains the nodes itself, and Belay can't make it pass over a PodDisruptionBudget (its forceUpgrade passes over checks of deprecated APIs): change the budget, delete the pods that it protects, or set undrainableNodeBehavior on the node pool",
        )
    }

    fn retains(&self, provider: &ProviderSpec, pool: Option<&str>) -> bool {
        let settings = provider.azure.as_ref();
        // A cluster always stays, and its node pools stay with it.
        settings.is_none_or(|settings| pool.is_none_or(|pool| settings.retains(pool)))
    }

    fn stops_whole(&self) -> bool {
        true
    }

    /// A node pool that failed has a step, even if it seems to have reached its goal: AKS has to complete it.
    fn steps(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView], _: usize) -> Vec<Step> {
        let has_failed = nodes.iter().any(|node| !node.ready);
        let settled = || {
            let name = format!("{POOL_STEP_PREFIX}{}", goal.pool);
            step(
                name,
                StepAction::Update,
                "completes what failed at AKS".into(),
            )
        };
        let step = one_step(goal, nodes);
        step.or_else(|| has_failed.then(settled))
            .into_iter()
            .collect()
    }

    /// A node pool, or a cluster, does one thing at a time. So what runs there while Belay works is Belay's, also if it
    /// was begun after another part of the same change.
    fn may_be_same_work(&self, _: Option<&str>, _: &str) -> bool {
        true
    }

    fn outcome(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        engine::outcome(goal, nodes)
    }
}
