//! Reconciles after an abort and after the loss of a node.

use belay::api::{OperationType::Reconcile, TargetKind};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt as _, api::DeleteParams};

use super::upgrade;
use crate::place::Place;

pub use super::update::ready;

/// Creates a cluster whose upgrade was aborted during a drain.
pub async fn aborted(place: &Place) {
    upgrade::with_strict_budget(place).await;
    upgrade::abort_in_a_drain(place).await;
    place.belay.lock_is_free().await;
    place.set_protected_pods(0).await;
}

pub async fn continue_upgrade(place: &Place) {
    place
        .belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    place.belay.succeeds("continue").await;
}

pub async fn a_lost_node(place: &Place) {
    let node = place.belay.nodes().await[0].name_any();
    let nodes = Api::<Node>::all(place.belay.client.clone());
    nodes
        .delete(&node, &DeleteParams::default())
        .await
        .expect("deleted");
    let reconcile = place.belay.operation(Reconcile, "np1").await;
    place.belay.succeeds(&reconcile).await;
}
