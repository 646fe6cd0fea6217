//! Cluster API's kinds, and what Belay reads of their objects. The objects are read and written as JSON, so that what
//! Belay doesn't know of them stays as it is. (The generated types of cluster-api-rs are for an older kube, which would
//! be compiled in addition to this one.)

use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};

use crate::api::KubernetesVersion;

/// The label of everything that belongs to a Cluster.
pub const CLUSTER_NAME: &str = "cluster.x-k8s.io/cluster-name";
/// The label of a `MachineDeployment`'s Machines.
pub const DEPLOYMENT_NAME: &str = "cluster.x-k8s.io/deployment-name";
/// The label of a control plane's Machines.
pub const CONTROL_PLANE: &str = "cluster.x-k8s.io/control-plane";
/// The label of a topology's `MachineDeployments`: their names in the topology.
pub const TOPOLOGY_NAME: &str = "topology.cluster.x-k8s.io/deployment-name";
/// The annotation that pauses an object.
pub const PAUSED: &str = "cluster.x-k8s.io/paused";
/// The annotation that keeps a topology's `MachineDeployment` on its version.
pub const DEFER_UPGRADE: &str = "topology.cluster.x-k8s.io/defer-upgrade";

/// On a Cluster that Belay created: the `ManagedCluster` that it was created for.
pub const MADE_FOR: &str = "belay.dev/made-for";

/// A kind that Belay reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Cluster,
    MachineDeployment,
    MachineSet,
    Machine,
    MachinePool,
    KubeadmControlPlane,
}

impl Kind {
    /// Returns the API for the objects of that kind in a namespace.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::MachineDeployment => "MachineDeployment",
            Self::MachineSet => "MachineSet",
            Self::Machine => "Machine",
            Self::MachinePool => "MachinePool",
            Self::KubeadmControlPlane => "KubeadmControlPlane",
        }
    }

    /// Returns the resource that the API server knows it as.
    pub fn resource(self) -> ApiResource {
        let group = match self {
            Self::KubeadmControlPlane => "controlplane.cluster.x-k8s.io",
            _ => "cluster.x-k8s.io",
        };
        let kind = GroupVersionKind::gvk(group, "v1beta2", self.name());
        ApiResource::from_gvk(&kind)
    }

    /// Returns a function that removes what Belay doesn't read. It is for kinds with many objects that Belay never
    /// writes.
    pub fn trim(self) -> fn(&mut DynamicObject) {
        match self {
            Self::Machine | Self::MachineSet => |object| object.metadata.managed_fields = None,
            _ => |_| (),
        }
    }
}

/// Returns the parameters to list everything that belongs to a Cluster.
pub fn of_cluster(name: &str) -> ListParams {
    ListParams::default().labels(&format!("{CLUSTER_NAME}={name}"))
}

/// Returns a text of an object.
pub fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer)?.as_str()
}

/// Returns a count of an object.
pub fn count(object: &DynamicObject, pointer: &str) -> Option<usize> {
    let number = object.data.pointer(pointer)?.as_u64()?;
    usize::try_from(number).ok()
}

/// Returns a version of an object, which Cluster API writes as `v1.36.3`.
pub fn version(object: &DynamicObject, pointer: &str) -> Option<KubernetesVersion> {
    text(object, pointer)?.trim_start_matches('v').parse().ok()
}

/// Returns the reason and the message of a condition. None if it doesn't have this status.
pub fn condition<'a>(
    object: &'a DynamicObject,
    type_: &str,
    status: &str,
) -> Option<(&'a str, &'a str)> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == type_ && condition["status"] == status)?;
    Some((found["reason"].as_str()?, found["message"].as_str()?))
}

/// Returns whether a condition is True.
pub fn is(object: &DynamicObject, type_: &str) -> bool {
    condition(object, type_, "True").is_some()
}

/// Returns whether an object's controller has seen its current spec.
pub fn is_observed(object: &DynamicObject) -> bool {
    let observed = object.data.pointer("/status/observedGeneration");
    let observed = observed.and_then(serde_json::Value::as_i64);
    observed.is_some() && observed == object.metadata.generation
}

/// Returns whether the topology creates and deletes a `MachineDeployment`.
pub fn is_of_topology(deployment: &DynamicObject) -> bool {
    label(deployment, TOPOLOGY_NAME).is_some()
}

/// Returns an object's label.
pub fn label<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.labels().get(key).map(String::as_str)
}

/// Returns an object's annotation.
pub fn annotation<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.annotations().get(key).map(String::as_str)
}
