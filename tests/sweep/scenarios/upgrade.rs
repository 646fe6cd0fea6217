//! Versions are upgraded.

use belay::api::OperationType::Upgrade;

use super::update;
use crate::place::Place;

pub use update::ready;

/// Creates a workload whose budget allows one disruption at a time.
pub async fn loose(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    place.belay.create_workload(4, 3).await;
    place.budgets.keep(&place.belay.namespace, 3);
    place.belay.lock_is_free().await;
}

/// Creates a workload whose budget allows no disruption.
pub async fn guarded(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    place.guard(2).await;
    place.belay.lock_is_free().await;
}

/// Creates a cluster whose control plane never finishes its changes.
pub async fn slow(place: &Place) {
    ready(place).await;
    place.belay.set_provisioning_time("1h").await;
    place.belay.cluster_is_ready().await;
    place.belay.lock_is_free().await;
}

async fn begins(place: &Place) -> String {
    place.belay.set_version("1.36.3").await;
    place.belay.operation(Upgrade, "demo").await
}

pub async fn to_the_end(place: &Place) {
    let upgrade = begins(place).await;
    place.belay.succeeds(&upgrade).await;
}

pub async fn abort_at_the_control_plane(place: &Place) {
    let upgrade = begins(place).await;
    place.is_at_work(&upgrade).await;
    place.cancels(&upgrade).await;
}

pub async fn abort_while_a_node_comes_up(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    let upgrade = begins(place).await;
    place.cancels_once_stuck(&upgrade, 1).await;
}

pub async fn abort_in_a_drain(place: &Place) {
    let upgrade = begins(place).await;
    place.cancels_once_stuck(&upgrade, 1).await;
}

pub async fn abort_after_the_step(place: &Place) {
    let upgrade = begins(place).await;
    place.is_stuck(&upgrade, 1).await;
    place.asks_to_stop_after_step(&upgrade).await;
    place.keep(0).await;
    place.belay.is_canceled(&upgrade).await;
}
