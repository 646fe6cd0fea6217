//! Admission refuses changes that are not possible now, with the same message for each way to request them.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType, PowerState};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use crate::stage::{
    belay::{Belay, KUBECTL_PATIENCE, World},
    changes::{operation, refusal_message, wait_or_abort, without_elapsed},
};

pub async fn changes_are_refused_while_an_operation_on_the_cluster_is_in_flight(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    let refusal = format!(
        "(OperationNotAllowed) Operation is not allowed: Another operation ({upgrade}) is in progress, {}",
        wait_or_abort(&upgrade)
    );
    let version = json!({"kubernetesVersion": "1.36.4"});
    for message in belay.refusals_of_change("managedcluster", "demo", &version) {
        assert_eq!(message, refusal);
    }
    for message in belay.refusals_of_change("agentpool", "np1", &json!({"count": 5})) {
        assert_eq!(message, refusal);
    }
    let scale = belay.try_kubectl(&["scale", "agentpool", "np1", "--replicas=5"]);
    assert_eq!(refusal_message(scale), refusal);
    for requested in [
        json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.36.4"}),
        json!({"type": "Reconcile", "on": "demo"}),
        json!({"type": "Scale", "on": "np1", "count": 5}),
        json!({"type": "Stop", "on": "np1"}),
    ] {
        assert_eq!(belay.refusal_of(requested), refusal);
    }
    assert_eq!(
        belay.status(&upgrade).await.phase,
        OperationPhase::InProgress
    );
    belay.check_history();
}

pub async fn an_operation_on_a_pool_blocks_changes_of_the_pool_and_its_cluster(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.blocked_scale().await;
    let on_pool = format!(
        "(OperationNotAllowed) Operation is not allowed: Another agentpool operation ({scale}) is in progress, {}",
        wait_or_abort(&scale)
    );
    let on_cluster = format!(
        "(OperationNotAllowed) Managed Cluster operation is not allowed: Another operation ({scale}) is in progress on agent pool (np1), {}",
        wait_or_abort(&scale)
    );
    for message in belay.refusals_of_change("agentpool", "np1", &json!({"count": 5})) {
        assert_eq!(message, on_pool);
    }
    let scale = belay.try_kubectl(&["scale", "agentpool", "np1", "--replicas=5"]);
    assert_eq!(refusal_message(scale), on_pool);
    let version = json!({"kubernetesVersion": "1.36.4"});
    for message in belay.refusals_of_change("managedcluster", "demo", &version) {
        assert_eq!(message, on_cluster);
    }
    assert_eq!(
        belay.refusal_of(json!({"type": "Scale", "on": "np1", "count": 5})),
        on_pool
    );
    assert_eq!(
        belay.refusal_of(json!({"type": "Stop", "on": "demo"})),
        on_cluster
    );
    // The other pool isn't affected.
    belay.kubectl(&["scale", "agentpool", "np2", "--replicas=1"]);
    belay.pool_is_ready("np2").await;
    belay.check_history();
}

pub async fn changes_that_start_no_operation_are_allowed_during_an_upgrade(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    belay.kubectl(&["label", "managedcluster/demo", "agentpool/np1", "team=a"]);
    belay.kubectl(&["annotate", "managedcluster/demo", "agentpool/np1", "note=b"]);
    for spec in [
        json!({"operationHistoryLimit": 7}),
        json!({"concurrencyPolicy": "Queue"}),
        // With the policy Queue, changes wait.
        json!({"kubernetesVersion": "1.36.4"}),
    ] {
        belay.patch("managedcluster/demo", &spec).expect("allowed");
    }
    assert_eq!(
        belay.status(&upgrade).await.phase,
        OperationPhase::InProgress
    );
}

pub async fn a_start_or_stop_during_an_operation_is_refused_with_the_time_of_the_operation(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.blocked_upgrade().await;
    let since = belay.held_since().await;
    let refusal = |change: &str| {
        format!(
            "(OperationNotAllowed) managed cluster is in Provisioning State(Upgrading) and Power State(Running), {change} cannot be performed The previous operation started at '{since}'"
        )
    };
    for (type_, change) in [("Start", "starting"), ("Stop", "stopping")] {
        let message = belay.refusal_of(json!({"type": type_, "on": "demo"}));
        assert_eq!(without_elapsed(&message, ""), refusal(change));
    }
    for message in
        belay.refusals_of_change("managedcluster", "demo", &json!({"powerState": "Stopped"}))
    {
        assert_eq!(message, refusal("stopping"), "without an elapsed time");
    }
}

