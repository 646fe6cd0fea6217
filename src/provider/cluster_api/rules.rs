//! What Belay can do with Cluster API, and what to do instead if it can't.

use crate::{
    api::{DeletionPolicy, OperationType, ProviderSpec, TargetKind},
    lifecycle::{NodeView, PoolGoal, Rules},
    provider::engine,
};

/// Cluster API manages the nodes itself, in `MachineDeployments`.
#[derive(Debug)]
pub struct ByClusterApi;

impl Rules for ByClusterApi {
    fn instead_of(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        match (type_, on) {
            (OperationType::Stop | OperationType::Start, TargetKind::ManagedCluster) => Some(
                "Cluster API can't stop or start a control plane: stop or start the AgentPools instead",
            ),
            (OperationType::Rollback, TargetKind::ManagedCluster) => Some(
                "Cluster API can't roll back a control plane: set spec.kubernetesVersion to the version that it runs",
            ),
            (OperationType::Rollback, TargetKind::AgentPool) => Some(
                "Cluster API can't roll back a pool to a version older than the control plane's: set spec.kubernetesVersion to the newer version",
            ),
            _ => None,
        }
    }

    fn fails_at_undrainable(&self) -> Option<&'static str> {
        Some("Cluster API deletes a node that can't be drained within drainTimeout")
    }

    fn instead_of_force(&self) -> Option<&'static str> {
        Some(
            "Cluster API drains the nodes itself: change the budget, delete the pods that it protects, or set a shorter spec.upgradeSettings.drainTimeout, after which Cluster API deletes the Machine",
        )
    }

    fn retains(&self, provider: &ProviderSpec, _: Option<&str>) -> bool {
        let settings = provider.cluster_api.as_ref();
        settings.is_none_or(|settings| settings.deletion_policy() == DeletionPolicy::Retain)
    }

    fn outcome(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        engine::outcome(goal, nodes)
    }
}
