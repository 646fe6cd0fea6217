//! The scaling of pools.

use belay::api::OperationType::Scale;
use serde_json::json;

use crate::place::Place;

pub async fn one_node(place: &Place) {
    place.belay.ready_cluster(0, 1).await;
    place.belay.lock_is_free().await;
}

pub async fn three_nodes(place: &Place) {
    place.belay.ready_cluster(0, 3).await;
    place.belay.lock_is_free().await;
}

pub async fn with_strict_budget(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    place.create_protected_workload(2).await;
    place.belay.lock_is_free().await;
}

pub async fn with_queue(place: &Place) {
    with_strict_budget(place).await;
    place
        .belay
        .set_cluster(json!({"concurrencyPolicy": "Queue"}))
        .await;
    place.belay.cluster_is_ready().await;
}

async fn start_scale(place: &Place, count: usize) -> String {
    place.belay.set_count("np1", count).await;
    place.belay.operation(Scale, "np1").await
}

pub async fn up(place: &Place) {
    let scale = start_scale(place, 3).await;
    place.belay.succeeds(&scale).await;
}

pub async fn down(place: &Place) {
    let scale = start_scale(place, 1).await;
    place.belay.succeeds(&scale).await;
}

pub async fn abort_up(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    let scale = start_scale(place, 3).await;
    place.cancel_once_blocked(&scale, 2).await;
}

pub async fn abort_down(place: &Place) {
    let scale = start_scale(place, 1).await;
    place.cancel_once_blocked(&scale, 1).await;
}

/// An Operation waits while another one is in flight, and a newer Operation replaces it.
pub async fn replaced(place: &Place) {
    let scale = start_scale(place, 1).await;
    place.is_blocked_with_steps(&scale, 1).await;
    place
        .belay
        .create_operation_on_pool("first", "np1", "Scale", json!({"count": 4}))
        .await;
    place
        .belay
        .create_operation_on_pool("second", "np1", "Scale", json!({"count": 3}))
        .await;
    place.belay.is_canceled("first").await;
    place.set_protected_pods(0).await;
    place.belay.succeeds(&scale).await;
    place.belay.succeeds("second").await;
}
