//! `spec.provider.clusterAPI`: the Cluster of Cluster API that a `ManagedCluster` operates, and how Belay creates it if
//! it doesn't exist already.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Settings of the provider on Cluster API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.clusterName == oldSelf.clusterName").message("clusterName is immutable: create a new ManagedCluster for another Cluster"))]
pub struct ClusterApiProviderSpec {
    /// The name of a Cluster (cluster.x-k8s.io) in the same namespace. It exists already, unless `create` is set.
    #[schemars(length(min = 1, max = 63))]
    pub cluster_name: String,

    /// How Belay creates the Cluster. If absent, the Cluster exists already, and Belay adopts it. Immutable: make later
    /// changes in the Cluster itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<ClusterCreation>,

    /// The name of the `MachineDeployment` of each `AgentPool`, by the name of the `AgentPool`. In a topology, it is
    /// the name under `spec.topology.workers`; otherwise, the object's name. A pool that isn't listed has a
    /// `MachineDeployment` of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub machine_deployments: BTreeMap<String, ObjectName>,

    /// The class of the `MachineDeployment` that Belay adds to the Cluster's topology for an `AgentPool`, by the name
    /// of the `AgentPool`. The Cluster's `ClusterClass` defines the class. A pool that isn't listed has
    /// `create.workerClass`. If that is absent, its `MachineDeployment` has to exist already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub worker_classes: BTreeMap<String, ObjectName>,

    /// What happens to the Cluster and its `MachineDeployments` when the `ManagedCluster` or an `AgentPool` is deleted.
    /// If absent, they are deleted if `create` is set, and stay otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// A Cluster of a `ClusterClass` that Belay creates. Its version is `spec.kubernetesVersion`, and its workers are the
/// `AgentPools`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCreation {
    /// The `ClusterClass`.
    pub class_ref: ClusterClassReference,

    /// The class, within the `ClusterClass`, of the pools' `MachineDeployments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_class: Option<ObjectName>,

    /// The number of machines of the control plane. If absent, Cluster API decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub control_plane_replicas: Option<i32>,

    /// The variables of the `ClusterClass`, passed through as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub variables: Vec<ClusterVariable>,

    /// The Cluster's `spec.clusterNetwork`, passed through as it is.
    // `schema_with` hides from schemars that the field is optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub cluster_network: Option<Value>,
}

/// The `ClusterClass` of a Cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterClassReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Its namespace. If absent, the Cluster's namespace.
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

    /// Its value, of any type.
    #[schemars(schema_with = "any_value")]
    pub value: Value,
}

/// The name of an object or a class of Cluster API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ObjectName(#[schemars(length(min = 1, max = 253))] pub String);

/// What happens to the objects of an engine, such as Cluster API, when Belay's objects are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay as they are.
    Retain,
    /// Their own engine deletes them and their machines.
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

    /// The class of the `MachineDeployment` that Belay adds for a pool. None if the `MachineDeployment` has to exist
    /// already.
    pub fn class_of(&self, pool: &str) -> Option<&str> {
        let of_all = || self.create.as_ref()?.worker_class.as_ref();
        let class = self.worker_classes.get(pool).or_else(of_all)?;
        Some(&class.0)
    }

    /// What happens to Cluster API's objects when Belay's objects are deleted.
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
