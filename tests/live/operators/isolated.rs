//! Isolation of failures: if the API server refuses or doesn't answer a request for one object, the work on all other
//! objects continues.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use belay::api::{
    AGENT_POOL_LABEL, CLUSTER_LABEL, CancellationStatus, JOINING, KwokControlPlane, MADE_BY,
    ManagedCluster, NAMESPACE_LABEL, OperationPhase, OperationType,
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::stage::{
    belay::{Belay, World, is_cordoned},
    proxy::{Fault, status},
};

pub async fn a_policy_that_blocks_one_pool_does_not_block_an_abort(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.create_pool("bad", 1).await;
    belay.pool_is_ready("bad").await;
    belay.refuse_changes_of_pool("bad").await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay.abort(&upgrade, "it is blocked").await;
    belay.is_canceled(&upgrade).await;
    belay.lock_is_free_in_status().await;
    belay.stop_refusing();
}

pub async fn a_refused_write_is_reported_on_its_object_and_others_continue(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.refuse_metadata_of_pool("bad", "np1").await;
    belay.create_pool("bad", 1).await;
    belay
        .eventually("the pool reports the refused write", || async {
            let status = belay.pool_status("bad").await;
            status.conditions.iter().any(|condition| {
                condition.type_ == "Stalled"
                    && condition.status == "True"
                    && condition.reason == "WriteRefused"
                    && condition.message.contains("not now")
            })
        })
        .await;
    // Belay cannot add its finalizer to this pool, so it doesn't work on it. The work on all others continues.
    belay.set_count("np1", 2).await;
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 2);
    belay.stop_refusing();
    belay.pool_is_ready("bad").await;
}

pub async fn an_abort_ends_even_if_its_nodes_cannot_be_restored(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay.refuse_node_changes("UPDATE").await;
    belay.abort(&upgrade, "it is blocked").await;
    let canceled = belay.is_canceled(&upgrade).await;
    let cancellation = canceled.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Successful);
    let [left] = &cancellation.left_behind[..] else {
        panic!("{cancellation:?}")
    };
    let cordoned = belay
        .nodes()
        .await
        .into_iter()
        .find(is_cordoned)
        .expect("a node that is still cordoned");
    assert_eq!(
        left.target,
        format!("node/{}", cordoned.metadata.name.expect("a name"))
    );
    assert!(left.message.contains("not now"), "{left:?}");
    belay.lock_is_free_in_status().await;
    belay.stop_refusing();
    belay
        .eventually("no node is cordoned", || async {
            !belay.nodes().await.iter().any(is_cordoned)
        })
        .await;
}

pub async fn an_abort_ends_even_if_the_control_plane_cannot_be_released(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.set_provisioning_time("1h").await;
    belay.cluster_is_ready().await;
    belay.lock_is_free().await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let records = belay.api::<KwokControlPlane>();
    let is_claimed = || async {
        let record = records.get("demo").await.expect("the record");
        record.spec.operation.is_some()
    };
    belay
        .eventually("the upgrade has claimed the control plane", &is_claimed)
        .await;
    let message = status(403, "Forbidden", "not now");
    let fault = Fault::Answer(403, message);
    proxy.add_fault(
        Method::PATCH,
        "kwokcontrolplanes",
        r#""operation":null"#,
        fault,
        usize::MAX,
    );
    belay.abort(&upgrade, "too slow").await;
    let canceled = belay.is_canceled(&upgrade).await;
    let left = canceled.cancellation.expect("a cancellation").left_behind;
    let [left] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!(left.target, "control-plane");
    assert!(left.message.contains("not now"), "{left:?}");
    belay.lock_is_free_in_status().await;
    assert!(is_claimed().await);
    proxy.remove_faults();
    belay
        .eventually("the control plane is released", || async {
            !is_claimed().await
        })
        .await;
    belay.check_history();
}

pub async fn a_refused_node_creation_is_reported_with_the_servers_message(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    for (code, reason, expected) in [
        (403, "Forbidden", "Forbidden"),
        (429, "TooManyRequests", "Throttled"),
        (503, "ServiceUnavailable", "ServerError"),
    ] {
        let message = format!("the server's message for {code}");
        let fault = Fault::Answer(code, status(code, reason, &message));
        proxy.add_fault(Method::POST, "/nodes", "", fault, usize::MAX);
        let count = belay.nodes().await.len() + 1;
        belay.set_count("np1", count).await;
        belay
            .eventually("the server's message is reported", || async {
                let operations = belay.operations(OperationType::Scale, "np1").await;
                let blocked = operations.iter().find_map(|operation| {
                    let status = operation.status.as_ref()?;
                    let is_in_flight = status.phase == OperationPhase::InProgress;
                    status.blocked.clone().filter(|_| is_in_flight)
                });
                blocked.is_some_and(|blocked| {
                    blocked.reason == expected && blocked.message.contains(&message)
                })
            })
            .await;
        proxy.remove_faults();
        belay.pool_is_ready("np1").await;
    }
}

