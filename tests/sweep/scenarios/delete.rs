//! Pools and clusters that go.

use belay::api::{
    AgentPool, ManagedCluster,
    OperationType::{Delete, Upgrade},
};
use kube::api::DeleteParams;

use crate::place::Place;

pub use super::{update::ready, upgrade::guarded};

async fn delete_pool(place: &Place) {
    let pools = place.belay.api::<AgentPool>();
    pools
        .delete("np1", &DeleteParams::default())
        .await
        .expect("deleted");
}

async fn delete_cluster(place: &Place) {
    let clusters = place.belay.api::<ManagedCluster>();
    clusters
        .delete("demo", &DeleteParams::default())
        .await
        .expect("deleted");
}

pub async fn a_pool(place: &Place) {
    delete_pool(place).await;
    place
        .belay
        .eventually("has no pool", || async {
            let pool = place.belay.api::<AgentPool>().get_opt("np1").await;
            pool.expect("an answer").is_none()
        })
        .await;
}

pub async fn abort_of_a_pool(place: &Place) {
    delete_pool(place).await;
    let delete = place.belay.operation(Delete, "np1").await;
    place.is_stuck(&delete, 2).await;
    place.cancels(&delete).await;
}

pub async fn the_cluster(place: &Place) {
    delete_cluster(place).await;
    is_gone(place).await;
}

async fn is_gone(place: &Place) {
    place
        .belay
        .eventually("has no cluster", || async {
            let cluster = place.belay.api::<ManagedCluster>().get_opt("demo").await;
            cluster.expect("an answer").is_none()
        })
        .await;
}

pub async fn the_cluster_in_its_upgrade(place: &Place) {
    place.belay.set_version("1.36.3").await;
    let upgrade = place.belay.operation(Upgrade, "demo").await;
    place.is_stuck(&upgrade, 1).await;
    // The nodes of a cluster that goes aren't drained.
    place.budgets.keep(&place.belay.namespace, 0);
    delete_cluster(place).await;
    is_gone(place).await;
}
