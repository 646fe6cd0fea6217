//! What Belay can do with AKS, and what to do instead where it can't.

use crate::{
    api::{OperationType, ProviderSpec, Step, StepAction, TargetKind},
    lifecycle::{
        NodeView, PoolGoal, Rules, one_step,
        step_names::{POOL_STEP_PREFIX, step},
    },
    provider::engine,
};

/// AKS orders the nodes itself, by node pools.
#[derive(Debug)]
pub struct ByAks;

impl Rules for ByAks {
    fn instead_of(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        match (type_, on) {
            (OperationType::Rollback, TargetKind::ManagedCluster) => Some(
                "AKS takes no control plane back: write the version that it runs into spec.kubernetesVersion",
            ),
            (OperationType::Rollback, TargetKind::AgentPool) => Some(
                "AKS takes no node pool back to an older version: write the version that it runs into spec.kubernetesVersion, or make a new pool and delete this one",
            ),
            _ => None,
        }
    }

    fn retains(&self, provider: &ProviderSpec, pool: Option<&str>) -> bool {
        let settings = provider.azure.as_ref();
        // A cluster stays, and so do its node pools with it.
        settings.is_none_or(|settings| pool.is_none_or(|pool| settings.retains(pool)))
    }

    fn stops_whole(&self) -> bool {
        true
    }

    /// What failed is brought to its end, also where it seems to be as it is to be.
    fn steps(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView], _: usize) -> Vec<Step> {
        let has_failed = nodes.iter().any(|node| !node.ready);
        let settled = || {
            let name = format!("{POOL_STEP_PREFIX}{}", goal.pool);
            step(name, StepAction::Update, "what failed at AKS".into())
        };
        let step = one_step(goal, nodes);
        step.or_else(|| has_failed.then(settled))
            .into_iter()
            .collect()
    }

    /// A node pool, or a cluster, does one thing at a time, so what goes on where Belay works is Belay's: also what is
    /// begun after another part of the same change.
    fn may_be_same_work(&self, _: Option<&str>, _: &str) -> bool {
        true
    }

    fn outcome(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        engine::outcome(goal, nodes)
    }
}
