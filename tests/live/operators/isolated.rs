//! A failure of one object doesn't affect others: if somebody else refuses a request or doesn't answer it, everything
//! else goes on.

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
    belay.guarded_cluster(2).await;
    belay.create_pool("bad", 1).await;
    belay.pool_is_ready("bad").await;
    belay.refuse_changes_of_pool("bad").await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay.abort(&upgrade, "stuck").await;
    belay.is_canceled(&upgrade).await;
    belay.lock_is_free_in_status().await;
    belay.refuse_no_more();
}

pub async fn a_refused_write_is_reported_on_its_object_and_others_continue(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.refuse_metadata_of_pool("bad", "np1").await;
    belay.create_pool("bad", 1).await;
    belay
        .eventually("says that a write is refused", || async {
            let status = belay.pool_status("bad").await;
            status.conditions.iter().any(|condition| {
                condition.type_ == "Stalled"
                    && condition.status == "True"
                    && condition.reason == "WriteRefused"
                    && condition.message.contains("not now")
            })
        })
        .await;
    // An object that Belay can't keep until its work has ended is left alone; everything else goes on.
    belay.set_count("np1", 2).await;
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 2);
    belay.refuse_no_more();
    belay.pool_is_ready("bad").await;
}

pub async fn an_abort_ends_even_if_its_nodes_cannot_be_restored(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.guarded_cluster(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay.refuse_node_changes("UPDATE").await;
    belay.abort(&upgrade, "stuck").await;
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
        .expect("it stays cordoned");
    assert_eq!(
        left.target,
        format!("node/{}", cordoned.metadata.name.expect("a name"))
    );
    assert!(left.message.contains("not now"), "{left:?}");
    belay.lock_is_free_in_status().await;
    belay.refuse_no_more();
    belay
        .eventually("takes pods on all nodes again", || async {
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
    let is_marked = || async {
        let record = records.get("demo").await.expect("the record");
        record.spec.operation.is_some()
    };
    belay
        .eventually("works on the control plane", &is_marked)
        .await;
    let words = status(403, "Forbidden", "not now");
    let fault = Fault::Answer(403, words);
    proxy.on(
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
    assert!(is_marked().await);
    proxy.heal();
    belay
        .eventually("has released the control plane", || async {
            !is_marked().await
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
        let words = format!("the server's own words about {code}");
        let fault = Fault::Answer(code, status(code, reason, &words));
        proxy.on(Method::POST, "/nodes", "", fault, usize::MAX);
        let count = belay.nodes().await.len() + 1;
        belay.set_count("np1", count).await;
        belay
            .eventually("reports what is refused", || async {
                let operations = belay.operations(OperationType::Scale, "np1").await;
                let blocked = operations.iter().find_map(|operation| {
                    let status = operation.status.as_ref()?;
                    let is_going = status.phase == OperationPhase::InProgress;
                    status.blocked.clone().filter(|_| is_going)
                });
                blocked.is_some_and(|blocked| {
                    blocked.reason == expected && blocked.message.contains(&words)
                })
            })
            .await;
        proxy.heal();
        belay.pool_is_ready("np1").await;
    }
}

pub async fn a_throttled_eviction_is_not_reported_as_a_budget(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.create_workload(2, 0).await;
    let words = "Too many requests, please try again later.";
    let fault = Fault::Answer(429, status(429, "TooManyRequests", words));
    proxy.on(Method::POST, "/eviction", "", fault, usize::MAX);
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let blocked = belay.is_blocked(&upgrade).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "Throttled");
    assert!(blocked.message.contains(words), "{blocked:?}");
    proxy.heal();
    belay.succeeds(&upgrade).await;
}

pub async fn an_abort_does_not_wait_for_a_write_that_hangs(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.guarded_cluster(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    // Every write to the pool hangs for longer than the test waits.
    let hangs = Fault::Delay(Duration::from_mins(10));
    proxy.on(Method::PATCH, "/agentpools/np1", "", hangs, usize::MAX);
    belay
        .annotate::<belay::api::ManagedCluster>("demo", json!({"look": "again"}))
        .await;
    belay.abort(&upgrade, "stuck").await;
    belay.is_canceled(&upgrade).await;
    proxy.heal();
}

pub async fn a_node_created_after_its_clusters_deletion_is_deleted_unless_it_has_joined(
    world: Arc<World>,
) {
    // In this test somebody else creates nodes like Belay's.
    let belay = Belay::start(&world.unguarded().await).await;
    let late = format!("late-{}", belay.namespace);
    let joined = format!("joined-{}", belay.namespace);
    for (name, annotations) in [
        (
            &late,
            json!({JOINING: "true", MADE_BY: "of-an-operation-that-is-gone"}),
        ),
        (&joined, json!({})),
    ] {
        let labels = json!({NAMESPACE_LABEL: belay.namespace, CLUSTER_LABEL: "gone", AGENT_POOL_LABEL: "np1"});
        belay.apply(&json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels, "annotations": annotations}}));
    }
    let nodes = Api::<Node>::all(belay.client.clone());
    belay
        .eventually("deletes the late one", || async {
            nodes.get_opt(&late).await.expect("an answer").is_none()
        })
        .await;
    let stays = nodes.get(&joined).await.expect("the other one");
    assert!(stays.metadata.deletion_timestamp.is_none());
    let deleted = nodes.delete(&joined, &DeleteParams::default()).await;
    deleted.expect("deleted");
}

pub async fn work_stops_when_its_cluster_is_gone(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.guarded_cluster(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    // From this process, directly one after the other: otherwise the operator's own deletion would end first.
    let clusters = belay.api::<ManagedCluster>();
    let deleted = clusters.delete("demo", &DeleteParams::background()).await;
    deleted.expect("deleted");
    let gone = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let freed = clusters.patch("demo", &PatchParams::default(), &gone).await;
    freed.expect("freed");
    belay
        .eventually("ends the work", || async {
            belay
                .log()
                .contains("the cluster is no more: the work on it ends")
        })
        .await;
    let nodes = belay.nodes().await.len();
    belay.keep_available(0).await;
    // If the drain went on, the workload's pods would be evicted within a moment, before a new node of another cluster
    // is ready.
    belay.kubectl(&[
        "delete",
        "agentpool",
        "np1",
        "--wait=false",
        "--ignore-not-found",
    ]);
    belay.is_guarded(2).await;
    assert_eq!(belay.nodes().await.len(), nodes);
    // The log names them, also the log of an operator that has never seen the cluster.
    let words = "nodes are left of a cluster that there isn't any more";
    let named = || belay.log().matches(words).count();
    let is_named = |before| async move { named() > before };
    belay.eventually("names them", || is_named(0)).await;
    belay.kill_operator();
    let before = named();
    belay.start_operator();
    belay
        .eventually("names them again", || is_named(before))
        .await;
}
