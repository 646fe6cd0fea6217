//! Nodes as Node objects on the cluster that Belay runs in, kept alive by kwok (sigs.k8s.io/kwok). The
//! scheduler, the pods, the Eviction API and the PodDisruptionBudgets are real.

mod coming_up;
mod control_plane;
mod drain;
mod node_work;
mod nodes;
mod pool;
mod quota;
mod retry;
mod settings;
mod stores;

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::{Api, Client, api::ListParams, runtime::reflector::ObjectRef};

use crate::{
    api::{CLUSTER_LABEL, ManagedCluster, NAMESPACE_LABEL, OperationError},
    lifecycle::{Job, Observation, Stage, Stop},
};

use super::{Control, End, Provider};
use stores::Stores;

/// The provider. Its watches run as long as the future that [`Kwok::new`] gives beside it.
pub struct Kwok {
    client: Client,
    stores: Stores,
}

impl Kwok {
    /// A provider on the cluster that `client` reaches, for the clusters of `namespace` or of all, and the future that keeps its watches going.
    /// `client` must not retry by itself: an eviction that a PDB refuses is to be told, not repeated.
    pub fn new(client: Client, namespace: Option<&str>) -> (Self, BoxFuture<'static, ()>) {
        let (stores, watches) = Stores::new(&client, namespace);
        (Self { client, stores }, watches)
    }

    async fn stages(&self, job: &Job, control: &Control) -> Result<End, OperationError> {
        for stage in &job.stages {
            if control.stop() == Stop::Now {
                return Ok(End::Stopped);
            }
            let end = match stage {
                Stage::ControlPlane(goal) => {
                    control_plane::bring_to(&self.client, &self.stores, job, *goal, control).await?
                }
                Stage::Pool(goal) => {
                    pool::PoolWork::new(&self.client, &self.stores, job, goal, control)
                        .run()
                        .await?
                }
            };
            if end == End::Stopped {
                return Ok(end);
            }
        }
        Ok(End::Done)
    }
}

/// What is there of a cluster now, asked of the API server: for who looks once, without watches.
pub async fn look(client: &Client, namespace: &str, cluster: &str) -> kube::Result<Observation> {
    let ours = format!("{CLUSTER_LABEL}={cluster},{NAMESPACE_LABEL}={namespace}");
    let ours = ListParams::default().labels(&ours);
    let nodes = Api::<Node>::all(client.clone());
    let records = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let name = control_plane::record_name(cluster);
    let (nodes, record) = tokio::try_join!(nodes.list(&ours), records.get_opt(&name))?;
    Ok(Observation {
        control_plane: record.as_ref().and_then(control_plane::of_record),
        nodes: nodes::of_cluster(nodes.items, namespace, cluster),
    })
}

#[async_trait]
impl Provider for Kwok {
    fn observe(&self, cluster: &ManagedCluster) -> Option<Observation> {
        let (namespace, name) = (
            cluster.metadata.namespace.as_deref()?,
            cluster.metadata.name.as_deref()?,
        );
        self.stores.are_ready().then(|| Observation {
            control_plane: control_plane::view(&self.stores, namespace, name),
            nodes: nodes::by_pool(&self.stores, namespace, name),
        })
    }

    fn is_ready(&self) -> bool {
        self.stores.are_ready()
    }

    fn changes(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>> {
        self.stores.changed_clusters().boxed()
    }

    async fn run(&self, job: &Job, control: &Control) -> Result<End, OperationError> {
        self.stores.ready().await;
        nodes::mend_what_others_left(&self.client, job)
            .boxed()
            .await;
        let end = self.stages(job, control).await;
        // Done leaves nothing half-done; what stopped or failed may.
        if end != Ok(End::Done) {
            nodes::leave_nothing_half_done(&self.client, job)
                .boxed()
                .await;
        }
        end
    }
}