pub async fn a_start_while_running_or_a_stop_while_stopped_is_refused_with_the_time(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    let message = belay.refusal_of(json!({"type": "Start", "on": "demo"}));
    let since = belay.last_started().await;
    assert_eq!(
        without_elapsed(&message, ""),
        format!(
            "(OperationNotAllowed) managed cluster is in Provisioning State(Succeeded) and Power State(Running), starting cannot be performed The previous operation started at '{since}'"
        )
    );
    belay
        .patch("managedcluster/demo", &json!({"powerState": "Stopped"}))
        .expect("allowed");
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    let state = belay.cluster().await.status.expect("a status").power_state;
    assert_eq!(state.map(|state| state.code), Some(PowerState::Stopped));
    let message = belay.refusal_of(json!({"type": "Stop", "on": "demo"}));
    let since = belay.last_started().await;
    assert_eq!(
        without_elapsed(&message, "0 days and "),
        format!(
            "(OperationNotAllowed) managed cluster is not currently running, stopping cannot be performed; The stop operation started at '{since}'"
        )
    );
    assert_eq!(
        belay.refusal_of(json!({"type": "Start", "on": "np1"})),
        "(OperationNotAllowed) managed cluster is in Provisioning State(Succeeded) and Power State(Stopped), starting cannot be performed"
    );
    assert_eq!(
        belay.refusal_of(json!({"type": "Stop", "on": "np1"})),
        "(OperationNotAllowed) managed cluster is not currently running, stopping cannot be performed"
    );
    belay.check_history();
}

pub async fn a_target_that_is_being_deleted_allows_only_its_deletion(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    belay.lock_is_free().await;
    // A finalizer of another tool keeps the objects during the test.
    let keep = r#"{"metadata":{"finalizers":["example.com/kept","belay.dev/operation"]}}"#;
    for what in ["agentpool/np1", "agentpool/np2", "managedcluster/demo"] {
        belay.kubectl(&["patch", what, "--type=merge", "-p", keep]);
    }
    let refusal = |state: &str, name: &str, deleted: &str, since: Timestamp| {
        format!(
            "(OperationNotAllowed) Unable to perform '{state}' operation on '{name}' since deletion was issued on '{deleted}'. The only allowed operation is deletion once deletion has started. The delete operation started at '{since}'"
        )
    };
    belay.kubectl(&["delete", "agentpool", "np1", "--wait=false"]);
    belay
        .eventually("Belay has removed its finalizer from np1", || async {
            belay.pool("np1").await.finalizers() == ["example.com/kept"]
        })
        .await;
    let since = belay
        .pool("np1")
        .await
        .metadata
        .deletion_timestamp
        .expect("a time")
        .0;
    for message in belay.refusals_of_change("agentpool", "np1", &json!({"count": 5})) {
        assert_eq!(message, refusal("Scaling", "np1", "np1", since));
    }
    let scale = belay.try_kubectl(&["scale", "agentpool", "np1", "--replicas=5"]);
    assert_eq!(
        refusal_message(scale),
        refusal("Scaling", "np1", "np1", since)
    );
    let message = belay.refusal_of(json!({"type": "Stop", "on": "np1"}));
    assert_eq!(
        without_elapsed(&message, ""),
        refusal("Stopping", "np1", "np1", since)
    );

    belay.kubectl(&["delete", "managedcluster", "demo", "--wait=false"]);
    let since = belay
        .cluster()
        .await
        .metadata
        .deletion_timestamp
        .expect("a time")
        .0;
    belay
        .eventually("np2 shows the deletion of its cluster", || async {
            let status = belay.pool("np2").await.status.unwrap_or_default();
            status
                .cluster
                .is_some_and(|cluster| cluster.deletion_timestamp.is_some())
        })
        .await;
    for message in belay.refusals_of_change(
        "managedcluster",
        "demo",
        &json!({"kubernetesVersion": "1.36.3"}),
    ) {
        assert_eq!(message, refusal("Upgrading", "demo", "demo", since));
    }
    let message = belay.refusal_of(json!({"type": "Stop", "on": "demo"}));
    assert_eq!(
        without_elapsed(&message, ""),
        refusal("Stopping", "demo", "demo", since)
    );
    let message = belay.refusal_of(json!({"type": "Scale", "on": "np2", "count": 3}));
    assert_eq!(
        without_elapsed(&message, ""),
        refusal("Scaling", "np2", "demo", since)
    );
    let pool = r#"{"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np3"}, "spec": {"clusterName": "demo", "count": 1}}"#;
    let message = refusal_message(belay.create(pool));
    assert_eq!(
        without_elapsed(&message, ""),
        refusal("Creating", "np3", "demo", since)
    );
    for what in ["agentpool/np1", "agentpool/np2", "managedcluster/demo"] {
        let remove = r#"[{"op": "remove", "path": "/metadata/finalizers/0"}]"#;
        // This may fail: the object is already gone if Belay removed its finalizer first.
        drop(belay.try_kubectl(&["patch", what, "--type=json", "-p", remove]));
    }
    belay.kubectl(&[
        "wait",
        "--for=delete",
        "managedcluster/demo",
        KUBECTL_PATIENCE,
    ]);
}

