//! Clusters and pools, and the changes that people make to them.

use std::collections::BTreeMap;

use belay::api::{AgentPool, ManagedCluster, Operation, OperationPhase, OperationType};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::{clusters, objects::Objects, stage::until};

/// The number of requests that people make at once.
const AT_ONCE: usize = 16;

/// The clusters of a namespace.
pub struct Fleet {
    pub objects: Objects,
}

impl Fleet {
    pub fn of(client: &Client, namespace: &str) -> Self {
        Self {
            objects: Objects::new(client.clone(), namespace),
        }
    }

    /// Creates this many clusters with this many pools each.
    pub async fn create(&self, clusters: usize, pools: usize) -> anyhow::Result<()> {
        let made = (0..clusters).map(|number| clusters::create(&self.objects, number, pools));
        stream::iter(made)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Waits until this many clusters, with this many pools each, are Ready, and nothing is in flight.
    pub async fn is_ready(&self, clusters: usize, pools: usize) -> anyhow::Result<()> {
        until("Ready", async || {
            let all: Vec<ManagedCluster> = self.objects.list().await?;
            let is_free = |cluster: &ManagedCluster| {
                let status = cluster.status.as_ref();
                status.is_some_and(|status| {
                    status.operations.is_empty() && status.last_operation.is_some()
                })
            };
            // Checked first, because there are many more Operations than clusters.
            if !all.iter().all(is_free) {
                return Ok(false);
            }
            let ended = self
                .operations(|operation| is(operation, OperationPhase::Succeeded))
                .await?;
            Ok(ended.len() >= clusters * (1 + pools))
        })
        .await
    }

    /// Returns the names of the chosen Operations, by their targets.
    pub async fn operations(
        &self,
        is_meant: impl Fn(&Operation) -> bool,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let all = self.objects.list::<Operation>().await?;
        let meant = all.iter().filter(|operation| is_meant(operation));
        Ok(meant
            .map(|operation| (operation.spec.target.name.clone(), operation.name_any()))
            .collect())
    }

    /// Makes pools start a node that takes an hour to come up. Returns the Operations, once all are in flight.
    pub async fn hang(&self, clusters: usize) -> anyhow::Result<Vec<String>> {
        let slow = clusters::slow();
        let more = json!({"spec": {"count": 1}});
        let (slow, more) = (&slow, &more);
        let begun = (0..clusters).map(|number| async move {
            self.objects
                .patch::<ManagedCluster>(&clusters::name(number), slow)
                .await?;
            self.objects
                .patch::<AgentPool>(&clusters::pool_of(number, 0), more)
                .await
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
