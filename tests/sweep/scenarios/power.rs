//! The stop and start of pools and clusters.

use belay::api::OperationType::{self, Start, Stop};
use serde_json::{Value, json};

use super::update;
use crate::{belay::is_cordoned, place::Place};

pub use super::upgrade::with_strict_budget;
pub use update::ready;

/// Returns the spec with the power state after an operation of this type.
fn power(type_: OperationType) -> Value {
    let state = if type_ == Stop { "Stopped" } else { "Running" };
    json!({"powerState": state})
}

/// Stops or starts the pool. Returns the operation.
async fn set_pool_power(place: &Place, type_: OperationType) -> String {
    place.belay.set_pool("np1", power(type_)).await;
    place.belay.operation(type_, "np1").await
}

/// Stops or starts the cluster. Returns the operation.
async fn set_cluster_power(place: &Place, type_: OperationType) -> String {
    place.belay.set_cluster(power(type_)).await;
    place.belay.operation(type_, "demo").await
}

pub async fn stopped_pool(place: &Place) {
    ready(place).await;
    let stop = set_pool_power(place, Stop).await;
    place.belay.succeeds(&stop).await;
    place.belay.pool_is_ready("np1").await;
    place.belay.lock_is_free().await;
}

pub async fn stopped_cluster(place: &Place) {
    ready(place).await;
    let stop = set_cluster_power(place, Stop).await;
    place.belay.succeeds(&stop).await;
    place.belay.lock_is_free_in_status().await;
    place.belay.set_provisioning_time("1s").await;
    place.belay.cluster_is_ready().await;
}

pub async fn stop_a_pool(place: &Place) {
    let stop = set_pool_power(place, Stop).await;
    place.belay.succeeds(&stop).await;
}

pub async fn abort_stop_of_a_pool(place: &Place) {
    let stop = set_pool_power(place, Stop).await;
    place.cancel_once_blocked(&stop, 2).await;
}

pub async fn start_a_pool(place: &Place) {
    let start = set_pool_power(place, Start).await;
    place.belay.succeeds(&start).await;
}

pub async fn abort_start_of_a_pool(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    let start = set_pool_power(place, Start).await;
    place.cancel_once_blocked(&start, 2).await;
}

pub async fn stop_the_cluster(place: &Place) {
    let stop = set_cluster_power(place, Stop).await;
    place.belay.succeeds(&stop).await;
}

pub async fn abort_stop_of_the_cluster(place: &Place) {
    place.faults.refuse("delete", "nodes", 403);
    let stop = set_cluster_power(place, Stop).await;
    place
        .belay
        .eventually("all nodes are cordoned", || async {
            place.belay.nodes().await.iter().all(is_cordoned)
        })
        .await;
    place.cancel_once_blocked(&stop, 2).await;
}

pub async fn start_the_cluster(place: &Place) {
    let start = set_cluster_power(place, Start).await;
    place.belay.succeeds(&start).await;
}

pub async fn abort_start_of_the_cluster(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    let start = set_cluster_power(place, Start).await;
    place.cancel_once_blocked(&start, 2).await;
}
