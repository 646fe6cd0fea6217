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
use kube::{Client, runtime::reflector::ObjectRef};

use crate::{
    api::{ManagedCluster, OperationError},
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
