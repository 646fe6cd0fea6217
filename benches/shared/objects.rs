//! Belay's objects in a namespace, as the benchmarks read and change them.

use std::fmt::Debug;

use kube::{
    Api, Client, Resource,
    api::{ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use belay::api::{ABORT_ANNOTATION, Operation};

/// One of Belay's kinds.
pub trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// The objects of a namespace.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    namespace: String,
}

impl Objects {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn list<K: Kind>(&self) -> anyhow::Result<Vec<K>> {
        Ok(self.api::<K>().list(&ListParams::default()).await?.items)
    }

    /// Applies a merge patch to an object.
    pub async fn patch<K: Kind>(&self, name: &str, patch: &Value) -> anyhow::Result<()> {
        let (patch, params) = (Patch::Merge(patch), PatchParams::default());
        self.api::<K>().patch(name, &params, &patch).await?;
        Ok(())
    }

    /// Requests an abort.
    pub async fn abort(&self, operation: &str) -> anyhow::Result<()> {
        let asked = json!({"metadata": {"annotations": {ABORT_ANNOTATION: "a benchmark"}}});
        self.patch::<Operation>(operation, &asked).await
    }
}
