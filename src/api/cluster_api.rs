//! `spec.provider.clusterAPI`: which Cluster of Cluster API a `ManagedCluster` operates, and how Belay makes it where
//! it doesn't exist already.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Settings of the provider on Cluster API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.clusterName == oldSelf.clusterName").message("which Cluster is operated is immutable"))]
pub struct ClusterApiProviderSpec {
    /// The name of a Cluster (cluster.x-k8s.io) in the same namespace. It exists already, unless `create` is set.
    #[schemars(length(min = 1, max = 63))]
    pub cluster_name: String,

    /// How Belay makes the Cluster; absent, it exists already and is adopted. Immutable: later changes are made of
    /// the Cluster itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<ClusterCreation>,

    /// By the name of an `AgentPool`, the name of its `MachineDeployment`: in a topology the one under
    /// `spec.topology.workers`, else the object's. A pool that isn't listed has its own name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub machine_deployments: BTreeMap<String, ObjectName>,

    /// By the name of an `AgentPool`, the class (of the Cluster's `ClusterClass`) of the `MachineDeployment` that
    /// Belay adds to the Cluster's topology for it. A pool that isn't listed has `create.workerClass`; without
    /// that, its `MachineDeployment` has to exist already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub worker_classes: BTreeMap<String, ObjectName>,

    /// What becomes of the Cluster and its `MachineDeployments` when the `ManagedCluster` or an `AgentPool` is
    /// deleted. Absent, what Belay makes is deleted, and what it adopted stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// A Cluster of a `ClusterClass`, as Belay makes it. Its version is `spec.kubernetesVersion`, and its workers are the
/// `AgentPools`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCreation {
    /// The `ClusterClass`.
    pub class_ref: ClusterClassReference,

    /// The class, within the `ClusterClass`, of the pools' `MachineDeployments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_class: Option<ObjectName>,

    /// How many machines the control plane has; absent, Cluster API decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub control_plane_replicas: Option<i32>,

    /// The variables of the `ClusterClass`, passed through as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub variables: Vec<ClusterVariable>,

    /// The Cluster's `spec.clusterNetwork`, passed through as it is.
    // `schema_with` hides from schemars that it is optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub cluster_network: Option<Value>,
}

/// Which `ClusterClass` a Cluster is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterClassReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Its namespace; absent, the Cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// A variable of a `ClusterClass`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,

    /// Its value: of any type.
    #[schemars(schema_with = "any_value")]
    pub value: Value,
}

/// The name of one of Cluster API's objects or classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ObjectName(#[schemars(length(min = 1, max = 253))] pub String);

/// What becomes of the objects of an engine when those of Belay are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay as they are.
    Retain,
    /// They are deleted with their machines, by their own engine.
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

    /// The class of the `MachineDeployment` that is added for a pool; none where it has to exist already.
    pub fn class_of(&self, pool: &str) -> Option<&str> {
        let of_all = || self.create.as_ref()?.worker_class.as_ref();
        let class = self.worker_classes.get(pool).or_else(of_all)?;
        Some(&class.0)
    }

    /// What becomes of Cluster API's objects when those of Belay are deleted.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or(if self.create.is_some() {
            DeletionPolicy::Delete
        } else {
            DeletionPolicy::Retain
        })
    }
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}