pub async fn a_throttled_eviction_is_not_reported_as_a_budget(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.create_workload(2, 0).await;
    let message = "Too many requests, please try again later.";
    let fault = Fault::Answer(429, status(429, "TooManyRequests", message));
    proxy.add_fault(Method::POST, "/eviction", "", fault, usize::MAX);
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let blocked = belay.is_blocked(&upgrade).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "Throttled");
    assert!(blocked.message.contains(message), "{blocked:?}");
    proxy.remove_faults();
    belay.succeeds(&upgrade).await;
}

pub async fn an_abort_does_not_wait_for_a_write_that_hangs(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    // Each write to the pool hangs for longer than the test waits.
    let hang = Fault::Delay(Duration::from_mins(10));
    proxy.add_fault(Method::PATCH, "/agentpools/np1", "", hang, usize::MAX);
    belay
        .annotate::<belay::api::ManagedCluster>("demo", json!({"example.com/touched": "yes"}))
        .await;
    belay.abort(&upgrade, "it is blocked").await;
    belay.is_canceled(&upgrade).await;
    proxy.remove_faults();
}

pub async fn a_node_created_after_its_clusters_deletion_is_deleted_unless_it_has_joined(
    world: Arc<World>,
) {
    // In this test, another program creates nodes with Belay's labels.
    let belay = Belay::start(&world.without_policies().await).await;
    let late = format!("late-{}", belay.namespace);
    let joined = format!("joined-{}", belay.namespace);
    for (name, annotations) in [
        (
            &late,
            json!({JOINING: "true", MADE_BY: "a-deleted-operation"}),
        ),
        (&joined, json!({})),
    ] {
        let labels = json!({NAMESPACE_LABEL: belay.namespace, CLUSTER_LABEL: "gone", AGENT_POOL_LABEL: "np1"});
        belay.apply(&json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": annotations}}));
    }
    let nodes = Api::<Node>::all(belay.client.clone());
    belay
        .eventually("the node that has not joined is deleted", || async {
            nodes.get_opt(&late).await.expect("an answer").is_none()
        })
        .await;
    let joined_node = nodes.get(&joined).await.expect("the node that has joined");
    assert!(joined_node.metadata.deletion_timestamp.is_none());
    let deleted = nodes.delete(&joined, &DeleteParams::default()).await;
    deleted.expect("deleted");
}

pub async fn work_stops_when_its_cluster_is_gone(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    // The test sends both requests directly one after the other, so that they come before the operator's own deletion.
    let clusters = belay.api::<ManagedCluster>();
    let deleted = clusters.delete("demo", &DeleteParams::background()).await;
    deleted.expect("deleted");
    let without_finalizers = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let patched = clusters
        .patch("demo", &PatchParams::default(), &without_finalizers)
        .await;
    patched.expect("patched");
    belay
        .eventually("the operator stops the work", || async {
            belay
                .log()
                .contains("the cluster no longer exists, stopping the work on it")
        })
        .await;
    let nodes = belay.nodes().await.len();
    belay.set_min_available(0).await;
    // If the drain continued, it would now evict the workload's pods.
    belay.kubectl(&[
        "delete",
        "agentpool",
        "np1",
        "--wait=false",
        "--ignore-not-found",
    ]);
    belay.workload_is_healthy(2).await;
    assert_eq!(belay.nodes().await.len(), nodes);
    // The log names the orphaned nodes, also after a restart of the operator.
    let message = "nodes of a cluster that no longer exists are left";
    let reports = || belay.log().matches(message).count();
    let is_reported = |before| async move { reports() > before };
    belay
        .eventually("the operator reports the orphaned nodes", || is_reported(0))
        .await;
    belay.kill_operator();
    let before = reports();
    belay.start_operator();
    belay
        .eventually("the next operator reports the orphaned nodes", || {
            is_reported(before)
        })
        .await;
}
