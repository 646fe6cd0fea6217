//! The interface to providers whose engine does the work itself and needs time for it, tested with a scripted engine.

mod script;
mod stage;

use std::{sync::Arc, time::Duration};

use belay::{
    api::{
        CancellationStatus, OperationError, OperationPhase, OperationSpec, OperationTarget,
        OperationType, TargetKind,
    },
    provider::{
        engine::{Answer, EngineError, Running, State},
        requests::Passing,
    },
};
use kube::ResourceExt as _;
use serde_json::json;

use crate::stage::belay::World;
use stage::{Stage, ready_of};

pub async fn an_operation_shows_the_progress_that_the_engine_reports(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    stage.script.set_progress(40);
    let belay = &stage.belay;
    belay
        .eventually("the step shows the engine's percentage", || async {
            let status = belay.status(&upgrade).await;
            let percent = status.steps.first().and_then(|step| step.percent_complete);
            percent == Some(40) && status.percent_complete > 0
        })
        .await;
    let status = belay.status(&upgrade).await;
    assert_eq!(status.phase, OperationPhase::InProgress);
    assert!(
        status.percent_complete < 40,
        "the pools are not upgraded yet"
    );
    stage.finish_operation(&upgrade).await;
    let status = belay.status(&upgrade).await;
    let names: Vec<_> = status.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["control-plane", "agentpool/np1"]);
    assert!(status.steps.iter().all(|step| step.handle.is_some()));
    let early = stage.script.state().polled_too_early.clone();
    assert_eq!(
        early,
        Vec::<String>::new(),
        "Belay polls a handle only after it is in the status"
    );
    stage.ready_condition_is("True", "Succeeded").await;
}

pub async fn a_restart_before_the_engine_answers_starts_no_second_change(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    stage.script.state().loses_answers = true;
    let upgrade = stage.running_upgrade().await;
    stage.crash();
    stage.script.state().loses_answers = false;
    let started = stage.script.state().started.len();
    stage.start_operator();
    stage.has_handle(&upgrade).await;
    assert_eq!(stage.script.state().started.len(), started);
    stage.finish_operation(&upgrade).await;
}

pub async fn a_restarted_operator_follows_the_running_change(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    stage.has_handle(&upgrade).await;
    stage.crash();
    let started = stage.script.state().started.len();
    stage.start_operator();
    stage.shows_progress(&upgrade, 70).await;
    assert_eq!(stage.script.state().started.len(), started);
    stage.finish_operation(&upgrade).await;
}

pub async fn an_abort_ends_only_after_the_engine_has_stopped(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    stage.script.state().stops_at_once = false;
    let belay = &stage.belay;
    belay.abort(&upgrade, "not now").await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceling).await;
    belay
        .eventually("Belay has asked the engine to stop", || async {
            stage.script.state().stops > 0
        })
        .await;
    // After a restart, Belay asks again, and doesn't report the end before it knows it.
    stage.crash();
    stage.start_operator();
    belay
        .eventually("Belay has asked the engine again", || async {
            stage.script.state().stops > 1
        })
        .await;
    assert_eq!(
        belay.status(&upgrade).await.phase,
        OperationPhase::Canceling
    );
    assert_eq!(belay.cluster_status().await.operations.len(), 1);
    stage.script.end_changes(&State::Stopped);
    let status = belay.is_canceled(&upgrade).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    belay.lock_is_free_in_status().await;
    assert_eq!(
        belay.cluster_status().await.kubernetes_version.as_deref(),
        Some("1.35.7")
    );
}

pub async fn an_abort_that_the_engine_refuses_fails_and_can_be_requested_again(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    let message = "InvalidStateException: the update can't be canceled now";
    stage.script.state().answers_stop = Some(Answer::Refused(message.into()));
    let belay = &stage.belay;
    belay.abort(&upgrade, "first").await;
    assert_eq!(stage.abort_is_refused(&upgrade).await, message);
    stage.shows_progress(&upgrade, 60).await;
    assert_eq!(
        stage.script.state().stops,
        1,
        "Belay sends the same request once"
    );
    stage.script.state().answers_stop = None;
    belay.abort(&upgrade, "second").await;
    belay.is_canceled(&upgrade).await;
    assert_eq!(stage.script.state().stops, 2);
}

pub async fn an_abort_fails_with_the_engines_message_if_an_accepted_stop_turns_out_to_be_impossible(
    world: Arc<World>,
) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    stage.script.state().stops_at_once = false;
    let belay = &stage.belay;
    belay.abort(&upgrade, "not now").await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceling).await;
    let message = "the control plane has begun to go back";
    stage.script.end_changes(&State::Running(Running {
        not_stopped: Some(message.into()),
        ..Running::default()
    }));
    assert_eq!(stage.abort_is_refused(&upgrade).await, message);
    stage.finish_operation(&upgrade).await;
}

