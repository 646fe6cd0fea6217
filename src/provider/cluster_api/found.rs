//! A Cluster with its `MachineDeployments` and Machines, as they were at one moment.

use std::sync::Arc;

use kube::{Client, ResourceExt as _, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{ClusterApiProviderSpec, KubernetesVersion, OperationError},
    provider::{
        engine::{EngineError, Site},
        requests::Passing,
    },
};

use super::{
    answers::not_supported,
    kinds::{self, CONTROL_PLANE, DEPLOYMENT_NAME, Kind, MADE_FOR, TOPOLOGY_NAME},
    objects::Objects,
};

/// A Cluster and what belongs to it.
pub struct Found {
    /// The settings of the `ManagedCluster`, which name the Cluster.
    pub spec: ClusterApiProviderSpec,
    cluster: Arc<DynamicObject>,
    objects: Objects,
}

/// The desired state of a pool or a control plane, according to Cluster API's own specs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub version: Option<KubernetesVersion>,
    pub replicas: usize,
}

impl Wanted {
    /// Returns whether a Machine has the wanted version. True if no version is wanted.
    pub fn has_version_of(self, machine: &DynamicObject) -> bool {
        self.version.is_none() || kinds::version(machine, "/spec/version") == self.version
    }
}

/// Where a `MachineDeployment` is specified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its Cluster's topology, at that index.
    Topology(usize),
    /// In its own object.
    Own,
}

impl Place {
    /// Returns the spec that says how many Machines there are, and how they are replaced.
    pub fn spec(self, object: &mut DynamicObject) -> &mut Value {
        let spec = &mut object.data["spec"];
        match self {
            Self::Topology(at) => &mut spec["topology"]["workers"]["machineDeployments"][at],
            Self::Own => spec,
        }
    }

    /// Returns the spec of a Machine.
    pub fn machine(self, object: &mut DynamicObject) -> &mut Value {
        let spec = self.spec(object);
        match self {
            Self::Topology(_) => spec,
            Self::Own => &mut spec["template"]["spec"],
        }
    }

    /// Returns the metadata of Machines.
    pub fn metadata(self, object: &mut DynamicObject) -> &mut Value {
        let spec = self.spec(object);
        match self {
            Self::Topology(_) => &mut spec["metadata"],
            Self::Own => &mut spec["template"]["metadata"],
        }
    }
}

impl Found {
    /// Reads the current state of the Cluster.
    pub async fn read(client: &Client, site: &Site) -> Result<Option<Self>, EngineError> {
        let (objects, _) = Objects::read(client, &site.namespace, cluster_name(site)).await?;
        Ok(Self::of(site, objects))
    }

    /// Returns the Cluster and what belongs to it. None if there is no such Cluster. If Belay is to create it, a
    /// Cluster that was created otherwise doesn't count.
    pub fn of(site: &Site, objects: Objects) -> Option<Self> {
        let spec = site.provider.cluster_api.clone().unwrap_or_default();
        let is_it = |cluster: &Arc<DynamicObject>| {
            let made_for = kinds::annotation(cluster, MADE_FOR);
            spec.create.is_none() || made_for == Some(&site.cluster)
        };
        let cluster = objects.cluster.clone().filter(is_it)?;
        Some(Self {
            spec,
            cluster,
            objects,
        })
    }

    /// Returns the Cluster.
    pub fn cluster(&self) -> &DynamicObject {
        &self.cluster
    }

    /// Returns the control plane. None if it isn't one of kubeadm.
    pub fn control_plane(&self) -> Option<&DynamicObject> {
        self.objects.control_plane.as_deref()
    }

    /// Returns whether the control plane has answered once.
    pub fn is_initialized(&self) -> bool {
        let initialized = "/status/initialization/controlPlaneInitialized";
        self.cluster.data.pointer(initialized) == Some(&true.into())
    }

    /// Returns whether Belay created the Cluster, and Cluster API has created nothing for it yet.
    pub fn is_untouched(&self) -> bool {
        let has = |reference: &str| self.cluster.data["spec"][reference].is_object();
        self.spec.create.is_some() && !has("controlPlaneRef") && !has("infrastructureRef")
    }

    /// Returns whether the Cluster is made of a `ClusterClass`.
    pub fn has_topology(&self) -> bool {
        self.cluster.data.pointer("/spec/topology").is_some()
    }

