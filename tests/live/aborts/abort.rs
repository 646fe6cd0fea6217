//! Aborts of single Operations: an abort stops an operation in its current state.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use belay::api::{
    CancellationStatus, ConcurrencyPolicy, OperationPhase, OperationType, ProvisioningState,
    StepPhase, TargetKind,
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::stage::belay::{
    Belay, KUBECTL_PATIENCE, PATIENCE, World, is_cordoned, is_true, version,
};

/// The approximate number of sequential writes of an abort, if one node is being drained.
const ABORT_WRITES: usize = 10;

pub async fn an_abort_cancels_a_blocked_upgrade_in_its_current_state(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(3, 3).await;
    belay.abort(&operation, "stuck on a PDB").await;
    let status = belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    assert!(
        belay.phases(&operation).await.ends_with(&[
            OperationPhase::InProgress,
            OperationPhase::Canceling,
            OperationPhase::Canceled
        ]),
        "Canceling comes before Canceled"
    );
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    assert_eq!(cancellation.reason, "stuck on a PDB");
    assert!(cancellation.requested_at.is_some() && cancellation.accepted_at.is_some());
    assert!(status.end_time.is_some() && status.blocked.is_none());
    assert!(status.percent_complete > 0 && status.percent_complete < 100);
    let phases: Vec<_> = status.steps.iter().map(|step| step.phase).collect();
    assert!(
        phases.contains(&StepPhase::Succeeded),
        "the control plane was upgraded: {phases:?}"
    );
    assert!(phases.contains(&StepPhase::Canceled), "{phases:?}");
    assert!(phases.contains(&StepPhase::Skipped), "{phases:?}");
    belay
        .eventually("the cluster is Canceled and the lock is free", || async {
            let status = belay.cluster().await.status.unwrap_or_default();
            status.provisioning_state == Some(ProvisioningState::Canceled)
                && status.operations.is_empty()
        })
        .await;
    let nodes = belay.nodes().await;
    assert!(
        nodes.iter().all(|node| !is_cordoned(node)),
        "the node whose drain was not finished must be uncordoned"
    );
    let versions: std::collections::BTreeSet<_> = nodes.iter().map(version).collect();
    assert_eq!(
        versions.len(),
        2,
        "the abort rolls nothing back: {versions:?}"
    );
    belay.check_history();
}