pub async fn an_operation_fails_if_the_engine_reports_done_but_never_reaches_the_goal(
    world: Arc<World>,
) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    {
        let mut state = stage.script.state();
        (state.is_never_whole, state.is_quick) = (true, true);
    }
    stage.script.finish_changes();
    let error = stage.belay.fails(&upgrade).await;
    assert_eq!(error.code, "NotReached");
    assert!(error.message.contains("type Reconcile"), "{error:?}");
}

pub async fn belay_asks_the_engine_only_once_to_stop_a_deleted_operation(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    stage.script.state().answers_stop = Some(Answer::Refused("no".into()));
    let belay = &stage.belay;
    belay.kubectl(&["delete", "operation", &upgrade, "--wait=false"]);
    assert_eq!(stage.abort_is_refused(&upgrade).await, "no");
    stage.shows_progress(&upgrade, 60).await;
    assert_eq!(stage.script.state().stops, 1);
    stage.script.state().is_quick = true;
    stage.script.finish_changes();
    belay
        .eventually("the Operation is deleted", || async {
            stage
                .operations()
                .await
                .iter()
                .all(|operation| operation.name_any() != upgrade)
        })
        .await;
    stage.ready_condition_is("True", "Succeeded").await;
}

pub async fn an_operation_that_is_aborted_too_late_ends_with_the_engines_result(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let own = json!({"kubernetesVersion": "1.35.7"});
    stage.belay.set_pool("np1", own).await;
    stage.belay.lock_is_free_in_status().await;
    let upgrade = stage.running_upgrade().await;
    stage.script.state().answers_stop = Some(Answer::TooLate);
    let belay = &stage.belay;
    belay.abort(&upgrade, "too late").await;
    belay
        .eventually("the engine was asked to stop", || async {
            stage.script.state().stops > 0
        })
        .await;
    stage.script.finish_changes();
    let status = belay.succeeds(&upgrade).await;
    if let Some(cancellation) = status.cancellation {
        assert_eq!(cancellation.status, CancellationStatus::Failed);
    }
}

pub async fn unsupported_operations_fail_with_an_alternative_and_unsupported_aborts_are_refused(
    world: Arc<World>,
) {
    let stage = Stage::ready(&world).await;
    let belay = &stage.belay;
    belay
        .create_operation_on_cluster("stop", "Stop", json!({}))
        .await;
    let error = belay.fails("stop").await;
    assert_eq!(error.code, "OperationNotSupported");
    assert!(error.message.contains("scale its pools to 0"), "{error:?}");
    // If the engine cannot stop this work, Belay refuses the abort at once.
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    stage.engine_is_working().await;
    belay.abort(&scale, "no").await;
    let why = stage.abort_is_refused(&scale).await;
    assert_eq!(why, "this engine can't stop a scale");
    assert_eq!(stage.script.state().stops, 0);
    stage.finish_operation(&scale).await;
}

pub async fn an_unreachable_cluster_is_unknown_and_does_not_delay_other_clusters(
    world: Arc<World>,
) {
    let stage = Stage::ready(&world).await;
    let belay = &stage.belay;
    stage.script.state().is_quick = true;
    stage.create_cluster("other").await;
    stage.script.state().unreachable.insert("demo".into());
    let ready = stage.ready_condition_is("Unknown", "Unreachable").await;
    assert!(ready.message.contains("the region is down"), "{ready:?}");
    // Belay starts nothing on a cluster that it cannot see, also after a restart.
    stage.crash();
    stage.start_operator();
    belay.set_version("1.36.3").await;
    let spec = r#"{"spec":{"kubernetesVersion":"1.36.3"}}"#;
    belay.kubectl(&[
        "patch",
        "managedcluster",
        "other",
        "--type=merge",
        "-p",
        spec,
    ]);
    let upgrade = belay.operation(OperationType::Upgrade, "other").await;
    belay.succeeds(&upgrade).await;
    stage.ready_condition_is("Unknown", "Unreachable").await;
    let status = belay.cluster_status().await;
    assert_eq!(status.kubernetes_version.as_deref(), Some("1.35.7"));
    assert_eq!(belay.pool_status("np1").await.count, 2);
    let upgrades = belay.operations(OperationType::Upgrade, "demo").await;
    assert_eq!(upgrades.len(), 0);
    stage.script.state().unreachable.clear();
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    stage.ready_condition_is("True", "Succeeded").await;
}

pub async fn an_abort_is_accepted_while_the_engine_is_unreachable(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let upgrade = stage.running_upgrade().await;
    stage.script.state().unreachable.insert("demo".into());
    let belay = &stage.belay;
    let status = belay.is_blocked(&upgrade).await;
    let blocked = status.blocked.expect("a block");
    assert_eq!(blocked.reason, "Unreachable");
    assert!(
        blocked.message.contains("the region is down"),
        "{blocked:?}"
    );
    belay.abort(&upgrade, "give up").await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceling).await;
    assert_eq!(stage.script.state().stops, 0);
    stage.script.state().unreachable.clear();
    belay.is_canceled(&upgrade).await;
}

