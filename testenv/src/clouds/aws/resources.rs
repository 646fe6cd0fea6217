//! Clusters and their nodegroups, as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ACCOUNT, REGION, now, versions};

/// The suffix of nodegroup names.
const UNIQUE: &str = "00000000-1111-2222-3333-444444444444";

/// A nodegroup of a new cluster.
#[derive(Clone, Copy, Debug)]
pub struct Nodegroup<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number of its nodes.
    pub size: u32,
}

/// Identifies a cluster, or a nodegroup of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    cluster: String,
    nodegroup: Option<String>,
}

impl Id {
    /// Returns the id of a cluster.
    pub fn cluster(name: &str) -> Self {
        Self {
            cluster: name.to_owned(),
            nodegroup: None,
        }
    }

    /// Returns the id of a nodegroup of this cluster.
    pub fn nodegroup(&self, name: &str) -> Self {
        Self {
            nodegroup: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// Returns the id of its cluster.
    pub fn of_cluster(&self) -> Self {
        Self::cluster(&self.cluster)
    }

    /// Returns the name of its cluster.
    pub fn cluster_name(&self) -> &str {
        &self.cluster
    }

    /// Returns the name of the nodegroup; `None` if this is a cluster.
    pub fn nodegroup_name(&self) -> Option<&str> {
        self.nodegroup.as_deref()
    }

    /// Whether this is a nodegroup.
    pub fn is_nodegroup(&self) -> bool {
        self.nodegroup.is_some()
    }

    /// Returns its own name.
    pub fn name(&self) -> &str {
        self.nodegroup.as_deref().unwrap_or(&self.cluster)
    }

    /// Whether an update of this resource prevents an update of the other one.
    pub fn excludes(&self, other: &Self) -> bool {
        let same_cluster = self.cluster == other.cluster;
        let same = self.nodegroup == other.nodegroup;
        same_cluster && (same || !self.is_nodegroup() || !other.is_nodegroup())
    }

    /// Describes the resource in words.
    pub fn what(&self) -> String {
        let kind = if self.is_nodegroup() {
            "nodegroup"
        } else {
            "cluster"
        };
        format!("{kind} {}", self.name())
    }
}

/// All clusters and nodegroups.
#[derive(Default)]
pub(super) struct Resources {
    all: BTreeMap<Id, Value>,
}

impl Resources {
    /// Creates a cluster with its nodegroups.
    pub fn create(&mut self, name: &str, version: &str, is_auto: bool, groups: &[Nodegroup<'_>]) {
        let id = Id::cluster(name);
        self.all.insert(id.clone(), cluster(name, version, is_auto));
        for group in groups {
            let made = nodegroup(name, version, *group);
            self.all.insert(id.nodegroup(group.name), made);
        }
    }

    /// Returns a resource as EKS shows it.
    pub fn get(&self, id: &Id) -> Option<&Value> {
        self.all.get(id)
    }

    /// Returns a resource, to change it.
    pub fn get_mut(&mut self, id: &Id) -> Option<&mut Value> {
        self.all.get_mut(id)
    }

    /// Returns a text field of a resource; empty if it doesn't exist.
    pub fn text(&self, id: &Id, field: &str) -> &str {
        let resource = self.get(id);
        let text = resource.and_then(|resource| resource[field].as_str());
        text.unwrap_or_default()
    }

    /// Whether EKS Auto Mode manages the nodes of a cluster.
    pub fn is_auto(&self, cluster: &Id) -> bool {
        let cluster = self.get(cluster);
        cluster.is_some_and(|cluster| cluster["computeConfig"]["enabled"] == true)
    }

    /// Returns the names of all clusters.
    pub fn clusters(&self) -> Vec<String> {
        let all = self.all.keys().filter(|id| !id.is_nodegroup());
        all.map(|id| id.name().to_owned()).collect()
    }

    /// Returns the nodegroups of a cluster.
    pub fn nodegroups_of(&self, cluster: &Id) -> impl Iterator<Item = &Id> {
        let all = self.all.keys().filter(|id| id.is_nodegroup());
        all.filter(move |id| id.cluster == cluster.cluster)
    }

    /// Sets fields of a resource.
    pub fn set(&mut self, id: &Id, fields: &Value) {
        let resource = self.all.get_mut(id).and_then(Value::as_object_mut);
        let (Some(resource), Some(fields)) = (resource, fields.as_object()) else {
            return;
        };
        for (field, value) in fields {
            if value.is_null() {
                resource.remove(field);
            } else {
                resource.insert(field.clone(), value.clone());
            }
        }
    }

    /// Sets the status of a resource.
    pub fn set_status(&mut self, id: &Id, status: &str) {
        self.set(id, &json!({"status": status}));
    }

    /// Removes a resource.
    pub fn remove(&mut self, id: &Id) {
        self.all.remove(id);
    }
}

fn cluster(name: &str, version: &str, is_auto: bool) -> Value {
    let pools = if is_auto {
        json!(["general-purpose", "system"])
    } else {
        json!([])
    };
    json!({
        "name": name, "arn": format!("arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{name}"), "version": version,
        "status": "ACTIVE", "platformVersion": versions::PLATFORM, "createdAt": now().as_second(),
        "endpoint": format!("https://0123456789ABCDEF.gr7.{REGION}.eks.amazonaws.com"),
        "roleArn": format!("arn:aws:iam::{ACCOUNT}:role/eks"), "certificateAuthority": {"data": ""},
        "resourcesVpcConfig": {"vpcId": "vpc-1", "subnetIds": ["subnet-1"], "securityGroupIds": [],
            "endpointPublicAccess": true, "endpointPrivateAccess": false},
        "kubernetesNetworkConfig": {"serviceIpv4Cidr": "10.100.0.0/16", "ipFamily": "ipv4",
            "elasticLoadBalancing": {"enabled": is_auto}},
        "logging": {"clusterLogging": []}, "health": {"issues": []}, "tags": {"owner": "platform"},
        "accessConfig": {"authenticationMode": "API"}, "upgradePolicy": {"supportType": "EXTENDED"},
        "computeConfig": {"enabled": is_auto, "nodePools": pools},
        "storageConfig": {"blockStorage": {"enabled": is_auto}}, "deletionProtection": false,
    })
}

fn nodegroup(cluster: &str, version: &str, group: Nodegroup<'_>) -> Value {
    let (name, size) = (group.name, group.size);
    let arn = format!("arn:aws:eks:{REGION}:{ACCOUNT}:nodegroup/{cluster}/{name}/{UNIQUE}");
    json!({
        "nodegroupName": name, "nodegroupArn": arn, "clusterName": cluster, "version": version,
        "releaseVersion": versions::newest_release(version), "status": "ACTIVE", "capacityType": "ON_DEMAND",
        "scalingConfig": {"minSize": size.min(1), "maxSize": size.max(10), "desiredSize": size}, "instanceTypes": ["m5.large"],
        "amiType": "AL2023_x86_64_STANDARD", "diskSize": 20, "subnets": ["subnet-1"],
        "nodeRole": format!("arn:aws:iam::{ACCOUNT}:role/node"), "labels": {}, "updateConfig": {"maxUnavailable": 1},
        "health": {"issues": []}, "tags": {"owner": "platform"}, "createdAt": now().as_second(),
    })
}
