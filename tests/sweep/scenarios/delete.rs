//! The deletion of pools and clusters.

use belay::api::{
    AgentPool, ManagedCluster,
    OperationType::{Delete, Upgrade},
};
use kube::api::DeleteParams;

use crate::{actions::NamespacedKind, place::Place};

pub use super::{update::ready, upgrade::with_strict_budget};

async fn delete<K: NamespacedKind>(place: &Place, name: &str) {
    let (objects, params) = (place.belay.api::<K>(), DeleteParams::default());
    objects.delete(name, &params).await.expect("deleted");
}

async fn is_gone<K: NamespacedKind>(place: &Place, name: &str) {
    let objects = place.belay.api::<K>();
    let is_none = || async { objects.get_opt(name).await.expect("an answer").is_none() };
    let what = format!("{name} is deleted");
    place.belay.eventually(&what, is_none).await;
}

pub async fn a_pool(place: &Place) {
    delete::<AgentPool>(place, "np1").await;
    is_gone::<AgentPool>(place, "np1").await;
}

pub async fn abort_of_a_pool(place: &Place) {
    delete::<AgentPool>(place, "np1").await;
    let delete = place.belay.operation(Delete, "np1").await;
    place.cancel_once_blocked(&delete, 2).await;
}

pub async fn the_cluster(place: &Place) {
    delete::<ManagedCluster>(place, "demo").await;
    is_gone::<ManagedCluster>(place, "demo").await;
}

pub async fn the_cluster_in_its_upgrade(place: &Place) {
    place.belay.set_version("1.36.3").await;
    let upgrade = place.belay.operation(Upgrade, "demo").await;
    place.is_blocked_with_steps(&upgrade, 1).await;
    // Belay doesn't drain the nodes of a deleted cluster.
    place.budgets.require(&place.belay.namespace, 0);
    the_cluster(place).await;
}