pub async fn a_temporary_engine_error_blocks_the_operation_and_a_permanent_one_fails_it(
    world: Arc<World>,
) {
    let stage = Stage::ready(&world).await;
    let belay = &stage.belay;
    let passing = Passing {
        reason: "Throttled".into(),
        message: "429: rate exceeded".into(),
        retry_after: Some(Duration::from_millis(200)),
    };
    stage.script.state().refuses_to_begin = Some(EngineError::Passing(passing));
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let status = belay.is_blocked(&upgrade).await;
    let blocked = status.blocked.expect("a block");
    assert_eq!(blocked.reason, "Throttled");
    assert!(
        blocked.message.ends_with("429: rate exceeded"),
        "{blocked:?}"
    );
    let error = OperationError {
        code: "QuotaExceeded".into(),
        message: "no cores are left in the region".into(),
        ..OperationError::default()
    };
    stage.script.state().refuses_to_begin = Some(EngineError::Final(error.clone()));
    assert_eq!(belay.fails(&upgrade).await, error);
}

pub async fn a_change_started_by_others_holds_the_lock_and_can_be_aborted(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let belay = &stage.belay;
    let spec = OperationSpec {
        type_: OperationType::Upgrade,
        target: OperationTarget {
            kind: TargetKind::ManagedCluster,
            name: "demo".into(),
        },
        kubernetes_version: Some("1.36.3".into()),
        count: None,
        timeout: None,
    };
    stage.script.others_start("demo", "az-1", spec, "az");
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay
        .is_in_phase(&upgrade, OperationPhase::InProgress)
        .await;
    belay
        .eventually("the status says who started it", || async {
            let status = belay.cluster_status().await;
            let ready = ready_of(&status.conditions);
            status.operations.len() == 1
                && ready.is_some_and(|ready| ready.message.ends_with("started by az"))
        })
        .await;
    let message = format!("Another operation ({upgrade}) is in progress");
    belay
        .eventually("admission refuses another change", || async {
            let scale = [
                "scale",
                "agentpool",
                "np1",
                "--replicas=3",
                "--dry-run=server",
            ];
            belay
                .try_kubectl(&scale)
                .is_err_and(|why| why.contains(&message))
        })
        .await;
    belay.abort(&upgrade, "not by hand").await;
    belay.is_canceled(&upgrade).await;
    assert_eq!(stage.script.state().stops, 1);
    stage.script.end_changes(&State::Stopped);
    stage.ready_condition_is("True", "Succeeded").await;
}

pub async fn a_change_made_by_others_is_shown_and_not_reverted(world: Arc<World>) {
    let stage = Stage::ready(&world).await;
    let belay = &stage.belay;
    let spec = OperationSpec {
        type_: OperationType::Scale,
        target: OperationTarget {
            kind: TargetKind::AgentPool,
            name: "np1".into(),
        },
        kubernetes_version: None,
        count: Some(5),
        timeout: None,
    };
    stage.script.others_start("demo", "az-2", spec, "az");
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_in_phase(&scale, OperationPhase::InProgress).await;
    stage.script.others_scale("demo", "np1", 5);
    stage.script.finish_changes();
    belay.succeeds(&scale).await;
    belay
        .eventually("the pool reports a change by others", || async {
            let status = belay.pool_status("np1").await;
            let ready = ready_of(&status.conditions);
            status.count == 5 && ready.is_some_and(|ready| ready.reason == "ChangedByOthers")
        })
        .await;
    assert_eq!(belay.pool("np1").await.spec.count, 2);
    // A change of the spec has effect.
    stage.script.state().is_quick = true;
    belay.set_count("np1", 4).await;
    belay
        .eventually("the pool has the new count", || async {
            belay.pool_status("np1").await.count == 4
        })
        .await;
}

pub async fn observations_of_one_account_are_rate_limited(world: Arc<World>) {
    let stage = Stage::start(&world).await;
    for number in 0..40 {
        stage.create_cluster(&format!("c{number}")).await;
    }
    let belay = &stage.belay;
    belay
        .eventually("Belay has observed the clusters 400 times", || async {
            stage.script.state().observations.len() > 400
        })
        .await;
    let observations = stage.script.state().observations.clone();
    let second = Duration::from_secs(1);
    let in_each_second = observations.iter().map(|from| {
        let within = observations
            .iter()
            .filter(|at| **at >= *from && **at < *from + second);
        within.count()
    });
    // 50 in a second, and a burst of the same number after a pause.
    assert!(
        in_each_second.max().unwrap_or_default() <= 105,
        "at most 105 observations in a second"
    );
}