pub async fn an_operation_that_would_change_nothing_is_refused(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.cluster_is_ready().await;
    belay.lock_is_free().await;
    for (requested, refusal) in [
        (
            json!({"type": "Create", "on": "demo"}),
            "ManagedCluster demo already exists: use type Reconcile to apply its spec",
        ),
        (
            json!({"type": "Create", "on": "np1"}),
            "AgentPool np1 already exists: use type Reconcile to apply its spec",
        ),
        (
            json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.35.7"}),
            "ManagedCluster demo already runs 1.35.7",
        ),
        (
            json!({"type": "Rollback", "on": "np1", "kubernetesVersion": "1.35.7"}),
            "AgentPool np1 already runs 1.35.7",
        ),
        (
            json!({"type": "Scale", "on": "np1", "count": 2}),
            "AgentPool np1 already has 2 nodes",
        ),
    ] {
        assert_eq!(
            belay.refusal_of(requested),
            format!("(OperationNotAllowed) {refusal}")
        );
    }
}

pub async fn versions_that_a_cluster_or_a_pool_cannot_have_are_refused(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    let invalid = |refusal: &str| format!("(InvalidParameter) {refusal}");
    for (requested, refusal) in [
        (
            json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.37.1"}),
            "a control plane can be upgraded only one minor version at a time: it runs 1.35.7, so upgrade to a 1.36 version first",
        ),
        (
            json!({"type": "Rollback", "on": "demo", "kubernetesVersion": "1.33.1"}),
            "a control plane can be rolled back at most one minor version: it runs 1.35.7, so 1.34 is the oldest possible version",
        ),
        (
            json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.35.6"}),
            "ManagedCluster demo runs 1.35.7, which is newer than 1.35.6: use type Rollback to change to it",
        ),
        (
            json!({"type": "Rollback", "on": "np1", "kubernetesVersion": "1.35.10"}),
            "AgentPool np1 runs 1.35.7, which is older than 1.35.10: use type Upgrade to change to it",
        ),
        (
            json!({"type": "Upgrade", "on": "np1", "kubernetesVersion": "1.35.10"}),
            "AgentPool np1 can't be newer than its control plane, which runs 1.35.7: upgrade the ManagedCluster first",
        ),
        (
            json!({"type": "Rollback", "on": "np1", "kubernetesVersion": "1.31.9"}),
            "AgentPool np1 can't be more than three minor versions older than its control plane, which runs 1.35.7",
        ),
    ] {
        assert_eq!(belay.refusal_of(requested), invalid(refusal));
    }
    for (version, refusal) in [
        (
            "1.37.1",
            "a control plane can be upgraded only one minor version at a time: it runs 1.35.7, so upgrade to a 1.36 version first",
        ),
        (
            "1.33.1",
            "a control plane can be rolled back at most one minor version: it runs 1.35.7, so 1.34 is the oldest possible version",
        ),
    ] {
        let change = json!({"kubernetesVersion": version});
        for message in belay.refusals_of_change("managedcluster", "demo", &change) {
            assert_eq!(message, invalid(refusal));
        }
    }
    let newer = "AgentPool np1 can't be newer than its control plane, which runs 1.35.7: upgrade the ManagedCluster first";
    for message in
        belay.refusals_of_change("agentpool", "np1", &json!({"kubernetesVersion": "1.36.0"}))
    {
        assert_eq!(message, invalid(newer));
    }
    let pool = |name: &str, version: &str| {
        json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": name}, "spec": {"clusterName": "demo", "count": 0, "kubernetesVersion": version}}).to_string()
    };
    assert_eq!(
        refusal_message(belay.create(&pool("np1", "1.35.8"))),
        invalid(newer)
    );
    let older = "AgentPool np1 can't be more than three minor versions older than its control plane, which runs 1.35.7";
    assert_eq!(
        refusal_message(belay.create(&pool("np1", "1.31.8"))),
        invalid(older)
    );
    belay
        .create(&pool("old", "1.32.5"))
        .expect("three minor versions older");
    belay.pool_is_ready("old").await;
    belay.lock_is_free().await;
    let behind = invalid(
        "ManagedCluster demo can't be upgraded to 1.36.3: AgentPool old runs 1.32.5, and a pool can't be more than three minor versions older than its control plane. Upgrade the pool first",
    );
    for message in belay.refusals_of_change(
        "managedcluster",
        "demo",
        &json!({"kubernetesVersion": "1.36.3"}),
    ) {
        assert_eq!(message, behind);
    }
    let requested = json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.36.3"});
    assert_eq!(belay.refusal_of(requested), behind);
}

