//! Nodes as Node objects on the cluster that Belay runs in, kept alive by kwok (sigs.k8s.io/kwok). The
//! scheduler, the pods, the Eviction API and the PodDisruptionBudgets are real.

mod control_plane;
mod machine;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Node;
use kube::Client;

use crate::{
    api::{KwokProviderSpec, OperationError, ProviderSpec},
    lifecycle::{ControlPlaneGoal, ControlPlaneView, Job, Observation, PoolGoal},
    machinery::watches::Scope,
};

use super::{
    Control, End,
    nodes::{self, Machines, NodeProvider},
};
use control_plane::Records;

/// Returns the provider on the cluster that `client` reaches, for the clusters of these namespaces, and the future that
/// keeps its watches running. `force_after` is how long a PDB has to refuse an eviction before a force deletes the pod.
pub fn provider(
    client: &Client,
    scope: &Scope,
    force_after: Duration,
) -> (NodeProvider, BoxFuture<'static, ()>) {
    NodeProvider::new(client.clone(), scope, force_after, |changed| {
        let (records, watching) = Records::new(client, scope, changed);
        (Kwok { records }, watching)
    })
}

/// Reads the current state of a cluster from the API server. It is for callers that look once, without watches.
///
/// # Errors
/// If it can't be read.
pub async fn look(client: &Client, namespace: &str, cluster: &str) -> kube::Result<Observation> {
    let (control_plane, nodes) = tokio::try_join!(
        control_plane::look(client, namespace, cluster),
        nodes::look(client, namespace, cluster)
    )?;
    Ok(Observation {
        control_plane,
        nodes,
        ..Observation::default()
    })
}

/// Returns how many nodes a cluster with these options may have. None if any number is allowed.
pub fn quota(provider: &ProviderSpec) -> Option<usize> {
    let quota = provider.kwok.as_ref().and_then(|kwok| kwok.max_nodes)?;
    usize::try_from(quota).ok()
}

/// Machines that don't exist: there are only Node objects.
struct Kwok {
    records: Records,
}

fn time(job: &Job, of: impl Fn(&KwokProviderSpec) -> kube::core::Duration) -> Duration {
    job.provider
        .kwok
        .as_ref()
        .map(of)
        .map(Into::into)
        .unwrap_or_default()
}

#[async_trait]
impl Machines for Kwok {
    fn node(&self, job: &Job, goal: &PoolGoal, name: &str) -> Node {
        machine::node(job, goal, name)
    }

    fn takes(&self, job: &Job) -> Duration {
        time(job, |kwok| kwok.node_provisioning_time)
    }

    fn patience(&self, job: &Job) -> Duration {
        time(job, |kwok| kwok.node_provisioning_timeout)
    }

    fn check_room(&self, job: &Job, nodes: usize) -> Result<(), OperationError> {
        let Some(quota) = self.quota(job).filter(|quota| nodes >= *quota) else {
            return Ok(());
        };
        Err(OperationError::new(
            "QuotaExceeded",
            format!(
                "ManagedCluster {} has {nodes} nodes and may have at most {quota}: lower a pool's count or maxSurge, or raise spec.provider.kwok.maxNodes, then create an Operation of type Reconcile",
                job.cluster
            ),
        ))
    }

    fn quota(&self, job: &Job) -> Option<usize> {
        quota(&job.provider)
    }

    fn control_plane(&self, namespace: &str, cluster: &str) -> Option<ControlPlaneView> {
        self.records.view(namespace, cluster)
    }

    fn is_ready(&self) -> bool {
        self.records.is_ready()
    }

    async fn ready(&self) {
        self.records.ready().await;
    }

    async fn bring_control_plane_to(
        &self,
        job: &Job,
        goal: Option<ControlPlaneGoal>,
        control: &Control,
    ) -> Result<End, OperationError> {
        control_plane::bring_to(&self.records, job, goal, control).await
    }

    fn in_work_of(&self, namespace: &str, cluster: &str) -> Option<String> {
        self.records.in_work_of(namespace, cluster)
    }

    async fn release_control_plane(
        &self,
        namespace: &str,
        cluster: &str,
        uids: &BTreeSet<String>,
    ) -> Result<(), String> {
        self.records.release(namespace, cluster, uids).await
    }
}
