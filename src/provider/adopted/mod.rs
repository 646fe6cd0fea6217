//! Clusters that exist already, at a cloud or in Cluster API: what takes them under Belay's operations, and what their
//! providers have in common. The manifests ask for what is there, so that applying them begins no operation.

#[cfg(any(feature = "aws", feature = "azure"))]
pub mod credentials;
#[cfg(any(feature = "aws", feature = "azure"))]
pub mod handle;
#[cfg(any(feature = "aws", feature = "azure"))]
pub mod inside;
#[cfg(any(feature = "aws", feature = "azure"))]
pub mod labels;
#[cfg(any(feature = "aws", feature = "azure"))]
pub mod rested;

use std::collections::BTreeSet;

use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::api::AgentPool;

/// What takes a cluster under Belay's operations.
pub struct Adopted {
    /// The `ManagedCluster`, then its `AgentPools`.
    pub manifests: Vec<Value>,
    /// What of the cluster Belay doesn't operate, and why.
    pub left_out: Vec<String>,
}

/// A manifest of that kind.
pub fn manifest(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "belay.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// The names of `AgentPools` of a namespace that belong to other clusters.
///
/// # Errors
/// Where they can't be listed.
pub async fn pools_of_others(
    client: &Client,
    namespace: &str,
    cluster: &str,
) -> kube::Result<BTreeSet<String>> {
    let pools = Api::<AgentPool>::namespaced(client.clone(), namespace);
    let listed = pools.list(&ListParams::default()).await?;
    let others = listed
        .iter()
        .filter(|pool| pool.spec.cluster_name != cluster);
    Ok(others.map(ResourceExt::name_any).collect())
}