pub async fn the_version_skew_is_measured_by_the_nodes_and_not_by_the_spec(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let mut upgrade = belay.blocked_upgrade().await;
    for (nth, next) in [(2, "1.37.1"), (3, "1.38.1")] {
        belay.kubectl(&["annotate", "operation", &upgrade, "belay.dev/abort=next"]);
        belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
        belay.lock_is_free().await;
        belay.set_version(next).await;
        upgrade = belay
            .nth_operation(nth, OperationType::Upgrade, "demo")
            .await;
        belay.is_blocked(&upgrade).await;
    }
    belay.kubectl(&["annotate", "operation", &upgrade, "belay.dev/abort=enough"]);
    belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
    belay.lock_is_free().await;
    let refusal = "(InvalidParameter) ManagedCluster demo can't be upgraded to 1.39.1: AgentPool np1 runs 1.35.7, and a pool can't be more than three minor versions older than its control plane. Upgrade the pool first";
    let change = json!({"kubernetesVersion": "1.39.1"});
    for message in belay.refusals_of_change("managedcluster", "demo", &change) {
        assert_eq!(message, refusal);
    }
    let requested = json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.39.1"});
    assert_eq!(belay.refusal_of(requested), refusal);
}

pub async fn the_last_system_pool_cannot_be_deleted_before_its_cluster(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(0).await;
    let pool = |name: &str| {
        json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": name}, "spec": {"clusterName": "demo", "count": 1, "mode": "System"}}).to_string()
    };
    for name in ["sys1", "sys2"] {
        belay.create(&pool(name)).expect("created");
        belay.pool_is_ready(name).await;
    }
    belay.lock_is_free().await;
    belay.kubectl(&["delete", "agentpool", "sys1", KUBECTL_PATIENCE]);
    belay
        .eventually("the status of sys2 counts one System pool", || async {
            let status = belay.pool("sys2").await.status.unwrap_or_default();
            status
                .cluster
                .is_some_and(|cluster| cluster.system_pools == 1)
        })
        .await;
    belay.lock_is_free().await;
    let refusal = "(OperationNotAllowed) AgentPool sys2 is the last System pool of ManagedCluster demo, which needs at least one: create another System pool first";
    assert_eq!(
        refusal_message(belay.try_kubectl(&["delete", "agentpool", "sys2"])),
        refusal
    );
    assert_eq!(
        refusal_message(belay.patch("agentpool/sys2", &json!({"mode": "User"}))),
        refusal
    );
    // An Operation has the same result.
    belay
        .create(&operation(
            "delete-sys2",
            json!({"type": "Delete", "on": "sys2"}),
        ))
        .expect("created");
    let error = belay
        .is_in_phase("delete-sys2", OperationPhase::Failed)
        .await
        .error;
    let error = error.expect("an error");
    assert_eq!(format!("({}) {}", error.code, error.message), refusal);
    belay.kubectl(&["delete", "managedcluster", "demo", KUBECTL_PATIENCE]);
    belay.kubectl(&["wait", "--for=delete", "agentpool/sys2", KUBECTL_PATIENCE]);
}

pub async fn an_abort_is_refused_if_no_operation_is_in_flight(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    let create = belay.operation(OperationType::Create, "np1").await;
    let abort =
        |what: &str| refusal_message(belay.try_kubectl(&["annotate", what, "belay.dev/abort=why"]));
    assert_eq!(
        abort(&format!("operation/{create}")),
        format!(
            "(OperationNotAllowed) Operation {create} has ended (Succeeded): there is nothing to abort"
        )
    );
    assert_eq!(
        abort("managedcluster/demo"),
        "(OperationNotAllowed) no operation is in flight on ManagedCluster demo: there is nothing to abort"
    );
    assert_eq!(
        abort("agentpool/np1"),
        "(OperationNotAllowed) no operation is in flight on AgentPool np1: there is nothing to abort"
    );
}

pub async fn belays_field_manager_gives_other_users_no_rights(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    belay.kubectl(&[
        "create",
        "rolebinding",
        "editors",
        "--clusterrole=belay-editor",
        "--user=eve",
    ]);
    for manager in ["belay", "belay-operation"] {
        let manager = format!("--field-manager={manager}");
        let spec = r#"{"spec":{"kubernetesVersion":"1.36.4"}}"#;
        let patched = belay.try_kubectl(&[
            "--as=eve",
            "patch",
            "managedcluster",
            "demo",
            "--type=merge",
            "-p",
            spec,
            &manager,
        ]);
        let message = refusal_message(patched);
        assert!(
            message.contains(&format!("Another operation ({upgrade})")),
            "{message}"
        );
    }
}
