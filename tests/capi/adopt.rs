//! Adoption: Belay adopts existing Clusters without changes, and leaves them unchanged when Belay's objects are
//! deleted.

use std::sync::Arc;

use belay::api::{AgentPool, ManagedCluster, Operation};
use kube::api::{DeleteParams, ListParams};

use crate::stage::{OLD, Stage, machines_of, names};

pub async fn adopting_a_cluster_starts_no_operation_and_deleting_it_keeps_the_machines(
    stage: Arc<Stage>,
) {
    let belay = stage.adopted(2).await;
    let machines = names(&machines_of(&belay, None).await);
    let operations = belay.api::<Operation>();
    let listed = operations
        .list(&ListParams::default())
        .await
        .expect("listed");
    let names_of_operations: Vec<_> = listed.iter().map(kube::ResourceExt::name_any).collect();
    assert_eq!(names_of_operations, Vec::<String>::new());
    let status = belay.cluster_status().await;
    assert_eq!(status.kubernetes_version.as_deref(), Some(OLD));
    let pool = belay.pool_status("md-0").await;
    assert_eq!((pool.count, pool.ready_count), (2, 2));

    let clusters = belay.api::<ManagedCluster>();
    clusters
        .delete("demo", &DeleteParams::default())
        .await
        .expect("deleted");
    belay
        .eventually("the ManagedCluster and its pools are deleted", || async {
            let pools = belay.api::<AgentPool>().list(&ListParams::default()).await;
            clusters.get_opt("demo").await.expect("an answer").is_none()
                && pools.expect("listed").items.is_empty()
        })
        .await;
    assert_eq!(names(&machines_of(&belay, None).await), machines);
}
