//! Managed clusters and their agent pools, as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::SUBSCRIPTION;

/// A pool of a new cluster.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number of its nodes.
    pub count: u32,
    /// `System` or `User`.
    pub mode: &'a str,
}

/// Identifies a cluster, or a pool of a cluster. Names aren't case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    group: String,
    cluster: String,
    pool: Option<String>,
}

impl Id {
    /// Returns the id of a cluster.
    pub fn cluster(group: &str, name: &str) -> Self {
        Self {
            group: group.to_ascii_lowercase(),
            cluster: name.to_ascii_lowercase(),
            pool: None,
        }
    }

    /// Returns the id of a pool of this cluster.
    pub fn pool(&self, name: &str) -> Self {
        Self {
            pool: Some(name.to_ascii_lowercase()),
            ..self.clone()
        }
    }

    /// Returns the id of its cluster.
    pub fn of_cluster(&self) -> Self {
        Self {
            pool: None,
            ..self.clone()
        }
    }

    /// Whether this is a pool.
    pub fn is_pool(&self) -> bool {
        self.pool.is_some()
    }

    /// Returns its own name.
    pub fn name(&self) -> &str {
        self.pool.as_deref().unwrap_or(&self.cluster)
    }

    /// Whether an operation on this resource prevents an operation on the other one.
    pub fn excludes(&self, other: &Self) -> bool {
        let same_cluster = self.of_cluster() == other.of_cluster();
        same_cluster && (self.pool == other.pool || self.pool.is_none() || other.pool.is_none())
    }

    /// Returns its path as Azure writes it.
    pub fn path(&self) -> String {
        let cluster = format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/{}/providers/Microsoft.ContainerService/managedClusters/{}",
            self.group, self.cluster
        );
        match &self.pool {
            Some(pool) => format!("{cluster}/agentPools/{pool}"),
            None => cluster,
        }
    }
}

/// The properties that only Azure writes.
const READ_ONLY: [&str; 5] = [
    "provisioningState",
    "currentKubernetesVersion",
    "currentOrchestratorVersion",
    "nodeImageVersion",
    "eTag",
];

/// All clusters and pools.
#[derive(Default)]
pub(super) struct Resources {
    all: BTreeMap<Id, Value>,
    writes: u64,
}

impl Resources {
    /// Creates a cluster with its pools.
    pub fn create(&mut self, group: &str, name: &str, version: &str, pools: &[Pool<'_>]) {
        let id = Id::cluster(group, name);
        let cluster = json!({
            "id": id.path(), "name": name, "type": "Microsoft.ContainerService/ManagedClusters",
            "location": "westeurope", "identity": {"type": "SystemAssigned"},
            "sku": {"name": "Base", "tier": "Free"}, "tags": {"owner": "platform"},
            "properties": {
                "provisioningState": "Succeeded", "powerState": {"code": "Running"},
                "kubernetesVersion": version, "currentKubernetesVersion": version,
                "dnsPrefix": name, "fqdn": format!("{name}.hcp.westeurope.azmk8s.io"), "enableRBAC": true,
                "nodeResourceGroup": format!("MC_{group}_{name}"), "maxAgentPools": 100,
                "networkProfile": {"networkPlugin": "azure", "loadBalancerSku": "standard"},
            },
        });
        self.write(&id, cluster);
        for pool in pools {
            let properties = json!({
                "count": pool.count, "mode": pool.mode, "vmSize": "Standard_D4s_v5", "osType": "Linux",
                "osDiskSizeGB": 128, "osDiskType": "Managed", "maxPods": 110, "type": "VirtualMachineScaleSets",
                "enableAutoScaling": false, "orchestratorVersion": version,
                "currentOrchestratorVersion": version, "provisioningState": "Succeeded",
                "powerState": {"code": "Running"}, "upgradeSettings": {"maxSurge": "10%"},
                "nodeImageVersion": "AKSUbuntu-2404gen2containerd-202611.01.0",
            });
            let id = id.pool(pool.name);
            self.write(&id, resource_of_pool(&id, &properties));
        }
    }

    /// Returns a resource as it is stored; a cluster without its pools.
    pub fn get(&self, id: &Id) -> Option<&Value> {
        self.all.get(id)
    }

    /// Returns a resource as Azure shows it.
    pub fn shown(&self, id: &Id) -> Option<Value> {
        let mut shown = self.get(id)?.clone();
        if !id.is_pool() {
            let profiles = self.pools_of(id).map(|(_, pool)| {
                let mut profile = pool["properties"].clone();
                profile["name"] = pool["name"].clone();
                profile
            });
            shown["properties"]["agentPoolProfiles"] = profiles.collect();
        }
        Some(shown)
    }

    /// Returns the pools of a cluster.
    pub fn pools_of(&self, cluster: &Id) -> impl Iterator<Item = (&Id, &Value)> {
        let of = cluster.clone();
        let all = self.all.iter();
        all.filter(move |(id, _)| id.is_pool() && id.of_cluster() == of)
    }

    /// Returns a text property of a resource.
    pub fn text(&self, id: &Id, pointer: &str) -> Option<&str> {
        self.get(id)?["properties"].pointer(pointer)?.as_str()
    }

    /// Sets a property of a resource.
    pub fn set(&mut self, id: &Id, property: &str, value: Value) {
        if let Some(mut resource) = self.get(id).cloned() {
            resource["properties"][property] = value;
            self.write(id, resource);
        }
    }

    /// Replaces a resource by the body of a request: what the body leaves out is removed, and what only Azure writes
    /// stays.
    pub fn put(&mut self, id: &Id, body: &Value) {
        let before = self.get(id).cloned().unwrap_or_default();
        let mut resource = if id.is_pool() {
            resource_of_pool(id, &body["properties"])
        } else {
            let mut cluster = body.clone();
            for own in ["id", "name", "type"] {
                cluster[own] = before[own].clone();
            }
            if let Some(properties) = cluster["properties"].as_object_mut() {
                properties.remove("agentPoolProfiles");
            }
            cluster
        };
        for property in READ_ONLY {
            let kept = &before["properties"][property];
            if !kept.is_null() {
                resource["properties"][property] = kept.clone();
            }
        }
        self.write(id, resource);
    }

    /// Removes a resource.
    pub fn remove(&mut self, id: &Id) {
        self.all.remove(id);
    }

    fn write(&mut self, id: &Id, mut resource: Value) {
        self.writes += 1;
        let tag = json!(format!("etag-{}", self.writes));
        if id.is_pool() {
            resource["properties"]["eTag"] = tag;
        } else {
            resource["eTag"] = tag;
        }
        self.all.insert(id.clone(), resource);
    }
}

/// Returns the tag that changes with each write of a resource.
pub(super) fn tag(resource: &Value) -> Option<&str> {
    let own = resource.get("eTag");
    own.unwrap_or(&resource["properties"]["eTag"]).as_str()
}

fn resource_of_pool(id: &Id, properties: &Value) -> Value {
    json!({"id": id.path(), "name": id.name(), "type": "Microsoft.ContainerService/managedClusters/agentPools",
        "properties": properties})
}
