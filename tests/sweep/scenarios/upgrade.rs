//! The upgrade of a cluster.

use belay::api::OperationType::Upgrade;

use super::update;
use crate::place::Place;

pub use update::ready;

/// Creates a workload whose budget allows one disruption at a time.
pub async fn with_loose_budget(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    place.belay.create_workload(4, 3).await;
    place.budgets.require(&place.belay.namespace, 3);
    place.belay.lock_is_free().await;
}

/// Creates a workload whose budget allows no disruption.
pub async fn with_strict_budget(place: &Place) {
    place.belay.ready_cluster(0, 2).await;
    place.create_protected_workload(2).await;
    place.belay.lock_is_free().await;
}

/// Creates a cluster whose control plane never finishes its changes.
pub async fn with_slow_control_plane(place: &Place) {
    ready(place).await;
    place.belay.set_provisioning_time("1h").await;
    place.belay.cluster_is_ready().await;
    place.belay.lock_is_free().await;
}

async fn start_upgrade(place: &Place) -> String {
    place.belay.set_version("1.36.3").await;
    place.belay.operation(Upgrade, "demo").await
}

pub async fn to_the_end(place: &Place) {
    let upgrade = start_upgrade(place).await;
    place.belay.succeeds(&upgrade).await;
}

pub async fn abort_at_the_control_plane(place: &Place) {
    let upgrade = start_upgrade(place).await;
    place.step_is_running(&upgrade).await;
    place.cancel(&upgrade).await;
}

pub async fn abort_while_a_node_comes_up(place: &Place) {
    place.faults.refuse("create", "nodes", 403);
    let upgrade = start_upgrade(place).await;
    place.cancel_once_blocked(&upgrade, 1).await;
}

pub async fn abort_in_a_drain(place: &Place) {
    let upgrade = start_upgrade(place).await;
    place.cancel_once_blocked(&upgrade, 1).await;
}

pub async fn abort_after_the_step(place: &Place) {
    let upgrade = start_upgrade(place).await;
    place.is_blocked_with_steps(&upgrade, 1).await;
    place.request_abort_after_step(&upgrade).await;
    place.set_protected_pods(0).await;
    place.belay.is_canceled(&upgrade).await;
}
