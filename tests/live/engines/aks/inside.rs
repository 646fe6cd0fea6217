//! With a kubeconfig, Belay sees inside the cluster what blocks an AKS operation.

use std::sync::Arc;

use belay::api::OperationType::Upgrade;

use crate::{engines::inside, stage::belay::World};

use super::stage::{NEW, Stage};

pub async fn with_a_kubeconfig_a_blocked_aks_upgrade_names_the_pod_and_its_budget(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    inside::give_kubeconfig(belay, "azure", &inside::kubeconfig(belay)).await;
    let label = ("kubernetes.azure.com/agentpool", "np1");
    inside::create_blocked_drain(belay, label).await;
    stage.hold("np1");
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    inside::is_blocked_by_budget(belay, &upgrade).await;
    belay.abort(&upgrade, "the budget blocks it").await;
    belay.is_canceled(&upgrade).await;
    inside::delete_nodes(belay);
}
