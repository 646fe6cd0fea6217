//! Aborts at EKS: the annotation stops what EKS can stop; otherwise Belay says why it cannot.

use std::sync::Arc;

use belay::api::{
    CancellationStatus,
    OperationPhase::{Canceling, InProgress},
    OperationType::{Rollback, Upgrade},
    StepPhase,
};

use crate::stage::belay::World;

use super::stage::{Identity, NEW, OLD, Stage};

impl Stage {
    /// Starts a rollback of an EKS Auto Mode cluster whose nodes roll back. Returns the Operation's name.
    async fn start_rollback(&self) -> String {
        self.hold("demo");
        self.belay.set_version(OLD).await;
        let rollback = self.belay.operation(Rollback, "demo").await;
        self.rollback_is_shown(&rollback).await;
        rollback
    }
}

pub async fn an_auto_mode_rollback_can_be_aborted_while_its_nodes_roll_back(world: Arc<World>) {
    let stage = Stage::adopted_auto(&world).await;
    let belay = &stage.belay;
    let rollback = stage.start_rollback().await;
    stage.set_durations(600, 1500);
    belay.abort(&rollback, "the workload complains").await;
    belay.is_in_phase(&rollback, Canceling).await;
    let status = belay.is_canceled(&rollback).await;
    assert_eq!(stage.demo()["status"], "ACTIVE", "EKS has stopped");
    assert_eq!(stage.demo()["version"], "1.34");
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    stage.release("demo");
    belay.lock_is_free().await;
    belay.is_idle().await;
    let changed = stage.changes_in_short();
    let both = ["POST updates 200", "POST updates/ID/cancel-update 200"];
    assert_eq!(changed[changed.len() - 2..], both);
    belay.check_history();
}

pub async fn an_abort_after_the_nodes_rolled_back_fails_with_the_message_of_eks(world: Arc<World>) {
    let stage = Stage::adopted_auto(&world).await;
    let belay = &stage.belay;
    let rollback = stage.start_rollback().await;
    stage.aws.nodes_are_back("demo");
    belay.abort(&rollback, "too late").await;
    belay
        .eventually("the abort has failed", || async {
            let cancellation = belay.status(&rollback).await.cancellation;
            cancellation.is_some_and(|cancellation| {
                let message = cancellation.reason;
                cancellation.status == CancellationStatus::Failed
                    && message.starts_with("EKS refused: ")
            })
        })
        .await;
    assert_eq!(belay.status(&rollback).await.phase, InProgress);
    stage.release("demo");
    belay.succeeds(&rollback).await;
    assert_eq!(stage.demo()["version"], "1.33");
    belay.check_history();
}

pub async fn an_abort_that_eks_does_not_support_fails_and_the_operation_continues(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    let scale = stage.start_scale().await;
    belay.is_in_phase(&scale, InProgress).await;
    belay.abort(&scale, "not that many").await;
    belay
        .eventually("the abort is not supported", || async {
            let status = belay.status(&scale).await;
            status.cancellation.is_some_and(|cancellation| {
                let message = cancellation.reason;
                cancellation.status == CancellationStatus::Failed
                    && message.contains("EKS can't stop an update of nodegroup np1")
            }) && status.phase == InProgress
        })
        .await;
    stage.release("np1");
    belay.succeeds(&scale).await;
    assert_eq!(stage.changes_in_short(), ["POST np1/update-config 200"]);
    belay.check_history();
}

pub async fn an_abort_after_step_starts_no_further_nodegroup(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np0");
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay
        .eventually("EKS upgrades np0", || async {
            stage.aws.nodegroup("demo", "np0")["status"] == "UPDATING"
        })
        .await;
    let annotate = ["annotate", "operation", &upgrade];
    let abort = [
        "belay.dev/abort=enough for today",
        "belay.dev/abort-policy=AfterStep",
    ];
    belay.kubectl(&[&annotate[..], &abort].concat());
    belay.is_in_phase(&upgrade, Canceling).await;
    stage.release("np0");
    let status = belay.is_canceled(&upgrade).await;
    let phases: Vec<_> = status.steps.iter().map(|step| step.phase).collect();
    let ended = [
        StepPhase::Succeeded,
        StepPhase::Succeeded,
        StepPhase::Skipped,
    ];
    assert_eq!(phases, ended);
    belay.is_idle().await;
    assert_eq!(stage.np1()["version"], "1.33");
    belay.check_history();
}

pub async fn an_abort_requested_while_no_operator_runs_is_carried_out_at_eks_later(
    world: Arc<World>,
) {
    let stage = Stage::adopted_auto(&world).await;
    let belay = &stage.belay;
    let rollback = stage.start_rollback().await;
    belay.kill_operator();
    belay.abort(&rollback, "while no operator runs").await;
    stage.start_operator(Identity::None, "");
    belay.is_canceled(&rollback).await;
    assert_eq!(stage.demo()["version"], "1.34");
    belay.check_history();
}
