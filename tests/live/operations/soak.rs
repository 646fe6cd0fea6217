//! After a node is replaced, the next replacement waits for `nodeSoakDuration`.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationStatus, OperationType, StepPhase};
use serde_json::json;

use crate::stage::belay::{Belay, World, is_cordoned, version};

/// Begins an upgrade of three nodes, one after the other, with this soak. Returns its name.
async fn upgrading(belay: &Belay, soak: &str) -> String {
    belay.create_cluster(0).await;
    let settings = json!({"count": 3, "upgradeSettings": {"nodeSoakDuration": soak}});
    belay.create_pool_with("np1", settings).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    belay.set_version("1.36.3").await;
    belay.operation(OperationType::Upgrade, "demo").await
}

fn soaks(status: &OperationStatus) -> bool {
    let mut steps = status.steps.iter();
    steps.any(|step| step.message == "soaking: 30m left")
}

pub async fn an_abort_during_the_soak_takes_effect_at_once(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = upgrading(&belay, "30m").await;
    belay
        .eventually("soaks after the first node", || async {
            soaks(&belay.status(&operation).await)
        })
        .await;
    let nodes = belay.nodes().await;
    assert!(!nodes.iter().any(is_cordoned), "no other node is drained");
    let old = nodes.iter().filter(|node| version(node) == "v1.35.7");
    assert_eq!(old.count(), 2, "one node is replaced");
    belay.abort(&operation, "the new node looks wrong").await;
    let canceled = belay.is_canceled(&operation).await;
    let replaced = canceled
        .steps
        .iter()
        .filter(|step| step.name.starts_with("node/") && step.phase == StepPhase::Succeeded);
    assert_eq!(replaced.count(), 1, "{:?}", canceled.steps);
    belay.check_history();
}

pub async fn an_upgrade_continues_after_each_soak_even_after_a_restart(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = upgrading(&belay, "2s").await;
    belay
        .eventually("has replaced a node", || async {
            let nodes = belay.nodes().await;
            nodes
                .iter()
                .filter(|node| version(node) == "v1.35.7")
                .count()
                < 3
        })
        .await;
    belay.kill_operator();
    belay.start_operator();
    let succeeded = belay
        .is_in_phase(&operation, OperationPhase::Succeeded)
        .await;
    assert_eq!(succeeded.percent_complete, 100);
    assert!(
        belay
            .nodes()
            .await
            .iter()
            .all(|node| version(node) == "v1.36.3")
    );
    belay.check_history();
}
