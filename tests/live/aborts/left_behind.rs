//! What an abort leaves behind, for each type of operation and both policies, and how to continue.

use std::sync::Arc;

use belay::api::{
    AgentPool, CancellationStatus, OperationPhase, OperationType, PowerState, ProvisioningState,
    StepPhase, TargetKind,
};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use serde_json::json;

use crate::stage::belay::{
    Belay, KUBECTL_PATIENCE, World, is_cordoned, is_node_ready, is_true, version,
};

/// What an abort does with the step in progress.
const POLICIES: [&str; 2] = ["Now", "AfterStep"];

/// Aborts an operation, and lets the steps in progress finish if the policy says so.
async fn abort(belay: &Belay, operation: &str, policy: &str) {
    belay
        .annotate::<belay::api::Operation>(
            operation,
            json!({"belay.dev/abort": "test", "belay.dev/abort-policy": policy}),
        )
        .await;
    if policy == "AfterStep" {
        belay
            .is_in_phase(operation, OperationPhase::Canceling)
            .await;
        belay.set_min_available(0).await;
        belay.stop_refusing();
    }
    let status = belay.is_in_phase(operation, OperationPhase::Canceled).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    belay.lock_is_free().await;
    let nodes = belay.nodes().await;
    assert!(
        nodes
            .iter()
            .all(|node| !is_cordoned(node) && is_node_ready(node)),
        "all nodes are Ready and none is cordoned"
    );
}

/// Lets pods be evicted, creates a Reconcile, and waits until it succeeds.
async fn continue_with_reconcile(belay: &Belay, kind: TargetKind, target: &str) {
    belay.set_min_available(0).await;
    belay.reconcile(kind, target, "continue").await;
    belay.succeeds("continue").await;
    belay.lock_is_free().await;
}

/// Checks that a pool reports that it is on hold.
async fn is_stalled(belay: &Belay, pool: &str) {
    belay
        .eventually("the pool is on hold", || async {
            let status = belay.pool_status(pool).await;
            is_true(&status.conditions, "Stalled")
                && status.provisioning_state == Some(ProvisioningState::Canceled)
        })
        .await;
}

fn versions(nodes: &[Node]) -> Vec<String> {
    let mut versions: Vec<_> = nodes.iter().map(version).collect();
    versions.sort();
    versions
}

pub async fn an_aborted_create_leaves_no_unfinished_node_and_can_continue(world: Arc<World>) {
    for policy in POLICIES {
        let belay = Belay::start(&world).await;
        belay.cluster_with_blocked_drains(1).await;
        belay.set_provisioning_time("1h").await;
        belay.cluster_is_ready().await;
        // Belay creates two nodes at once, and none of them comes up.
        belay.create_pool("np2", 2).await;
        let create = belay.operation(OperationType::Create, "np2").await;
        belay.creates_nodes(&create, 2).await;
        if policy == "Now" {
            abort(&belay, &create, policy).await;
            assert_eq!(belay.nodes().await.len(), 1, "no unfinished node is left");
            is_stalled(&belay, "np2").await;
            belay.set_provisioning_time("0s").await;
            belay.cluster_is_ready().await;
            continue_with_reconcile(&belay, TargetKind::AgentPool, "np2").await;
            assert_eq!(belay.nodes().await.len(), 3);
        } else {
            // An abort with this policy starts no new step, and ends when the steps in progress have ended.
            belay
                .annotate::<belay::api::Operation>(
                    &create,
                    json!({"belay.dev/abort": "test", "belay.dev/abort-policy": policy}),
                )
                .await;
            belay.is_in_phase(&create, OperationPhase::Canceling).await;
            // The nodes in progress may still come up.
            belay.creates_nodes(&create, 2).await;
            abort(&belay, &create, "Now").await;
            assert_eq!(belay.nodes().await.len(), 1, "Now overrides AfterStep");
        }
        belay.check_history();
    }
}

