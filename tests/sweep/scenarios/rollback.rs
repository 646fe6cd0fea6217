//! The rollback of a cluster by one minor version.

use belay::api::OperationType::Rollback;
use serde_json::json;

use crate::place::Place;

async fn create_newer_cluster(place: &Place) {
    let newer = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}});
    place.belay.create_cluster_with(newer).await;
    place.belay.create_pool("np1", 2).await;
    place.belay.pool_is_ready("np1").await;
}

pub async fn with_loose_budget(place: &Place) {
    create_newer_cluster(place).await;
    place.belay.create_workload(4, 3).await;
    place.budgets.require(&place.belay.namespace, 3);
    place.belay.lock_is_free().await;
}

pub async fn with_strict_budget(place: &Place) {
    create_newer_cluster(place).await;
    place.create_protected_workload(2).await;
    place.belay.lock_is_free().await;
}

pub async fn to_the_end(place: &Place) {
    place.belay.set_version("1.35.7").await;
    let rollback = place.belay.operation(Rollback, "demo").await;
    place.belay.succeeds(&rollback).await;
}

/// After the abort, the pool converges to the version of the control plane.
pub async fn abort_in_a_drain(place: &Place) {
    place.belay.set_version("1.35.7").await;
    let rollback = place.belay.operation(Rollback, "demo").await;
    place.cancel_once_blocked(&rollback, 1).await;
}