    /// Returns the object that specifies the version of the control plane: the Cluster with its topology, or the
    /// control plane itself.
    pub fn control_plane_spec(&self) -> Result<(Kind, &DynamicObject), EngineError> {
        if self.has_topology() {
            return Ok((Kind::Cluster, &self.cluster));
        }
        let control_plane = self.control_plane().ok_or_else(|| {
            not_supported(format!(
                "Cluster {} has no topology, and its control plane is not of the kind KubeadmControlPlane, so Belay can't change its version: change it in the control plane's own object",
                self.spec.cluster_name
            ))
        })?;
        Ok((Kind::KubeadmControlPlane, control_plane))
    }

    /// Returns the version that the control plane should run.
    pub fn wanted_version(&self) -> Option<KubernetesVersion> {
        if self.has_topology() {
            return kinds::version(&self.cluster, "/spec/topology/version");
        }
        kinds::version(self.control_plane()?, "/spec/version")
    }

    /// Returns the `MachineDeployments`, each with its pool's name.
    pub fn pools(&self) -> impl Iterator<Item = (&str, &DynamicObject)> {
        let deployments = self.objects.deployments.iter();
        deployments.map(|deployment| (self.spec.pool_of(name_of(deployment)), deployment.as_ref()))
    }

    /// Returns the `MachineDeployment` of a pool.
    pub fn deployment(&self, pool: &str) -> Result<&DynamicObject, EngineError> {
        let name = self.spec.deployment_of(pool);
        let mut deployments = self.objects.deployments.iter().map(Arc::as_ref);
        let found = deployments.find(|deployment| name_of(deployment) == name);
        found.ok_or_else(|| {
            EngineError::Final(OperationError::new(
                "MachineDeploymentNotFound",
                format!("Cluster {} has no MachineDeployment {name}: create it, name another one in spec.provider.clusterAPI.machineDeployments, or, if the Cluster has a topology, name a class in spec.provider.clusterAPI.workerClasses, and Belay adds it", self.spec.cluster_name),
            ))
        })
    }

    /// Returns where a pool is specified, also before Cluster API has created its `MachineDeployment`. None if it has
    /// to be added to the topology, in the class that is named for it.
    pub fn place_of(&self, pool: &str) -> Result<Option<Place>, EngineError> {
        let deployment = self.deployment(pool);
        if matches!(&deployment, Ok(alone) if !kinds::is_of_topology(alone)) {
            return Ok(Some(Place::Own));
        }
        if let Some(at) = self.entry_of(pool) {
            return Ok(Some(Place::Topology(at)));
        }
        if self.has_topology() && self.spec.class_of(pool).is_some() {
            return Ok(None);
        }
        deployment.map(|_| Some(Place::Own))
    }

    /// Returns the object that specifies a pool: its `MachineDeployment`, or the Cluster with its topology.
    pub fn pool_spec(&self, pool: &str) -> Result<(Kind, &DynamicObject), EngineError> {
        Ok(match self.place_of(pool)? {
            Some(Place::Own) => (Kind::MachineDeployment, self.deployment(pool)?),
            Some(Place::Topology(_)) | None => (Kind::Cluster, &self.cluster),
        })
    }

    /// Returns the `MachineDeployment` of a pool. If Cluster API hasn't created it yet, the error may pass.
    pub fn made_deployment(&self, pool: &str) -> Result<&DynamicObject, EngineError> {
        let deployment = self.deployment(pool);
        if deployment.is_err() && self.entry_of(pool).is_some() {
            return Err(EngineError::Passing(Passing::new(
                "NotMadeYet",
                format!("Cluster API hasn't created the MachineDeployment of AgentPool {pool} yet"),
            )));
        }
        deployment
    }

    /// Returns where a `MachineDeployment` is specified.
    pub fn place(&self, deployment: &DynamicObject) -> Place {
        let name = kinds::label(deployment, TOPOLOGY_NAME);
        let entry = name.and_then(|name| self.entry(name));
        entry.map_or(Place::Own, Place::Topology)
    }

    /// Returns the index of a pool in its Cluster's topology.
    pub fn entry_of(&self, pool: &str) -> Option<usize> {
        self.entry(self.spec.deployment_of(pool))
    }

    fn entry(&self, name: &str) -> Option<usize> {
        let all = "/spec/topology/workers/machineDeployments";
        let all = self.cluster.data.pointer(all)?.as_array()?;
        all.iter().position(|one| one["name"] == name)
    }