pub async fn an_aborted_upgrade_leaves_the_control_plane_on_its_old_or_new_version(
    world: Arc<World>,
) {
    for policy in POLICIES {
        let belay = Belay::start(&world).await;
        belay.cluster_with_blocked_drains(1).await;
        // With `AfterStep`, the API server refuses the end of the change until the test allows it.
        let step_finishes = policy == "AfterStep";
        let duration = if step_finishes { "1ms" } else { "1h" };
        belay.set_provisioning_time(duration).await;
        belay.cluster_is_ready().await;
        if step_finishes {
            belay.refuse_end_of_control_plane_change().await;
        }
        belay.set_version("1.36.3").await;
        let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
        belay
            .eventually("the control plane is being upgraded", || async {
                let steps = belay.status(&upgrade).await.steps;
                steps
                    .first()
                    .is_some_and(|step| step.phase == StepPhase::InProgress)
            })
            .await;
        abort(&belay, &upgrade, policy).await;
        let runs = belay.cluster_status().await.kubernetes_version;
        let (expected, step) = if policy == "Now" {
            ("1.35.7", StepPhase::Canceled)
        } else {
            ("1.36.3", StepPhase::Succeeded)
        };
        assert_eq!(runs.as_deref(), Some(expected));
        let phases: Vec<_> = belay
            .status(&upgrade)
            .await
            .steps
            .iter()
            .map(|step| step.phase)
            .collect();
        assert_eq!(phases, [step, StepPhase::Skipped]);
        assert_eq!(versions(&belay.nodes().await), ["v1.35.7"]);
        belay.set_provisioning_time("0s").await;
        continue_with_reconcile(&belay, TargetKind::ManagedCluster, "demo").await;
        belay.cluster_is_ready().await;
        assert_eq!(versions(&belay.nodes().await), ["v1.36.3"]);
        belay.check_history();
    }
}

pub async fn an_aborted_upgrade_leaves_nodes_of_both_versions(world: Arc<World>) {
    for policy in POLICIES {
        let belay = Belay::start(&world).await;
        belay.cluster_with_blocked_drains(2).await;
        belay.set_version("1.36.3").await;
        let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
        belay.is_blocked(&upgrade).await;
        abort(&belay, &upgrade, policy).await;
        let expected: &[_] = if policy == "Now" {
            &["v1.35.7", "v1.35.7", "v1.36.3"]
        } else {
            &["v1.35.7", "v1.36.3"]
        };
        assert_eq!(versions(&belay.nodes().await), expected);
        continue_with_reconcile(&belay, TargetKind::ManagedCluster, "demo").await;
        assert_eq!(versions(&belay.nodes().await), ["v1.36.3", "v1.36.3"]);
        belay.check_history();
    }
}

pub async fn an_aborted_scale_down_leaves_the_nodes_that_were_not_drained(world: Arc<World>) {
    for policy in POLICIES {
        let belay = Belay::start(&world).await;
        belay.cluster_with_blocked_drains(3).await;
        belay.set_count("np1", 1).await;
        let scale = belay.operation(OperationType::Scale, "np1").await;
        belay.is_blocked(&scale).await;
        if policy == "AfterStep" {
            // Both drains have started. No step is left to cancel, so the Operation succeeds.
            belay
                .annotate::<belay::api::Operation>(
                    &scale,
                    json!({"belay.dev/abort": "test", "belay.dev/abort-policy": policy}),
                )
                .await;
            belay.is_in_phase(&scale, OperationPhase::Canceling).await;
            belay.set_min_available(0).await;
            let status = belay.succeeds(&scale).await;
            assert_eq!(
                status.cancellation.expect("a cancellation").status,
                CancellationStatus::Failed
            );
            assert_eq!(belay.nodes().await.len(), 1);
        } else {
            abort(&belay, &scale, policy).await;
            assert_eq!(belay.nodes().await.len(), 3);
            is_stalled(&belay, "np1").await;
            continue_with_reconcile(&belay, TargetKind::AgentPool, "np1").await;
            assert_eq!(belay.nodes().await.len(), 1);
        }
        belay.check_history();
    }
}

pub async fn an_aborted_scale_up_leaves_the_old_nodes(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(1).await;
    belay.set_provisioning_time("1h").await;
    belay.cluster_is_ready().await;
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.creates_nodes(&scale, 2).await;
    abort(&belay, &scale, "Now").await;
    assert_eq!(belay.nodes().await.len(), 1);
    is_stalled(&belay, "np1").await;
    belay.set_provisioning_time("0s").await;
    belay.cluster_is_ready().await;
    continue_with_reconcile(&belay, TargetKind::AgentPool, "np1").await;
    assert_eq!(belay.nodes().await.len(), 3);
    belay.check_history();
}

