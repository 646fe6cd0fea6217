//! Providers turn an operation into nodes. All providers implement one trait. A new provider needs its own file and one
//! line of [`Providers`].

mod adopted;
pub mod aws;
pub mod azure;
mod changes;
pub mod cluster_api;
mod control;
pub mod engine;
pub mod kwok;
pub mod nodes;
pub mod requests;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;
use kube::{Client, runtime::reflector::ObjectRef};

use crate::{
    api::{ManagedCluster, OperationError, ProviderSpec},
    lifecycle::{Job, Observation, Rules, Trouble},
};

pub use adopted::Adopted;
pub use changes::{Changed, Changes};
pub use control::{Control, End, Kept};
pub use nodes::NodeByNode;

/// What couldn't be left as it was: a name, such as a node's, and the message of what blocked that.
pub type LeftBehind = Vec<(String, String)>;

/// What a provider is asked to do, and what it promises.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Returns what the provider can do, and how it does that.
    fn rules(&self) -> &'static dyn Rules;

    /// Returns the observed state of a cluster. It answers at once, from what watches have shown, so that a reconcile
    /// never waits for anything slow. None until the first look at the cluster is complete. Then
    /// [`changes`](Self::changes) has it.
    fn observe(&self, cluster: &ManagedCluster) -> Option<Observation>;

    /// Returns whether it can observe clusters.
    fn is_ready(&self) -> bool;

    /// Waits until it can observe clusters.
    async fn ready(&self);

    /// Returns the nodes that only Belay deletes, by cluster, also those of clusters that no longer exist.
    fn nodes(&self) -> Vec<(ObjectRef<ManagedCluster>, Vec<String>)>;

    /// Stops observing a cluster that no longer exists.
    fn forget(&self, cluster: &ObjectRef<ManagedCluster>);

    /// Returns the clusters for which [`observe`](Self::observe) shows a change. Only the first call gets them.
    fn changes(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>>;

    /// Does what the job asks for, starting from the current state. It is called again after a crash, with the same
    /// uid, and leaves what is already done as it is.
    ///
    /// A step begins only with [`Control::begin`]. Once `control` asks for a stop, no new step begins. With
    /// [`Stop::AfterStep`](crate::lifecycle::Stop::AfterStep), it first finishes what has begun. With
    /// [`Stop::Now`](crate::lifecycle::Stop::Now), it stops where it stands, within two seconds, whatever hangs. When
    /// it returns, with any result, nothing of it acts any more, and nothing half-done is left except what it reported
    /// with [`Control::leave`].
    ///
    /// It tries again after errors that may pass (a timeout, a server that is down), and reports them with
    /// [`Control::block`]. If an engine can't be stopped, it returns [`End::Refused`].
    ///
    /// # Errors
    /// Errors that a retry doesn't fix, with a code for scripts, and with advice on what to do.
    async fn run(&self, job: &Job, control: &Control) -> Result<End, OperationError>;

    /// Leaves nothing in the middle of the work of these Operations, given by uid, which have ended. Returns what
    /// couldn't be left as it was.
    async fn mend(&self, namespace: &str, cluster: &str, uids: &BTreeSet<String>) -> LeftBehind;

    /// Leaves nothing in the middle of anybody's work on a cluster that no longer exists. An operator that was paused
    /// while the cluster was deleted may have created a node since.
    async fn mend_abandoned(&self, cluster: &ObjectRef<ManagedCluster>);
}

/// Reads the current state of a cluster once, from its provider.
///
/// # Errors
/// If it can't be read.
pub async fn look(client: &Client, cluster: &ManagedCluster) -> kube::Result<Observation> {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    match &cluster.spec.provider {
        ProviderSpec { kwok: Some(_), .. } => kwok::look(client, namespace, name).await,
        ProviderSpec {
            cluster_api: Some(_),
            ..
        } => Ok(cluster_api::look_once(client, cluster).await),
        // The person who asks may have no rights there, and must not use the operator's rights.
        ProviderSpec { azure: Some(_), .. } => Ok(not_asked("Azure")),
        ProviderSpec { aws: Some(_), .. } => Ok(not_asked("AWS")),
        ProviderSpec { .. } => Ok(Observation::default()),
    }
}

fn not_asked(cloud: &str) -> Observation {
    Observation {
        trouble: Some(Trouble {
            reason: "NotAsked".into(),
            message: format!("only the operator reads the state from {cloud}"),
            seen_at: None,
        }),
        ..Observation::default()
    }
}

/// Returns what the provider that a cluster's spec names can do, and how it does that.
pub fn rules_of(spec: &ProviderSpec) -> &'static dyn Rules {
    match spec {
        ProviderSpec {
            cluster_api: Some(_),
            ..
        } => &cluster_api::ByClusterApi,
        ProviderSpec { azure: Some(_), .. } => &azure::ByAks,
        ProviderSpec { aws: Some(_), .. } => &aws::ByEks,
        ProviderSpec { .. } => &NodeByNode,
    }
}

/// All providers.
#[derive(Clone)]
pub struct Providers {
    /// Node objects on the cluster that Belay runs in.
    pub kwok: Arc<dyn Provider>,
    /// Clusters of Cluster API, on the cluster that Belay runs in.
    pub cluster_api: Arc<dyn Provider>,
    /// Clusters of clouds.
    pub clouds: Clouds,
}

/// The providers of clouds. A provider is None if the program was built without it.
#[derive(Clone, Default)]
pub struct Clouds {
    /// EKS clusters.
    pub aws: Option<Arc<dyn Provider>>,
    /// AKS clusters.
    pub azure: Option<Arc<dyn Provider>>,
}

impl Providers {
    /// Returns the provider that a cluster's spec names.
    pub fn of(&self, spec: &ProviderSpec) -> Option<Arc<dyn Provider>> {
        let kwok = spec.kwok.as_ref().map(|_| &self.kwok);
        let cluster_api = spec.cluster_api.as_ref().map(|_| &self.cluster_api);
        let azure = spec.azure.as_ref().and(self.clouds.azure.as_ref());
        let aws = spec.aws.as_ref().and(self.clouds.aws.as_ref());
        kwok.or(cluster_api).or(azure).or(aws).cloned()
    }

    /// Returns all providers.
    pub fn all(&self) -> Vec<Arc<dyn Provider>> {
        let always = [self.kwok.clone(), self.cluster_api.clone()];
        let clouds = self.clouds.azure.iter().chain(&self.clouds.aws);
        always.into_iter().chain(clouds.cloned()).collect()
    }
}
