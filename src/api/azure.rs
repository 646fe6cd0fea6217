//! `spec.provider.azure`: the AKS cluster that a `ManagedCluster` operates. It exists already: Belay creates no AKS
//! cluster.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::cluster_api::DeletionPolicy;

/// Settings of the provider on AKS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.subscriptionId == oldSelf.subscriptionId && self.resourceGroup == oldSelf.resourceGroup && self.name == oldSelf.name").message("subscriptionId, resourceGroup and name are immutable: create a new ManagedCluster for another AKS cluster"),
    validation = Rule::new("!has(self.deletionPolicy) || self.deletionPolicy == 'Retain'").message("Belay never deletes an AKS cluster: write Retain, or leave deletionPolicy out; to delete the cluster, use az aks delete").field_path(".deletionPolicy"),
)]
pub struct AzureProviderSpec {
    /// The id of the subscription.
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message("must be the id of a subscription, for example 00000000-1111-2222-3333-444444444444 (az account show --query id)"))]
    pub subscription_id: String,

    /// The resource group of the cluster.
    #[schemars(length(min = 1, max = 90))]
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9_.()]*[-A-Za-z0-9_()]$')").message("must be the name of a resource group: letters, digits, '-', '_', '.' and parentheses, without a '.' at the end"))]
    pub resource_group: String,

    /// The cluster's name in Azure.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?$')").message("must be the name of an AKS cluster: letters, digits, '-' and '_', with a letter or digit at both ends"))]
    pub name: String,

    /// The node pool of each `AgentPool`, by the name of the `AgentPool`. A pool that isn't listed has a node pool of
    /// the same name, which stays in Azure when the `AgentPool` is deleted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub node_pools: BTreeMap<String, AzureNodePool>,

    /// A Secret in the same namespace with `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`. If absent,
    /// Belay uses the operator's own workload identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: Option<String>,

    /// A Secret in the same namespace whose key `kubeconfig` lets Belay list the nodes, pods and `PodDisruptionBudgets`
    /// of the cluster. The kubeconfig has a token, or certificates as data. With this Secret, an Operation shows which
    /// pod and which budget block a drain. Without it, an Operation shows what AKS reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub kubeconfig_secret: Option<String>,

    /// What happens to the AKS cluster when the `ManagedCluster` is deleted. It always stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// The node pool of an `AgentPool`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureNodePool {
    /// Its name in Azure. If absent, the name of the `AgentPool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z][a-z0-9]*$')").message("must be the name of a node pool: at most 12 lowercase letters and digits, starting with a letter"))]
    pub name: Option<String>,

    /// What happens to the node pool when the `AgentPool` is deleted. If absent, it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

impl AzureProviderSpec {
    /// The name of a pool's node pool in Azure.
    pub fn node_pool_of<'a>(&'a self, pool: &'a str) -> &'a str {
        let listed = self.node_pools.get(pool);
        listed
            .and_then(|listed| listed.name.as_deref())
            .unwrap_or(pool)
    }

    /// The `AgentPool` of a node pool.
    pub fn pool_of<'a>(&'a self, node_pool: &'a str) -> &'a str {
        let mut listed = self.node_pools.iter();
        let pool = listed.find(|(_, listed)| listed.name.as_deref() == Some(node_pool));
        pool.map_or(node_pool, |(pool, _)| pool)
    }

    /// Whether a pool's node pool stays when the `AgentPool` is deleted.
    pub fn retains(&self, pool: &str) -> bool {
        let listed = self.node_pools.get(pool);
        listed.and_then(|listed| listed.deletion_policy) != Some(DeletionPolicy::Delete)
    }
}
