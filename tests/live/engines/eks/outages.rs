//! Outages of AWS.

use std::sync::Arc;

use belay::api::{
    OperationPhase::{Canceling, InProgress},
    OperationType::{Rollback, Scale, Upgrade},
};
use testenv::clouds::Outage;

use crate::stage::belay::World;

use super::stage::{Identity, NEW, OLD, Stage};

pub async fn an_eks_outage_is_reported_and_loses_no_operation(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    for (count, outage, message) in [
        (5, Outage::Silence, "doesn't answer"),
        (3, Outage::Status(503, None), "503"),
        (5, Outage::Status(429, Some(1)), "429"),
    ] {
        stage.hold("np1");
        belay.set_count("np1", count).await;
        stage.is_in_state("np1", "UPDATING").await;
        stage.aws.fails(Some(outage));
        stage.belay.ready_condition_says("Unknown", message).await;
        stage.aws.fails(None);
        stage.release("np1");
        belay.lock_is_free().await;
        assert_eq!(stage.sizes()[1], i64::try_from(count).expect("a size"));
        stage.is_ready().await;
    }
    assert_eq!(belay.operations(Scale, "np1").await.len(), 3);
    assert_eq!(stage.changes_in_short(), ["POST np1/update-config 200"; 3]);
    belay.check_history();
}

pub async fn an_abort_during_an_eks_outage_is_carried_out_afterwards(world: Arc<World>) {
    let stage = Stage::adopted_auto(&world).await;
    let belay = &stage.belay;
    stage.hold("demo");
    belay.set_version(OLD).await;
    let rollback = belay.operation(Rollback, "demo").await;
    stage.rollback_is_shown(&rollback).await;
    stage.aws.fails(Some(Outage::Silence));
    belay.abort(&rollback, "it is blocked").await;
    belay.is_in_phase(&rollback, Canceling).await;
    belay
        .eventually("the Operation says what blocks the abort", || async {
            belay.status(&rollback).await.blocked.is_some()
        })
        .await;
    let phase = belay.status(&rollback).await.phase;
    assert_eq!(phase, Canceling, "EKS has not stopped");
    stage.aws.fails(None);
    belay.is_canceled(&rollback).await;
    assert_eq!(stage.demo()["version"], "1.34");
    belay.check_history();
}

pub async fn the_result_of_an_update_that_eks_forgot_is_read_from_its_nodegroup(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.hold("np1");
    let scale = stage.start_scale().await;
    stage.belay.is_in_phase(&scale, InProgress).await;
    stage.aws.forget_updates();
    stage.release("np1");
    stage.belay.succeeds(&scale).await;
    assert_eq!(stage.sizes()[1], 5);
}

/// Kills the operator when EKS has made the change with this number but hasn't answered yet, and starts another
/// operator.
async fn kill_operator_at_change(stage: &Stage, change: usize) {
    stage
        .belay
        .eventually(&format!("Belay has requested change {change}"), || async {
            stage.aws.has_lost_answer()
        })
        .await;
    stage.belay.kill_operator();
    stage.start_operator(Identity::None, "");
}

pub async fn an_eks_upgrade_requests_each_change_once_wherever_the_operator_is_killed(
    world: Arc<World>,
) {
    let runs = (0..3).map(|change| {
        let world = world.clone();
        async move {
            let stage = Stage::adopted(&world).await;
            stage.aws.lose_answer(change);
            stage.belay.set_version(NEW).await;
            let upgrade = stage.belay.operation(Upgrade, "demo").await;
            kill_operator_at_change(&stage, change).await;
            stage.belay.succeeds(&upgrade).await;
            stage.is_ready().await;
            let expected = [
                "POST updates 200",
                "POST np0/update-version 200",
                "POST np1/update-version 200",
            ];
            assert_eq!(
                stage.changes_in_short(),
                expected,
                "killed at change {change}"
            );
            assert_eq!(stage.np1()["version"], "1.34");
            assert_eq!(stage.belay.count_operations().await, 1);
            stage.belay.check_history();
        }
    });
    futures::future::join_all(runs).await;
}

pub async fn an_eks_abort_stops_the_rollback_wherever_the_operator_is_killed(world: Arc<World>) {
    let runs = (0..2).map(|change| {
        let world = world.clone();
        async move {
            let stage = Stage::adopted_auto(&world).await;
            let belay = &stage.belay;
            stage.hold("demo");
            stage.aws.lose_answer(change);
            belay.set_version(OLD).await;
            let rollback = belay.operation(Rollback, "demo").await;
            if change == 0 {
                kill_operator_at_change(&stage, change).await;
            }
            stage.rollback_is_shown(&rollback).await;
            belay.abort(&rollback, "not today").await;
            if change == 1 {
                kill_operator_at_change(&stage, change).await;
            }
            belay.is_canceled(&rollback).await;
            assert_eq!(stage.demo()["version"], "1.34", "killed at change {change}");
            belay.check_history();
        }
    });
    futures::future::join_all(runs).await;
}
