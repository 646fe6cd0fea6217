//! What turns an operation into nodes. All providers sit behind one trait; adding one touches its own file
//! and one line of [`Providers`].

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

/// What couldn't be left as it was: a name, such as a node's, and in whose words.
pub type LeftBehind = Vec<(String, String)>;

/// What a provider is asked to do, and what it promises.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What it can do, and how it goes about it.
    fn rules(&self) -> &'static dyn Rules;

    /// What is there of a cluster now. It answers at once, from what watches have shown: a reconcile waits
    /// for nothing slow. None until the first look at the cluster is complete; then [`changes`](Self::changes)
    /// has it.
    fn observe(&self, cluster: &ManagedCluster) -> Option<Observation>;

    /// Whether it can observe clusters.
    fn is_ready(&self) -> bool;

    /// Waits until it can.
    async fn ready(&self);

    /// The nodes that only Belay deletes, by cluster, also those of clusters that no longer exist.
    fn nodes(&self) -> Vec<(ObjectRef<ManagedCluster>, Vec<String>)>;

    /// A cluster is no more: nobody observes it any longer.
    fn forget(&self, cluster: &ObjectRef<ManagedCluster>);

    /// Clusters of which something changed that [`observe`](Self::observe) shows. Taken once.
    fn changes(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>>;

    /// Brings about what the job asks for, from wherever things stand: it is called again after a crash,
    /// with the same uid, and what is already there is left as it is.
    ///
    /// A step begins by [`Control::begin`] alone. Once `control` asks for a stop, no new step begins. With [`Stop::AfterStep`] what has begun is
    /// finished first; with [`Stop::Now`](crate::lifecycle::Stop::Now) it stops where it stands, within two
    /// seconds, whatever hangs. When it returns, in whichever way, nothing of it acts any more, and nothing
    /// half-done is left but what it reported by [`Control::leave`].
    ///
    /// Errors that may pass (a timeout, a server that is down) are tried again inside, and reported as in the
    /// way by [`Control::block`]. An engine that doesn't let itself be stopped makes it [`End::Refused`].
    ///
    /// # Errors
    /// What trying again doesn't mend, with a code to script against and what to do.
    async fn run(&self, job: &Job, control: &Control) -> Result<End, OperationError>;

    /// Leaves nothing in the middle of the work of these Operations, by their uids: they have ended. What
    /// can't be left as it was is returned.
    async fn mend(&self, namespace: &str, cluster: &str, uids: &BTreeSet<String>) -> LeftBehind;

    /// Leaves nothing in the middle of anybody's work on a cluster that no longer exists. An operator that stood still
    /// while its cluster was deleted may have made a node since.
    async fn mend_abandoned(&self, cluster: &ObjectRef<ManagedCluster>);
}

/// What is there of a cluster now, asked of whoever has it, once.
///
/// # Errors
/// Where it can't be read.
pub async fn look(client: &Client, cluster: &ManagedCluster) -> kube::Result<Observation> {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    match &cluster.spec.provider {
        ProviderSpec { kwok: Some(_), .. } => kwok::look(client, namespace, name).await,
        ProviderSpec {
            cluster_api: Some(_),
            ..
        } => Ok(cluster_api::look_once(client, cluster).await),
        // The person who asks may have no rights there, and the operator's own aren't theirs.
        ProviderSpec { azure: Some(_), .. } => Ok(not_asked("Azure")),
        ProviderSpec { aws: Some(_), .. } => Ok(not_asked("AWS")),
        ProviderSpec { .. } => Ok(Observation::default()),
    }
}

fn not_asked(cloud: &str) -> Observation {
    Observation {
        trouble: Some(Trouble {
            reason: "NotAsked".into(),
            message: format!("only the operator asks {cloud}"),
            seen_at: None,
        }),
        ..Observation::default()
    }
}

/// What the provider that a cluster's spec names can do, and how it goes about it.
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

/// All providers that there are.
#[derive(Clone)]
pub struct Providers {
    /// Node objects on the cluster that Belay runs in.
    pub kwok: Arc<dyn Provider>,
    /// Clusters of Cluster API, on the cluster that Belay runs in.
    pub cluster_api: Arc<dyn Provider>,
    /// Clusters of clouds.
    pub clouds: Clouds,
}

/// The providers of clouds. One is none in a program that was built without it.
#[derive(Clone, Default)]
pub struct Clouds {
    /// EKS clusters.
    pub aws: Option<Arc<dyn Provider>>,
    /// AKS clusters.
    pub azure: Option<Arc<dyn Provider>>,
}

impl Providers {
    /// The provider that a cluster's spec names.
    pub fn of(&self, spec: &ProviderSpec) -> Option<Arc<dyn Provider>> {
        let kwok = spec.kwok.as_ref().map(|_| &self.kwok);
        let cluster_api = spec.cluster_api.as_ref().map(|_| &self.cluster_api);
        let azure = spec.azure.as_ref().and(self.clouds.azure.as_ref());
        let aws = spec.aws.as_ref().and(self.clouds.aws.as_ref());
        kwok.or(cluster_api).or(azure).or(aws).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<dyn Provider>> {
        let always = [self.kwok.clone(), self.cluster_api.clone()];
        let clouds = self.clouds.azure.iter().chain(&self.clouds.aws);
        always.into_iter().chain(clouds.cloned()).collect()
    }
}
