//! The creation of clusters and pools.

use belay::api::OperationType::Create;

use crate::place::Place;

pub fn nothing(_: &Place) -> std::future::Ready<()> {
    std::future::ready(())
}

pub async fn to_the_end(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    let create = place.belay.operation(Create, "np1").await;
    place.belay.succeeds(&create).await;
}

pub async fn abort_of_the_cluster(place: &Place) {
    place.belay.create_cluster(3_600_000).await;
    let create = place.belay.operation(Create, "demo").await;
    place.step_is_running(&create).await;
    place.cancel(&create).await;
}

/// Creates a cluster whose nodes never come up.
pub async fn with_slow_nodes(place: &Place) {
    place.belay.create_cluster(0).await;
    place.belay.cluster_is_ready().await;
    place.belay.set_provisioning_time("1h").await;
    place.belay.cluster_is_ready().await;
    place.belay.lock_is_free().await;
}

pub async fn abort_of_a_pool(place: &Place) {
    place.belay.create_pool("np1", 2).await;
    let create = place.belay.operation(Create, "np1").await;
    place.belay.creates_nodes(&create, 2).await;
    place.cancel(&create).await;
}