pub async fn an_abort_takes_less_than_two_seconds(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(3, 3).await;
    let abort = async {
        let started = Instant::now();
        belay.abort(&operation, "in a hurry").await;
        while !belay.seen.has_ended(&operation) {
            assert!(started.elapsed() < PATIENCE, "the Operation does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed()
    };
    // The duration of requests depends on the API server and on the load of the machine. Therefore the test makes the
    // same number of writes at the same time, and adds their duration to the limit.
    let (took, writes) = tokio::join!(abort, belay.duration_of_writes(ABORT_WRITES));
    println!("abort to Canceled: {took:?}; {ABORT_WRITES} writes: {writes:?}");
    assert_eq!(
        belay.phases(&operation).await.last(),
        Some(&OperationPhase::Canceled)
    );
    // The guarantee of design.md, section 3: a deadline for the operator, not a benchmark.
    assert!(
        took < Duration::from_secs(2) + writes,
        "an abort took {took:?}, and {ABORT_WRITES} writes took {writes:?}"
    );
}

pub async fn an_abort_while_nodes_come_up_leaves_no_unfinished_node(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(0).await;
    belay.cluster_is_ready().await;
    let slow = json!({"spec": {"provider": {"kwok": {"nodeProvisioningTime": "10m"}}}});
    let clusters = belay.api::<belay::api::ManagedCluster>();
    clusters
        .patch("demo", &PatchParams::default(), &Patch::Merge(slow))
        .await
        .expect("patched");
    belay.create_pool("np1", 3).await;
    let operation = belay.operation(OperationType::Create, "np1").await;
    belay.creates_nodes(&operation, 3).await;
    belay.abort(&operation, "wrong size").await;
    belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    assert!(belay.nodes().await.is_empty(), "no unfinished node is left");
    belay.check_history();
}

pub async fn an_aborted_pending_operation_never_starts(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let queue = json!({"spec": {"concurrencyPolicy": "Queue"}});
    let in_flight = belay.blocked_upgrade_of(3, 3).await;
    let clusters = belay.api::<belay::api::ManagedCluster>();
    clusters
        .patch("demo", &PatchParams::default(), &Patch::Merge(queue))
        .await
        .expect("patched");
    // Admission of a pool's Operation reads the policy of the cluster from the pool's status.
    belay
        .eventually("the status of np1 shows the policy Queue", || async {
            let status = belay.pool("np1").await.status.unwrap_or_default();
            let cluster = status.cluster.expect("its cluster");
            cluster.concurrency_policy == ConcurrencyPolicy::Queue
        })
        .await;
    belay
        .reconcile(TargetKind::AgentPool, "np1", "waiting")
        .await;
    belay
        .eventually("the second operation waits for its turn", || async {
            is_true(&belay.status("waiting").await.conditions, "Reconciling")
        })
        .await;
    belay.abort("waiting", "not needed").await;
    let status = belay.is_in_phase("waiting", OperationPhase::Canceled).await;
    assert_eq!(
        belay.phases("waiting").await,
        [OperationPhase::Pending, OperationPhase::Canceled]
    );
    assert!(
        status.start_time.is_none() && status.steps.is_empty(),
        "it never started"
    );
    assert_eq!(
        status.cancellation.expect("a cancellation").status,
        CancellationStatus::Successful
    );
    assert_eq!(
        belay.status(&in_flight).await.phase,
        OperationPhase::InProgress,
        "the other operation must continue"
    );
    belay.check_history();
}

pub async fn a_second_abort_changes_nothing(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(3, 3).await;
    belay.abort(&operation, "first").await;
    let first = belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    let refusal = belay.try_abort(&operation, "second").await;
    assert!(refusal.is_err(), "the Operation has ended");
    // An effect of the second abort would be visible when another operation has ended.
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    assert_eq!(belay.status(&operation).await, first);
}

pub async fn an_abort_that_races_with_the_end_leads_to_canceled_or_succeeded(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let (mut canceled, mut succeeded) = (0, 0);
    let mut known = BTreeSet::new();
    for round in 0..30_u32 {
        let count = if round % 2 == 0 { 2 } else { 1 };
        belay.set_count("np1", count).await;
        let operation = new_scale(&belay, &known).await;
        known.insert(operation.clone());
        // Each round waits longer, so that the aborts come at different moments.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 4)).await;
        let aborted = belay.try_abort(&operation, "race with the end").await;
        belay
            .eventually("the operation ends", || async {
                belay.status(&operation).await.phase.is_finished()
            })
            .await;
        let status = belay.status(&operation).await;
        let cancellation = status
            .cancellation
            .as_ref()
            .map(|cancellation| cancellation.status);
        match status.phase {
            OperationPhase::Canceled => {
                canceled += 1;
                assert!(aborted.is_ok(), "{operation}");
                assert_eq!(
                    cancellation,
                    Some(CancellationStatus::Successful),
                    "{operation}"
                );
            }
            OperationPhase::Succeeded => {
                succeeded += 1;
                // `None` if the operation had ended before the request.
                assert_ne!(
                    cancellation,
                    Some(CancellationStatus::Successful),
                    "{operation}"
                );
                assert_ne!(
                    cancellation,
                    Some(CancellationStatus::InProgress),
                    "{operation}"
                );
            }
            phase => panic!("{operation} ended as {phase:?}"),
        }
        belay.lock_is_free().await;
        let name = format!("reconcile-{round}");
        belay.reconcile(TargetKind::AgentPool, "np1", &name).await;
        belay
            .eventually("the Reconcile succeeds", || async {
                belay.status(&name).await.phase == OperationPhase::Succeeded
            })
            .await;
        belay.pool_is_ready("np1").await;
    }
    println!("canceled {canceled}, succeeded {succeeded}");
    assert_eq!(canceled + succeeded, 30);
    belay.check_history();
}

/// Waits for a Scale of the pool that isn't known yet. Returns its name.
async fn new_scale(belay: &Belay, known: &BTreeSet<String>) -> String {
    let find = || async {
        let operations = belay.operations(OperationType::Scale, "np1").await;
        let mut names = operations.iter().map(ResourceExt::name_any);
        names.find(|name| !known.contains(name))
    };
    belay
        .eventually("there is a new Scale", || async { find().await.is_some() })
        .await;
    find().await.expect("an operation")
}

pub async fn an_abort_after_step_lets_the_current_step_finish(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(3, 3).await;
    belay.kubectl(&[
        "annotate",
        "operation",
        &operation,
        "belay.dev/abort=after this node",
        "belay.dev/abort-policy=AfterStep",
    ]);
    belay
        .is_in_phase(&operation, OperationPhase::Canceling)
        .await;
    let draining = belay
        .nodes()
        .await
        .into_iter()
        .find(is_cordoned)
        .expect("a node that is drained");
    belay.set_min_available(2).await;
    belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    let nodes = belay.nodes().await;
    assert!(
        nodes
            .iter()
            .all(|node| node.metadata.name != draining.metadata.name),
        "the drain in progress must finish"
    );
    assert!(
        nodes.iter().any(|node| version(node) == "v1.35.7"),
        "no other node is replaced"
    );
    belay.check_history();
}

pub async fn a_node_deleted_during_an_abort_leaves_its_pending_step_skipped(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(3, 3).await;
    let policy = "belay.dev/abort-policy=AfterStep";
    belay.kubectl(&["annotate", "operation", &operation, policy]);
    belay.abort(&operation, "after this node").await;
    belay
        .is_in_phase(&operation, OperationPhase::Canceling)
        .await;
    let nodes = belay.nodes().await;
    let is_waiting = |node: &&Node| !is_cordoned(node) && version(node) == "v1.35.7";
    let waiting = nodes.iter().find(is_waiting).expect("a node that waits");
    let waiting = waiting.name_any();
    belay.kubectl(&["delete", "node", &waiting]);
    belay.is_idle().await;
    belay.set_min_available(0).await;
    let canceled = belay.is_canceled(&operation).await;
    let step = format!("node/{waiting}");
    let step = canceled.steps.iter().find(|found| found.name == step);
    let step = step.expect("its step");
    assert_eq!(step.phase, StepPhase::Skipped, "{step:?}");
    belay.check_history();
}

pub async fn deleting_an_operation_aborts_it(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(3, 3).await;
    belay.kubectl(&["delete", "operation", &operation, KUBECTL_PATIENCE]);
    assert!(
        belay
            .phases(&operation)
            .await
            .contains(&OperationPhase::Canceled),
        "the operation is canceled before it is deleted"
    );
    assert!(belay.nodes().await.iter().all(|node| !is_cordoned(node)));
    let status = belay.cluster().await.status.expect("a status");
    assert!(status.operations.is_empty(), "the lock is free");
    assert_eq!(status.last_operation.map(|last| last.name), Some(operation));
    belay.check_history();
}
