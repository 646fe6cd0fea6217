//! Adopts clusters that already exist, at a cloud or in Cluster API, and contains what their providers have in common.
//! The manifests ask for the existing state, so that applying them begins no operation.

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

use std::collections::{BTreeMap, BTreeSet};

use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::api::{AgentPool, KubernetesVersion};

/// The result of an adoption, which puts a cluster under Belay's operations.
pub struct Adopted {
    /// The `ManagedCluster`, then its `AgentPools`.
    pub manifests: Vec<Value>,
    /// The parts of the cluster that Belay doesn't operate, and why.
    pub left_out: Vec<String>,
}

/// A cluster that is being adopted, pool by pool.
pub struct Adoption<'a> {
    namespace: &'a str,
    name: &'a str,
    version: Option<KubernetesVersion>,
    /// The names of `AgentPools` of the namespace that belong to other clusters.
    taken: BTreeSet<String>,
    pools: Vec<Value>,
    names: BTreeMap<String, String>,
}

impl<'a> Adoption<'a> {
    /// Begins with a cluster without pools, in a namespace. `name` is the `ManagedCluster`'s, `version` the control
    /// plane's.
    ///
    /// # Errors
    /// If the `AgentPools` of the namespace can't be listed.
    pub async fn begin(
        client: &Client,
        (namespace, name): (&'a str, &'a str),
        version: Option<KubernetesVersion>,
    ) -> kube::Result<Self> {
        Ok(Self {
            namespace,
            name,
            version,
            taken: pools_of_others(client, namespace, name).await?,
            pools: Vec::new(),
            names: BTreeMap::new(),
        })
    }

    /// Adds a pool by its name at the engine. `version` is the pool's own, and `spec` is everything else that its
    /// `AgentPool` asks for.
    pub fn add(&mut self, at_engine: &str, version: Option<KubernetesVersion>, mut spec: Value) {
        let pool = pool_name(at_engine, self.name, self.taken.contains(at_engine));
        spec["clusterName"] = json!(self.name);
        if let Some(own) = version.filter(|own| Some(*own) != self.version) {
            spec["kubernetesVersion"] = json!(own.to_string());
        }
        let pool_manifest = manifest("AgentPool", self.namespace, &pool, &spec);
        self.pools.push(pool_manifest);
        if pool != at_engine {
            self.names.insert(pool, at_engine.to_owned());
        }
    }

    /// Returns the pools that have another name at the engine, each with that name.
    pub fn names(&self) -> &BTreeMap<String, String> {
        &self.names
    }

    /// Returns the manifests. `spec` is everything else that the `ManagedCluster` asks for.
    pub fn finish(self, mut spec: Value) -> Vec<Value> {
        spec["kubernetesVersion"] = json!(self.version.map(|version| version.to_string()));
        let cluster = manifest("ManagedCluster", self.namespace, self.name, &spec);
        [cluster].into_iter().chain(self.pools).collect()
    }
}

/// Returns the name of an `AgentPool`: its name at the engine, if Kubernetes allows it and no other cluster's pool has
/// it. Otherwise a similar name.
fn pool_name(at_engine: &str, cluster: &str, is_taken: bool) -> String {
    let small = at_engine.to_lowercase().replace('_', "-");
    let small = small.trim_matches('-');
    if is_taken {
        format!("{cluster}-{small}")
    } else {
        small.to_owned()
    }
}

/// Returns a manifest of that kind.
fn manifest(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "belay.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

async fn pools_of_others(
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

#[cfg(test)]
mod tests {
    use super::pool_name;

    #[test]
    fn a_pool_name_that_kubernetes_does_not_accept_is_converted() {
        for (at_engine, is_taken, pool) in [
            ("np1", false, "np1"),
            ("General_Purpose", false, "general-purpose"),
            ("np1", true, "demo-np1"),
        ] {
            assert_eq!(pool_name(at_engine, "demo", is_taken), pool);
        }
    }
}
