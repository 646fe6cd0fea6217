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
            (OperationType::Stop | OperationType::Start, TargetKind::ManagedCluster) => {
                Some("Cluster API has no control plane that is off: stop or start the AgentPools")
            }
            (OperationType::Rollback, TargetKind::ManagedCluster) => Some(
                "Cluster API takes no control plane back: write the version that it runs into spec.kubernetesVersion",
            ),
            (OperationType::Rollback, TargetKind::AgentPool) => Some(
                "Cluster API makes no Machine of an older version than the control plane's once the others are newer: write the newer version into spec.kubernetesVersion",
            ),
            _ => None,
        }
    }

    fn retains(&self, provider: &ProviderSpec, _: Option<&str>) -> bool {
        let settings = provider.cluster_api.as_ref();
        settings.is_none_or(|settings| settings.deletion_policy() == DeletionPolicy::Retain)
    }

    fn outcome(&self, goal: &PoolGoal, _: &str, nodes: &[NodeView]) -> Vec<NodeView> {
        engine::outcome(goal, nodes)
    }
}
