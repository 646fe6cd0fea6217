//! Belay's objects in a namespace, as the benchmarks read and change them.

use std::fmt::Debug;

use kube::{
    Api, Client, Resource,
    api::{ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use belay::api::{ABORT_ANNOTATION, Operation};

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

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn list<K>(&self) -> anyhow::Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        Ok(self.api::<K>().list(&ListParams::default()).await?.items)
    }

    /// Applies a merge patch to an object.
    pub async fn patch<K>(&self, name: &str, patch: &Value) -> anyhow::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
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
