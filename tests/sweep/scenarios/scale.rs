//! Pools grow and shrink.

use belay::api::OperationType::Scale;
use serde_json::json;

use crate::place::Place;

pub async fn one(place: &Place) {
    place.belay.ready_cluster(0, 1).await;
    place.belay.lock_is_free().await;
}

pub async fn three(place: &Place) {
    place.belay.ready_cluster(0, 3).await;
    place.belay.lock_is_free().await;
}

pub async fn guarded(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    place.guard(2).await;
    place.belay.lock_is_free().await;
}

pub async fn guarded_queue(place: &Place) {
    guarded(place).await;
    place
        .belay
        .set_cluster(json!({"concurrencyPolicy": "Queue"}))
        .await;
    place.belay.cluster_is_ready().await;
}

async fn begins(place: &Place, count: usize) -> String {
    place.belay.set_count("np1", count).await;
    place.belay.operation(Scale, "np1").await
}

pub async fn up(place: &Place) {
    let scale = begins(place, 3).await;
    place.belay.succeeds(&scale).await;
}

pub async fn down(place: &Place) {
    let scale = begins(place, 1).await;
    place.belay.succeeds(&scale).await;
}

pub async fn abort_up(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    let scale = begins(place, 3).await;
    place.cancels_once_stuck(&scale, 2).await;
}

pub async fn abort_down(place: &Place) {
    let scale = begins(place, 1).await;
    place.cancels_once_stuck(&scale, 1).await;
}

/// An Operation waits while another one is in flight, and a newer one replaces it.
pub async fn replaced(place: &Place) {
    let scale = begins(place, 1).await;
    place.is_stuck(&scale, 1).await;
    place
        .belay
        .ask_pool("first", "np1", "Scale", json!({"count": 4}))
        .await;
    place
        .belay
        .ask_pool("second", "np1", "Scale", json!({"count": 3}))
        .await;
    place.belay.is_canceled("first").await;
    place.keep(0).await;
    place.belay.succeeds(&scale).await;
    place.belay.succeeds("second").await;
}
