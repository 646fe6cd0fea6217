//! Pools and clusters that stop and start.

use belay::api::OperationType::{Start, Stop};
use serde_json::json;

use super::update;
use crate::{belay::is_cordoned, place::Place};

pub use super::upgrade::guarded;
pub use update::ready;

pub async fn stopped_pool(place: &Place) {
    ready(place).await;
    place
        .belay
        .set_pool("np1", json!({"powerState": "Stopped"}))
        .await;
    let stop = place.belay.operation(Stop, "np1").await;
    place.belay.succeeds(&stop).await;
    place.belay.pool_is_ready("np1").await;
    place.belay.lock_is_free().await;
}

pub async fn stopped_cluster(place: &Place) {
    ready(place).await;
    place
        .belay
        .set_cluster(json!({"powerState": "Stopped"}))
        .await;
    let stop = place.belay.operation(Stop, "demo").await;
    place.belay.succeeds(&stop).await;
    place.belay.lock_is_free_in_status().await;
    place.belay.set_provisioning_time("1s").await;
    place.belay.cluster_is_ready().await;
}

pub async fn stop_a_pool(place: &Place) {
    place
        .belay
        .set_pool("np1", json!({"powerState": "Stopped"}))
        .await;
    let stop = place.belay.operation(Stop, "np1").await;
    place.belay.succeeds(&stop).await;
}

pub async fn abort_stop_of_a_pool(place: &Place) {
    place
        .belay
        .set_pool("np1", json!({"powerState": "Stopped"}))
        .await;
    let stop = place.belay.operation(Stop, "np1").await;
    place.is_stuck(&stop, 2).await;
    place.cancels(&stop).await;
}

pub async fn start_a_pool(place: &Place) {
    place
        .belay
        .set_pool("np1", json!({"powerState": "Running"}))
        .await;
    let start = place.belay.operation(Start, "np1").await;
    place.belay.succeeds(&start).await;
}

pub async fn abort_start_of_a_pool(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    place
        .belay
        .set_pool("np1", json!({"powerState": "Running"}))
        .await;
    let start = place.belay.operation(Start, "np1").await;
    place.is_stuck(&start, 2).await;
    place.cancels(&start).await;
    place.faults.refuse_no_more();
}

pub async fn stop_the_cluster(place: &Place) {
    place
        .belay
        .set_cluster(json!({"powerState": "Stopped"}))
        .await;
    let stop = place.belay.operation(Stop, "demo").await;
    place.belay.succeeds(&stop).await;
}

pub async fn abort_stop_of_the_cluster(place: &Place) {
    place.faults.refuse("delete", "nodes", 403);
    place
        .belay
        .set_cluster(json!({"powerState": "Stopped"}))
        .await;
    let stop = place.belay.operation(Stop, "demo").await;
    place
        .belay
        .eventually("cordons nodes", || async {
            place.belay.nodes().await.iter().all(is_cordoned)
        })
        .await;
    place.is_stuck(&stop, 2).await;
    place.cancels(&stop).await;
    place.faults.refuse_no_more();
}

pub async fn start_the_cluster(place: &Place) {
    place
        .belay
        .set_cluster(json!({"powerState": "Running"}))
        .await;
    let start = place.belay.operation(Start, "demo").await;
    place.belay.succeeds(&start).await;
}

pub async fn abort_start_of_the_cluster(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    place
        .belay
        .set_cluster(json!({"powerState": "Running"}))
        .await;
    let start = place.belay.operation(Start, "demo").await;
    place.is_stuck(&start, 2).await;
    place.cancels(&start).await;
    place.faults.refuse_no_more();
}