    /// Returns the spec that says how many Machines a `MachineDeployment` has, and how they are replaced.
    pub fn spec_of<'a>(&'a self, deployment: &'a DynamicObject) -> &'a Value {
        match self.place(deployment) {
            Place::Topology(at) => {
                &self.cluster.data["spec"]["topology"]["workers"]["machineDeployments"][at]
            }
            Place::Own => &deployment.data["spec"],
        }
    }

    /// Returns the spec of a Machine of a `MachineDeployment`.
    pub fn machine_spec_of<'a>(&'a self, deployment: &'a DynamicObject) -> &'a Value {
        let spec = self.spec_of(deployment);
        match self.place(deployment) {
            Place::Topology(_) => spec,
            Place::Own => &spec["template"]["spec"],
        }
    }

    /// Returns the desired state of a `MachineDeployment`.
    pub fn wanted(&self, deployment: &DynamicObject) -> Wanted {
        let spec = self.spec_of(deployment);
        // With this annotation, the topology keeps it on its version.
        let is_deferred = !spec["metadata"]["annotations"][kinds::DEFER_UPGRADE].is_null();
        let version = match self.place(deployment) {
            Place::Topology(_) if !is_deferred => {
                kinds::version(&self.cluster, "/spec/topology/version")
            }
            Place::Topology(_) | Place::Own => {
                kinds::version(deployment, "/spec/template/spec/version")
            }
        };
        // A topology may leave the number to others.
        let replicas = spec["replicas"].as_u64();
        let replicas = replicas.and_then(|replicas| usize::try_from(replicas).ok());
        let own = || kinds::count(deployment, "/spec/replicas");
        Wanted {
            version,
            replicas: replicas.or_else(own).unwrap_or_default(),
        }
    }

    /// Returns the `MachineSets` of a `MachineDeployment`.
    pub fn sets_of(&self, deployment: &DynamicObject) -> impl Iterator<Item = &DynamicObject> {
        let name = deployment.name_any();
        let sets = self.objects.sets.iter().map(Arc::as_ref);
        sets.filter(move |set| kinds::label(set, DEPLOYMENT_NAME) == Some(&name))
    }

    /// Returns how many Machines the `MachineSets` of a `MachineDeployment` should have. Cluster API creates the
    /// missing ones at once.
    pub fn ordered(&self, deployment: &DynamicObject) -> usize {
        let sets = self.sets_of(deployment);
        sets.filter_map(|set| kinds::count(set, "/spec/replicas"))
            .sum()
    }

    /// Returns the Machines of a `MachineDeployment`.
    pub fn machines_of(&self, deployment: &DynamicObject) -> Vec<&DynamicObject> {
        let name = deployment.name_any();
        let machines = self.objects.machines.iter().map(Arc::as_ref);
        machines
            .filter(|machine| kinds::label(machine, DEPLOYMENT_NAME) == Some(&name))
            .collect()
    }

    /// Returns all Machines.
    pub fn machines(&self) -> Vec<&DynamicObject> {
        self.objects.machines.iter().map(Arc::as_ref).collect()
    }

    /// Returns the Machines of the control plane.
    pub fn machines_of_control_plane(&self) -> Vec<&DynamicObject> {
        let machines = self.objects.machines.iter().map(Arc::as_ref);
        machines
            .filter(|machine| kinds::label(machine, CONTROL_PLANE).is_some())
            .collect()
    }
}

/// Returns the name of a `MachineDeployment`, as people know it.
fn name_of(deployment: &DynamicObject) -> &str {
    kinds::label(deployment, TOPOLOGY_NAME)
        .or(deployment.metadata.name.as_deref())
        .unwrap_or_default()
}

/// Returns the name of the Cluster.
pub fn cluster_name(site: &Site) -> &str {
    let settings = site.provider.cluster_api.as_ref();
    settings.map_or("", |settings| &settings.cluster_name)
}

/// Returns the error for a Cluster that doesn't exist.
pub fn no_cluster(site: &Site) -> OperationError {
    let name = cluster_name(site);
    OperationError::new(
        "ClusterNotFound",
        format!(
            "Cluster {name} (cluster.x-k8s.io) does not exist in namespace {}: create it, or create a new ManagedCluster with the right spec.provider.clusterAPI.clusterName",
            site.namespace
        ),
    )
}
