//! Outages of Azure.

use std::sync::Arc;

use belay::api::OperationType::{Scale, Upgrade};
use testenv::clouds::Outage;

use crate::stage::belay::World;

use super::stage::{NEW, Stage};

pub async fn an_azure_outage_is_reported_and_loses_no_operation(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    for (outage, message) in [
        (Outage::Silence, "doesn't answer"),
        (Outage::Status(503, None), "503"),
        (Outage::Status(429, Some(1)), "429"),
    ] {
        let count = if belay.pool("np1").await.spec.count == 3 {
            5
        } else {
            3
        };
        stage.hold("np1");
        belay.set_count("np1", count).await;
        stage.is_in_state("np1", "Scaling").await;
        stage.azure.fails(Some(outage));
        stage.belay.ready_condition_says("Unknown", message).await;
        stage.azure.fails(None);
        stage.release("np1");
        belay.lock_is_free().await;
        assert_eq!(stage.np1("count"), count);
        stage.is_ready().await;
    }
    let scales = belay.operations(Scale, "np1").await;
    assert_eq!(scales.len(), 3);
    assert_eq!(
        stage
            .changes_in_short()
            .iter()
            .filter(|change| *change == "PUT np1 200")
            .count(),
        3
    );
    belay.check_history();
}

pub async fn an_abort_during_an_azure_outage_is_carried_out_afterwards(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    let scale = stage.start_scale().await;
    stage.azure.fails(Some(Outage::Status(503, None)));
    belay.abort(&scale, "it is blocked").await;
    let canceling = belay::api::OperationPhase::Canceling;
    belay.is_in_phase(&scale, canceling).await;
    belay
        .eventually("the Operation says what blocks the abort", || async {
            belay.status(&scale).await.blocked.is_some()
        })
        .await;
    assert_eq!(
        belay.status(&scale).await.phase,
        canceling,
        "Azure has not stopped"
    );
    stage.azure.fails(None);
    belay.is_canceled(&scale).await;
    assert_eq!(stage.np1("provisioningState"), "Canceled");
    belay.check_history();
}

pub async fn an_expired_azure_token_is_renewed(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.azure.expire_tokens();
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    stage.belay.succeeds(&scale).await;
    stage.is_ready().await;
}

pub async fn the_result_of_an_operation_that_azure_forgot_is_read_from_its_resource(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.set_durations(1500, 100);
    let scale = stage.start_scale().await;
    stage.is_in_state("np1", "Succeeded").await;
    stage.azure.forget_operations();
    belay.succeeds(&scale).await;
    assert_eq!(stage.np1("count"), 5);
}

/// Kills the operator when Azure has made the change with this number but hasn't answered yet, and starts another
/// operator.
async fn kill_operator_at_change(stage: &Stage, change: usize) {
    stage
        .belay
        .eventually(&format!("Belay has requested change {change}"), || async {
            stage.azure.has_lost_answer()
        })
        .await;
    stage.belay.kill_operator();
    stage.start_operator();
}

pub async fn an_aks_upgrade_requests_each_change_once_wherever_the_operator_is_killed(
    world: Arc<World>,
) {
    let runs = (0..3).map(|change| {
        let world = world.clone();
        async move {
            let stage = Stage::adopted(&world).await;
            stage.azure.lose_answer(change);
            stage.belay.set_version(NEW).await;
            let upgrade = stage.belay.operation(Upgrade, "demo").await;
            kill_operator_at_change(&stage, change).await;
            stage.belay.succeeds(&upgrade).await;
            stage.is_ready().await;
            let changed = stage.changes_in_short();
            let expected = ["PUT demo 200", "PUT system 200", "PUT np1 200"];
            assert_eq!(changed, expected, "killed at change {change}");
            assert_eq!(stage.np1("currentOrchestratorVersion"), NEW);
            assert_eq!(stage.belay.count_operations().await, 1);
            stage.belay.check_history();
        }
    });
    futures::future::join_all(runs).await;
}

pub async fn an_aks_abort_stops_the_scale_wherever_the_operator_is_killed(world: Arc<World>) {
    let runs = (0..2).map(|change| {
        let world = world.clone();
        async move {
            let stage = Stage::adopted(&world).await;
            stage.hold("np1");
            stage.azure.lose_answer(change);
            let scale = stage.start_scale().await;
            stage.belay.abort(&scale, "not that many").await;
            kill_operator_at_change(&stage, change).await;
            stage.belay.is_canceled(&scale).await;
            assert_eq!(stage.np1("provisioningState"), "Canceled");
            let puts = stage
                .changes_in_short()
                .into_iter()
                .filter(|change| change.starts_with("PUT"));
            assert_eq!(puts.count(), 1, "killed at change {change}");
            assert_eq!(stage.belay.count_operations().await, 1);
            stage.belay.check_history();
        }
    });
    futures::future::join_all(runs).await;
}

pub async fn an_operator_killed_while_azure_works_repeats_no_request(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    let scale = stage.start_scale().await;
    belay.kill_operator();
    stage.start_operator();
    stage.release("np1");
    belay.succeeds(&scale).await;
    belay.is_idle().await;
    assert_eq!(stage.changes_in_short(), ["PUT np1 200"]);
    assert_eq!(stage.belay.count_operations().await, 1);
    belay.check_history();
}