pub async fn an_aborted_stop_leaves_a_running_pool_with_the_nodes_that_were_not_drained(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay
        .set_pool("np1", json!({"powerState": "Stopped"}))
        .await;
    let stop = belay.operation(OperationType::Stop, "np1").await;
    belay.is_blocked(&stop).await;
    abort(&belay, &stop, "Now").await;
    is_stalled(&belay, "np1").await;
    let power = belay
        .pool_status("np1")
        .await
        .power_state
        .expect("a power state");
    assert_eq!(power.code, PowerState::Running);
    assert_eq!(belay.nodes().await.len(), 2);
    continue_with_reconcile(&belay, TargetKind::AgentPool, "np1").await;
    assert!(belay.nodes().await.is_empty());
    let power = belay
        .pool_status("np1")
        .await
        .power_state
        .expect("a power state");
    assert_eq!(power.code, PowerState::Stopped);
    belay.check_history();
}

pub async fn an_aborted_start_leaves_a_stopped_pool_if_no_node_was_up(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay
        .set_pool("np1", json!({"powerState": "Stopped"}))
        .await;
    belay
        .eventually("there are no nodes", || async {
            belay.nodes().await.is_empty()
        })
        .await;
    belay.pool_is_ready("np1").await;
    belay.set_provisioning_time("1h").await;
    belay.cluster_is_ready().await;
    belay.lock_is_free().await;
    belay
        .set_pool("np1", json!({"powerState": "Running"}))
        .await;
    let start = belay.operation(OperationType::Start, "np1").await;
    belay.creates_nodes(&start, 1).await;
    abort(&belay, &start, "Now").await;
    is_stalled(&belay, "np1").await;
    assert!(belay.nodes().await.is_empty());
    let power = belay
        .pool_status("np1")
        .await
        .power_state
        .expect("a power state");
    assert_eq!(power.code, PowerState::Stopped);
    belay.set_provisioning_time("0s").await;
    belay.cluster_is_ready().await;
    belay.lock_is_free().await;
    belay
        .create_operation_on_pool("continue", "np1", "Start", json!({}))
        .await;
    belay.succeeds("continue").await;
    assert_eq!(belay.nodes().await.len(), 1);
    belay.check_history();
}

pub async fn an_aborted_cluster_stop_leaves_the_control_plane_on(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    // A stop of a cluster deletes all nodes at once. The test refuses their deletion, so that the stop doesn't end.
    belay.refuse_node_changes("DELETE").await;
    belay.set_cluster(json!({"powerState": "Stopped"})).await;
    let stop = belay.operation(OperationType::Stop, "demo").await;
    belay
        .eventually("all nodes are cordoned", || async {
            belay.nodes().await.iter().all(is_cordoned)
        })
        .await;
    abort(&belay, &stop, "Now").await;
    let status = belay.cluster_status().await;
    assert_eq!(
        status.power_state.map(|power| power.code),
        Some(PowerState::Running)
    );
    assert_eq!(status.provisioning_state, Some(ProvisioningState::Canceled));
    assert_eq!(belay.nodes().await.len(), 2);
    belay.stop_refusing();
    continue_with_reconcile(&belay, TargetKind::ManagedCluster, "demo").await;
    assert!(belay.nodes().await.is_empty());
    belay.check_history();
}

pub async fn an_aborted_update_leaves_the_old_settings_on_nodes_that_it_did_not_reach(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.lock_is_free().await;
    belay.refuse_node_changes("UPDATE").await;
    belay
        .set_pool("np1", json!({"nodeLabels": {"tier": "gold"}}))
        .await;
    let update = belay.operation(OperationType::Update, "np1").await;
    belay.is_in_phase(&update, OperationPhase::InProgress).await;
    abort(&belay, &update, "Now").await;
    is_stalled(&belay, "np1").await;
    let labelled = || async {
        belay
            .nodes()
            .await
            .iter()
            .filter(|node| node.labels().contains_key("tier"))
            .count()
    };
    assert_eq!(labelled().await, 0);
    belay.stop_refusing();
    belay
        .reconcile(TargetKind::AgentPool, "np1", "continue")
        .await;
    belay.succeeds("continue").await;
    assert_eq!(labelled().await, 2);
    belay.check_history();
}

