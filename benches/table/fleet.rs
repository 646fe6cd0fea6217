//! Clusters and pools, and what people do with them.

use std::{collections::BTreeMap, fmt::Debug};

use belay::api::{AgentPool, ManagedCluster, Operation, OperationPhase, OperationType};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::stage::until;

/// How many requests people make at once.
const AT_ONCE: usize = 16;

/// The clusters of a namespace.
#[derive(Clone)]
pub struct Fleet {
    client: Client,
    namespace: String,
}

impl Fleet {
    pub fn of(client: &Client, namespace: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes so many clusters with so many pools each.
    pub async fn create(&self, clusters: usize, pools: usize) -> anyhow::Result<()> {
        let made = (0..clusters).map(|cluster| self.create_cluster(cluster, pools));
        stream::iter(made)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn create_cluster(&self, number: usize, pools: usize) -> anyhow::Result<()> {
        self.cluster(&cluster(number), &json!({})).await?;
        for pool in 0..pools {
            self.pool(&pool_of(number, pool), &cluster(number), 0)
                .await?;
        }
        Ok(())
    }

    /// Makes a cluster.
    pub async fn cluster(&self, name: &str, kwok: &Value) -> anyhow::Result<()> {
        let mut kwok = kwok.clone();
        kwok["nodeProvisioningTime"] = json!("0s");
        let spec = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": kwok}});
        let made = ManagedCluster::new(name, serde_json::from_value(spec)?);
        self.api().create(&PostParams::default(), &made).await?;
        Ok(())
    }

    /// Makes a pool.
    pub async fn pool(&self, name: &str, cluster: &str, count: i32) -> anyhow::Result<()> {
        let spec = json!({"clusterName": cluster, "count": count});
        let made = AgentPool::new(name, serde_json::from_value(spec)?);
        self.api().create(&PostParams::default(), &made).await?;
        Ok(())
    }

    /// Waits until so many clusters, with so many pools each, are Ready, and nothing is in flight.
    pub async fn is_ready(&self, clusters: usize, pools: usize) -> anyhow::Result<()> {
        until("Ready", async || {
            let made = clusters * (1 + pools);
            let ended = self
                .operations(|operation| is(operation, OperationPhase::Succeeded))
                .await?;
            if ended.len() < made {
                return Ok(false);
            }
            let all: Vec<ManagedCluster> = self.list().await?;
            let is_free = |cluster: &ManagedCluster| {
                let status = cluster.status.as_ref();
                status.is_some_and(|status| {
                    status.operations.is_empty() && status.last_operation.is_some()
                })
            };
            Ok(all.iter().all(is_free))
        })
        .await
    }

    /// The objects of a kind, by pages.
    pub async fn list<K>(&self) -> anyhow::Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        Ok(self.api::<K>().list(&ListParams::default()).await?.items)
    }

    /// The names of Operations, by their targets.
    pub async fn operations(
        &self,
        is_meant: impl Fn(&Operation) -> bool,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let all = self.list::<Operation>().await?;
        let meant = all.iter().filter(|operation| is_meant(operation));
        Ok(meant
            .map(|operation| (operation.spec.target.name.clone(), operation.name_any()))
            .collect())
    }

    /// Merges a change into an object.
    pub async fn patch<K>(&self, name: &str, patch: &Value) -> anyhow::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Has pools make a node that comes up in an hour. The Operations that do it, once all are in flight.
    pub async fn hang(&self, clusters: usize) -> anyhow::Result<Vec<String>> {
        let slow = json!({"spec": {"provider": {"kwok": {"nodeProvisioningTime": "1h"}}}});
        let more = json!({"spec": {"count": 1}});
        let (slow, more) = (&slow, &more);
        let begun = (0..clusters).map(|number| async move {
            self.patch::<ManagedCluster>(&cluster(number), slow).await?;
            self.patch::<AgentPool>(&pool_of(number, 0), more).await
        });
        stream::iter(begun)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let in_flight = |operation: &Operation| {
            operation.spec.type_ == OperationType::Scale
                && is(operation, OperationPhase::InProgress)
        };
        until("in flight", async || {
            Ok(self.operations(in_flight).await?.len() >= clusters)
        })
        .await?;
        Ok(self.operations(in_flight).await?.into_values().collect())
    }
}

/// Whether an Operation is in that phase.
pub fn is(operation: &Operation, phase: OperationPhase) -> bool {
    operation
        .status
        .as_ref()
        .is_some_and(|status| status.phase == phase)
}

pub fn cluster(number: usize) -> String {
    format!("c{number}")
}

pub fn pool_of(cluster: usize, pool: usize) -> String {
    format!("c{cluster}-p{pool}")
}
