//! The clusters and pools of the benchmark, and the changes that people make to them.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use belay::api::{
    AgentPool, ManagedCluster, Operation, OperationPhase, OperationType, ProvisioningState,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde_json::json;

use super::{clusters, objects::Objects};

/// The namespace of all objects.
pub const NAMESPACE: &str = "load";
/// The number of requests that people make at once.
const AT_ONCE: usize = 32;
/// How long to wait for the whole fleet.
const PATIENCE: Duration = Duration::from_mins(30);

/// The clusters and their pools.
pub struct Fleet {
    client: Client,
    pub objects: Objects,
}

impl Fleet {
    pub fn new(client: Client) -> Self {
        let objects = Objects::new(client.clone(), NAMESPACE);
        Self { client, objects }
    }

    /// Creates clusters with this many pools each, and waits until all of them are Ready.
    pub async fn create(&self, clusters: usize, pools: usize) -> anyhow::Result<()> {
        let made = (0..clusters).map(|number| clusters::create(&self.objects, number, pools));
        stream::iter(made)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let began = Instant::now();
        loop {
            let all = self.objects.list::<ManagedCluster>().await?;
            let of_clusters = all.iter().filter(|cluster| {
                let status = cluster.status.as_ref();
                let state = status.and_then(|status| status.provisioning_state);
                state == Some(ProvisioningState::Succeeded)
                    && status.is_some_and(|status| status.operations.is_empty())
            });
            let all = self.objects.list::<AgentPool>().await?;
            let of_pools = all.iter().filter(|pool| {
                let status = pool.status.as_ref();
                let state = status.and_then(|status| status.provisioning_state);
                state == Some(ProvisioningState::Succeeded)
            });
            let ready = (of_clusters.count(), of_pools.count());
            if ready == (clusters, clusters * pools) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("only {} clusters and {} pools are Ready", ready.0, ready.1);
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    /// Makes this many clusters start a node that takes an hour to come up. Returns the Operations.
    pub async fn begin(&self, operations: usize) -> anyhow::Result<Vec<String>> {
        let slow = clusters::slow();
        let more = json!({"spec": {"count": 1}});
        for number in 0..operations {
            let cluster = clusters::name(number);
            self.objects
                .patch::<ManagedCluster>(&cluster, &slow)
                .await?;
        }
        for number in 0..operations {
            self.objects
                .patch::<AgentPool>(&clusters::pool_of(number, 0), &more)
                .await?;
        }
        let began = Instant::now();
        loop {
            let all = self.objects.list::<Operation>().await?;
            let in_flight = all.iter().filter(|operation| {
                let status = operation.status.as_ref();
                let phase = status.map(|status| status.phase);
                operation.spec.type_ == OperationType::Scale
                    && phase == Some(OperationPhase::InProgress)
            });
            let names: Vec<_> = in_flight.map(kube::ResourceExt::name_any).collect();
            if names.len() == operations {
                return Ok(names);
            }
            ensure!(began.elapsed() < PATIENCE, "only {} in flight", names.len());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until all of these Operations are in that phase.
    pub async fn all_are(&self, names: &[String], phase: OperationPhase) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let all = self.objects.list::<Operation>().await?;
            let so = all.iter().filter(|operation| {
                let status = operation.status.as_ref();
                names.contains(&operation.name_any())
                    && status.is_some_and(|status| status.phase == phase)
            });
            let so = so.count();
            if so == names.len() {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "only {so} are {phase:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Checks that everything that was created still exists, that nothing else was created, and that nothing is in
    /// flight.
    pub async fn lost_nothing(
        &self,
        clusters: usize,
        pools: usize,
        canceled: &[String],
    ) -> anyhow::Result<()> {
        let operations = self.objects.list::<Operation>().await?;
        let of_phase = |phase: OperationPhase| {
            let of_phase = operations.iter().filter(|operation| {
                let status = operation.status.as_ref();
                status.is_some_and(|status| status.phase == phase)
            });
            of_phase.count()
        };
        let ended = (
            operations.len(),
            of_phase(OperationPhase::Succeeded),
            of_phase(OperationPhase::Canceled),
        );
        let made = clusters * (1 + pools);
        let expected = (made + canceled.len(), made, canceled.len());
        ensure!(
            ended == expected,
            "Operations, Succeeded, Canceled: {ended:?}, not {expected:?}"
        );
        let began = Instant::now();
        loop {
            let nodes = Api::<Node>::all(self.client.clone());
            let nodes = nodes.list(&ListParams::default()).await?.items.len();
            let all = self.objects.list::<ManagedCluster>().await?;
            let locked = all.iter().filter(|cluster| {
                let status = cluster.status.as_ref();
                status.is_some_and(|status| !status.operations.is_empty())
            });
            let locked = locked.count();
            if (nodes, locked) == (0, 0) {
                return Ok(());
            }
            // The lock is released a moment after the end.
            ensure!(
                began.elapsed() < Duration::from_secs(30),
                "{nodes} half-made nodes are left, {locked} clusters are locked"
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
