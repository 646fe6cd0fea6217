//! What Belay can do with EKS, and what to do instead if it can't.

use crate::{
    api::{KubernetesVersion, OperationType, ProviderSpec, TargetKind},
    lifecycle::{NodeView, PoolGoal, Rules},
    provider::engine,
};

/// EKS manages the nodes itself, in nodegroups.
#[derive(Debug)]
pub struct ByEks;

impl Rules for ByEks {
    fn instead_of(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        match (type_, on) {
            (OperationType::Stop | OperationType::Start, TargetKind::ManagedCluster) => Some(
                "EKS can't stop or start a control plane: stop or start the AgentPools instead",
            ),
            _ => None,
        }
    }

    fn instead_of_version(&self, version: KubernetesVersion) -> Option<&'static str> {
        (version.patch != 0)
            .then_some("EKS chooses the patch version itself: write 0 for it, for example 1.34.0")
    }

    fn fails_at_undrainable(&self) -> Option<&'static str> {
        Some("EKS ends an update at the first node that can't be drained")
    }

    fn instead_of_force(&self) -> Option<&'static str> {
        Some(
            "EKS drains the nodes itself, and can be forced only when an update begins: change the budget, delete the pods that it protects, or abort this operation and run aws eks update-nodegroup-version --force",
        )
    }

    fn retains(&self, provider: &ProviderSpec, pool: Option<&str>) -> bool {
        let settings = provider.aws.as_ref();
        // A cluster always stays, and its nodegroups stay with it.
        settings.is_none_or(|settings| pool.is_none_or(|pool| settings.retains(pool)))
    }

    /// A nodegroup, or a control plane, does one thing at a time. So what runs there while Belay works is Belay's, also
    /// if it was begun after another part of the same change.
    fn may_be_same_work(&self, _: Option<&str>, _: &str) -> bool {
        true
    }

    fn outcome(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        engine::outcome(goal, nodes)
    }
}
