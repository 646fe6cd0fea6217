//! After an abort, the target is on hold until a user acts.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType, TargetKind};

use crate::stage::belay::{Belay, World, is_true, version};

async fn canceled_upgrade(belay: &Belay) -> String {
    let operation = belay.blocked_upgrade().await;
    belay.abort(&operation, "not now").await;
    belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    belay.lock_is_free().await;
    operation
}

pub async fn a_canceled_target_stays_on_hold_until_a_reconcile(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = canceled_upgrade(&belay).await;
    belay
        .eventually("the cluster is on hold", || async {
            let conditions = belay.cluster().await.status.unwrap_or_default().conditions;
            conditions.iter().any(|condition| {
                condition.type_ == "Stalled"
                    && condition.status == "True"
                    && condition.reason == "OperationCanceled"
                    && condition.message.contains(&operation)
            })
        })
        .await;
    // A new operator reads the hold from the objects. When the new pool is ready, an operator without the hold would
    // have started the upgrade again.
    belay.kill_operator();
    belay.start_operator();
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    assert_eq!(
        belay.operations(OperationType::Upgrade, "demo").await.len(),
        1,
        "Belay doesn't start it again"
    );
    belay.set_min_available(1).await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay
        .is_in_phase("continue", OperationPhase::Succeeded)
        .await;
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    assert!(!is_true(
        &belay.cluster().await.status.expect("a status").conditions,
        "Stalled"
    ));
    belay.check_history();
}

pub async fn a_spec_change_ends_the_hold(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    canceled_upgrade(&belay).await;
    belay.set_min_available(1).await;
    belay.set_version("1.36.4").await;
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    assert_eq!(
        belay.operations(OperationType::Upgrade, "demo").await.len(),
        2
    );
    assert!(
        belay
            .nodes()
            .await
            .iter()
            .all(|node| version(node) == "v1.36.4")
    );
    belay.check_history();
}
