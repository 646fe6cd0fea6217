//! The abort annotation stops operations in progress at AKS.

use std::sync::Arc;

use belay::api::{
    CancellationStatus,
    OperationPhase::{Canceling, InProgress},
    OperationType::Upgrade,
    StepPhase, TargetKind,
};
use serde_json::json;

use crate::stage::belay::World;

use super::stage::{NEW, OLD, Stage};

pub async fn an_aborted_node_pool_upgrade_stops_at_azure_until_a_reconcile(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    stage.is_in_state("np1", "Upgrading").await;
    stage.takes(600, 1500);
    belay.abort(&upgrade, "the workload complains").await;
    belay.is_in_phase(&upgrade, Canceling).await;
    let status = belay.is_canceled(&upgrade).await;
    assert_eq!(
        stage.np1("provisioningState"),
        "Canceled",
        "Azure has come to rest"
    );
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    let phases: Vec<_> = status.steps.iter().map(|step| step.phase).collect();
    assert_eq!(
        phases,
        [
            StepPhase::Succeeded,
            StepPhase::Succeeded,
            StepPhase::Canceled
        ]
    );
    stage.release("np1");
    belay.lock_is_free().await;
    belay.rests().await;
    assert_eq!(
        stage.changed(),
        [
            "PUT demo 200",
            "PUT system 200",
            "PUT np1 200",
            "POST np1/abort 202"
        ]
    );
    assert_eq!(stage.np1("currentOrchestratorVersion"), OLD);
    for exchange in stage.changes() {
        println!("{exchange}");
    }
    // It goes on when somebody asks for it.
    belay.reconcile(TargetKind::AgentPool, "np1", "go-on").await;
    belay.succeeds("go-on").await;
    assert_eq!(stage.np1("currentOrchestratorVersion"), NEW);
    stage.is_ready().await;
    belay.check_history();
}

pub async fn an_aborted_upgrade_of_the_control_plane_upgrades_no_pool(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    stage.hold("demo");
    stage.belay.set_version(NEW).await;
    let upgrade = stage.belay.operation(Upgrade, "demo").await;
    stage.is_in_state("demo", "Upgrading").await;
    stage.belay.abort(&upgrade, "not now").await;
    stage.belay.is_canceled(&upgrade).await;
    stage.release("demo");
    stage.belay.rests().await;
    assert_eq!(stage.changed(), ["PUT demo 200", "POST demo/abort 202"]);
    stage.belay.check_history();
}

pub async fn after_an_abort_the_second_request_of_a_change_is_not_sent(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    let changes = json!({"count": 5, "nodeLabels": {"team": "gold"}});
    belay.set_pool("np1", changes).await;
    belay.reconcile(TargetKind::AgentPool, "np1", "both").await;
    stage.is_in_state("np1", "Updating").await;
    let in_flight = belay.cluster_status().await.operations;
    let operation = in_flight[0].name.clone();
    belay.is_in_phase(&operation, InProgress).await;
    belay.abort(&operation, "enough").await;
    belay.is_canceled(&operation).await;
    stage.release("np1");
    belay.rests().await;
    let counted = stage
        .changes()
        .iter()
        .any(|one| one.request["properties"]["count"] == 5);
    assert!(!counted, "{:?}", stage.changed());
    belay.check_history();
}

pub async fn an_abort_after_azure_has_finished_changes_nothing(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.takes(1500, 100);
    let scale = stage.begins_a_scale().await;
    // It ends before Belay polls again.
    stage.is_in_state("np1", "Succeeded").await;
    belay.abort(&scale, "too late").await;
    let status = belay.succeeds(&scale).await;
    let cancellation = status.cancellation.map(|cancellation| cancellation.status);
    assert_ne!(cancellation, Some(CancellationStatus::Successful));
    assert_eq!(stage.np1("count"), 5);
    belay.check_history();
}

pub async fn an_abort_requested_while_no_operator_runs_is_carried_out_at_azure_later(
    world: Arc<World>,
) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    let scale = stage.begins_a_scale().await;
    belay.kill_operator();
    belay.abort(&scale, "while nobody is there").await;
    stage.start_operator();
    belay.is_canceled(&scale).await;
    assert_eq!(stage.changed(), ["PUT np1 200", "POST np1/abort 202"]);
    belay.check_history();
}
