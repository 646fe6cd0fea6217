//! `spec.provider.aws`: the EKS cluster that a `ManagedCluster` operates. It exists already: Belay creates no EKS
//! cluster.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::cluster_api::DeletionPolicy;

/// Settings of the provider on EKS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.region == oldSelf.region && self.name == oldSelf.name").message("region and name are immutable: create a new ManagedCluster for another EKS cluster"),
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy == 'Retain'").message("Belay never deletes an EKS cluster: write Retain, or leave deletionPolicy out; to delete the cluster, use aws eks delete-cluster").field_path(".deletionPolicy"),
)]
pub struct AwsProviderSpec {
    /// The region of the cluster.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,}(-[a-z]+)+-[0-9]+$')").message("must be the name of a region, for example eu-west-1"))]
    pub region: String,

    /// The cluster's name in AWS.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9A-Za-z][-A-Za-z0-9_]*$')").message("must be the name of an EKS cluster: letters, digits, '-' and '_', starting with a letter or digit"))]
    pub name: String,

    /// The nodegroup of each `AgentPool`, by the name of the `AgentPool`. A pool that isn't listed has a nodegroup of
    /// the same name, which stays in AWS when the `AgentPool` is deleted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub nodegroups: BTreeMap<String, AwsNodegroup>,

    /// A Secret in the same namespace with `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for temporary credentials,
    /// `AWS_SESSION_TOKEN`. If absent, Belay uses the operator's own identity: that of its service account, by EKS Pod
    /// Identity or by IRSA.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: Option<String>,

    /// A Secret in the same namespace whose key `kubeconfig` lets Belay list the nodes, pods and `PodDisruptionBudgets`
    /// of the cluster. The kubeconfig has a token, or certificates as data. With this Secret, an Operation shows which
    /// pod and which budget block a drain. Without it, an Operation shows what EKS reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub kubeconfig_secret: Option<String>,

    /// What happens to the EKS cluster when the `ManagedCluster` is deleted. It always stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// The nodegroup of an `AgentPool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsNodegroup {
    /// Its name in AWS. If absent, the name of the `AgentPool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9A-Za-z][-A-Za-z0-9_]*$')").message("must be the name of a nodegroup: letters, digits, '-' and '_', starting with a letter or digit"))]
    pub name: Option<String>,

    /// What happens to the nodegroup when the `AgentPool` is deleted. If absent, it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

impl AwsProviderSpec {
    /// The name of a pool's nodegroup.
    pub fn nodegroup_of<'a>(&'a self, pool: &'a str) -> &'a str {
        let listed = self.nodegroups.get(pool);
        listed
            .and_then(|listed| listed.name.as_deref())
            .unwrap_or(pool)
    }

    /// The `AgentPool` of a nodegroup.
    pub fn pool_of<'a>(&'a self, nodegroup: &'a str) -> &'a str {
        let mut listed = self.nodegroups.iter();
        let pool = listed.find(|(_, listed)| listed.name.as_deref() == Some(nodegroup));
        pool.map_or(nodegroup, |(pool, _)| pool)
    }

    /// Whether a pool's nodegroup stays when the `AgentPool` is deleted.
    pub fn retains(&self, pool: &str) -> bool {
        let listed = self.nodegroups.get(pool);
        listed.and_then(|listed| listed.deletion_policy) != Some(DeletionPolicy::Delete)
    }
}