pub async fn an_aborted_delete_leaves_a_terminating_pool_that_a_reconcile_deletes(
    world: Arc<World>,
) {
    for policy in POLICIES {
        let belay = Belay::start(&world).await;
        belay.cluster_with_blocked_drains(2).await;
        belay.kubectl(&["delete", "ap", "np1", "--wait=false"]);
        let delete = belay.operation(OperationType::Delete, "np1").await;
        belay.is_blocked(&delete).await;
        if policy == "AfterStep" {
            belay
                .annotate::<AgentPool>(
                    "np1",
                    json!({"belay.dev/abort": "on the pool", "belay.dev/abort-policy": "Now"}),
                )
                .await;
            belay.is_in_phase(&delete, OperationPhase::Canceled).await;
            belay.lock_is_free().await;
        } else {
            abort(&belay, &delete, policy).await;
        }
        is_stalled(&belay, "np1").await;
        assert!(
            belay
                .pool("np1")
                .await
                .metadata
                .deletion_timestamp
                .is_some(),
            "the pool stays Terminating"
        );
        assert_eq!(belay.nodes().await.len(), 2);
        belay.kill_operator();
        belay.start_operator();
        belay.set_min_available(0).await;
        belay
            .reconcile(TargetKind::AgentPool, "np1", "continue")
            .await;
        belay.kubectl(&["wait", "--for=delete", "ap/np1", KUBECTL_PATIENCE]);
        assert!(belay.nodes().await.is_empty());
        belay.check_history();
    }
}

pub async fn an_aborted_reconcile_leaves_the_rest_on_hold(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_count("np1", 1).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    abort(&belay, &scale, "Now").await;
    belay.reconcile(TargetKind::AgentPool, "np1", "again").await;
    belay.is_blocked("again").await;
    let state = belay.pool_status("np1").await.provisioning_state;
    assert_eq!(state, Some(ProvisioningState::Updating));
    abort(&belay, "again", "Now").await;
    is_stalled(&belay, "np1").await;
    assert_eq!(belay.nodes().await.len(), 2);
    continue_with_reconcile(&belay, TargetKind::AgentPool, "np1").await;
    assert_eq!(belay.nodes().await.len(), 1);
    belay.check_history();
}

pub async fn an_aborted_cluster_create_leaves_no_control_plane(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(3_600_000).await;
    let create = belay.operation(OperationType::Create, "demo").await;
    belay.is_in_phase(&create, OperationPhase::InProgress).await;
    belay.create_pool("np1", 1).await;
    abort(&belay, &create, "Now").await;
    let status = belay.cluster_status().await;
    assert_eq!(status.kubernetes_version, None);
    assert_eq!(status.provisioning_state, Some(ProvisioningState::Canceled));
    assert!(is_true(&status.conditions, "Stalled"));
    // A change of the provider's settings doesn't end the hold after an abort.
    belay.set_provisioning_time("0s").await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 1);
    belay.check_history();
}

pub async fn an_aborted_cluster_start_leaves_the_control_plane_off(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.set_cluster(json!({"powerState": "Stopped"})).await;
    let stop = belay.operation(OperationType::Stop, "demo").await;
    belay.succeeds(&stop).await;
    belay.set_provisioning_time("1h").await;
    belay.cluster_is_ready().await;
    belay.set_cluster(json!({"powerState": "Running"})).await;
    let start = belay.operation(OperationType::Start, "demo").await;
    belay.is_in_phase(&start, OperationPhase::InProgress).await;
    abort(&belay, &start, "Now").await;
    let status = belay.cluster_status().await;
    assert_eq!(
        status.power_state.map(|power| power.code),
        Some(PowerState::Stopped)
    );
    assert_eq!(status.provisioning_state, Some(ProvisioningState::Canceled));
    belay.set_provisioning_time("0s").await;
    belay
        .create_operation_on_cluster("continue", "Start", json!({}))
        .await;
    belay.succeeds("continue").await;
    belay.pool_is_ready("np1").await;
    belay.cluster_is_ready().await;
    assert_eq!(belay.nodes().await.len(), 1);
    belay.check_history();
}
