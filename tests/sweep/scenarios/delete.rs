//! Pools and clusters are deleted.

use belay::api::{
    AgentPool, ManagedCluster,
    OperationType::{Delete, Upgrade},
};
use kube::api::DeleteParams;

use crate::{acts::Known, place::Place};

pub use super::{update::ready, upgrade::guarded};

async fn delete<K: Known>(place: &Place, name: &str) {
    let (objects, params) = (place.belay.api::<K>(), DeleteParams::default());
    objects.delete(name, &params).await.expect("deleted");
}

async fn is_gone<K: Known>(place: &Place, name: &str) {
    let objects = place.belay.api::<K>();
    let is_none = || async { objects.get_opt(name).await.expect("an answer").is_none() };
    let what = format!("has {name} gone");
    place.belay.eventually(&what, is_none).await;
}

pub async fn a_pool(place: &Place) {
    delete::<AgentPool>(place, "np1").await;
    is_gone::<AgentPool>(place, "np1").await;
}

pub async fn abort_of_a_pool(place: &Place) {
    delete::<AgentPool>(place, "np1").await;
    let delete = place.belay.operation(Delete, "np1").await;
    place.cancels_once_stuck(&delete, 2).await;
}

pub async fn the_cluster(place: &Place) {
    delete::<ManagedCluster>(place, "demo").await;
    is_gone::<ManagedCluster>(place, "demo").await;
}

pub async fn the_cluster_in_its_upgrade(place: &Place) {
    place.belay.set_version("1.36.3").await;
    let upgrade = place.belay.operation(Upgrade, "demo").await;
    place.is_stuck(&upgrade, 1).await;
    // The nodes of a deleted cluster aren't drained.
    place.budgets.keep(&place.belay.namespace, 0);
    the_cluster(place).await;
}
