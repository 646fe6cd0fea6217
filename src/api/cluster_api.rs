//! `spec.provider.clusterAPI`: which Cluster of Cluster API a `ManagedCluster` operates.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the provider on Cluster API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.clusterName == oldSelf.clusterName").message("which Cluster is operated is immutable"))]
pub struct ClusterApiProviderSpec {
    /// The name of an existing Cluster (cluster.x-k8s.io) in the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub cluster_name: String,

    /// By the name of an `AgentPool`, the name of its `MachineDeployment`: in a topology the one under
    /// `spec.topology.workers`, else the object's. A pool that isn't listed has its own name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub machine_deployments: BTreeMap<String, MachineDeploymentName>,

    /// What becomes of the Cluster and its `MachineDeployments` when the `ManagedCluster` or an `AgentPool` is
    /// deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The name of a `MachineDeployment`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MachineDeploymentName(#[schemars(length(min = 1, max = 253))] pub String);

/// What becomes of what a provider adopted, when it is deleted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays as it is.
    #[default]
    Retain,
    /// It is deleted with its machines, by its own engine.
    Delete,
}

impl ClusterApiProviderSpec {
    /// The name of a pool's `MachineDeployment`.
    pub fn deployment_of<'a>(&'a self, pool: &'a str) -> &'a str {
        self.machine_deployments
            .get(pool)
            .map_or(pool, |deployment| &deployment.0)
    }

    /// The pool of a `MachineDeployment`.
    pub fn pool_of<'a>(&'a self, deployment: &'a str) -> &'a str {
        let mut listed = self.machine_deployments.iter();
        let pool = listed.find(|(_, name)| name.0 == deployment);
        pool.map_or(deployment, |(pool, _)| pool)
    }
}
