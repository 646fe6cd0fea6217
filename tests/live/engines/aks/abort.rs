//! Aborts at AKS: the annotation stops the operation in progress.

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
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    stage.is_in_state("np1", "Upgrading").await;
    stage.set_durations(600, 1500);
    belay.abort(&upgrade, "the workload complains").await;
    belay.is_in_phase(&upgrade, Canceling).await;
    let status = belay.is_canceled(&upgrade).await;
    assert_eq!(
        stage.np1("provisioningState"),
        "Canceled",
        "Azure has stopped"
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
    belay.is_idle().await;
    assert_eq!(
        stage.changes_in_short(),
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
    // A Reconcile continues the upgrade.
    belay
        .reconcile(TargetKind::AgentPool, "np1", "continue")
        .await;
    belay.succeeds("continue").await;
    assert_eq!(stage.np1("currentOrchestratorVersion"), NEW);
    stage.is_ready().await;
    belay.check_history();
}

pub async fn an_aborted_upgrade_of_the_control_plane_upgrades_no_pool(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.hold("demo");
    stage.belay.set_version(NEW).await;
    let upgrade = stage.belay.operation(Upgrade, "demo").await;
    stage.is_in_state("demo", "Upgrading").await;
    stage.belay.abort(&upgrade, "not now").await;
    stage.belay.is_canceled(&upgrade).await;
    stage.release("demo");
    stage.belay.is_idle().await;
    assert_eq!(
        stage.changes_in_short(),
        ["PUT demo 200", "POST demo/abort 202"]
    );
    stage.belay.check_history();
}

pub async fn after_an_abort_the_second_request_of_a_change_is_not_sent(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
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
    belay.is_idle().await;
    let counted = stage
        .changes()
        .iter()
        .any(|change| change.request["properties"]["count"] == 5);
    assert!(!counted, "{:?}", stage.changes_in_short());
    belay.check_history();
}

pub async fn an_abort_after_azure_has_finished_changes_nothing(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.set_durations(1500, 100);
    let scale = stage.start_scale().await;
    // The scale ends before Belay polls again.
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
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    let scale = stage.start_scale().await;
    belay.kill_operator();
    belay.abort(&scale, "while no operator runs").await;
    stage.start_operator();
    belay.is_canceled(&scale).await;
    assert_eq!(
        stage.changes_in_short(),
        ["PUT np1 200", "POST np1/abort 202"]
    );
    belay.check_history();
}
