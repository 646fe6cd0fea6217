//! Late requests: a request that Belay sent before an abort and that arrives after `Canceled` has no lasting effect.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use belay::api::{KwokControlPlane, OperationType};
use kube::ResourceExt as _;
use serde_json::json;

use crate::stage::{
    belay::{Belay, World, is_cordoned},
    proxy::{Fault, Proxy},
};

/// The delay of a late request.
const LATE: Fault = Fault::Delay(Duration::from_secs(5));

/// Scales a pool of `nodes` nodes to `count`, delays one request, and aborts the scale before the request arrives.
async fn abort_scale_with_late_request(
    world: &Arc<World>,
    nodes: usize,
    count: usize,
    (method, path, body): (Method, &str, &str),
) -> (Arc<Belay>, Arc<Proxy>) {
    let (belay, proxy) = Belay::start_behind_proxy(world).await;
    belay.ready_cluster(0, nodes).await;
    proxy.add_fault(method, path, body, LATE, 1);
    belay.set_count("np1", count).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    abort_after_request_was_sent(&belay, &proxy, &scale).await;
    (belay, proxy)
}

/// Aborts an Operation after its request was sent and before it arrives.
async fn abort_after_request_was_sent(belay: &Belay, proxy: &Proxy, operation: &str) {
    belay
        .eventually("the operator sends the request", || async {
            !proxy.faulted_requests().is_empty()
        })
        .await;
    belay.abort(operation, "not now").await;
    belay.is_canceled(operation).await;
}

pub async fn a_node_deletion_that_arrives_after_the_abort_fails(world: Arc<World>) {
    let (belay, proxy) =
        abort_scale_with_late_request(&world, 2, 1, (Method::DELETE, "/nodes/", "")).await;
    assert_eq!(belay.was_answered(&proxy, "/nodes/").await, 409);
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 2);
    assert!(!nodes.iter().any(is_cordoned), "no node is cordoned");
}

pub async fn a_cordon_that_arrives_after_the_abort_does_not_last(world: Arc<World>) {
    let (belay, proxy) =
        abort_scale_with_late_request(&world, 2, 1, (Method::PATCH, "/nodes/", "drained-by")).await;
    // If the node hasn't changed in the meantime, the request succeeds, and Belay reverts it.
    belay.was_answered(&proxy, "/nodes/").await;
    belay
        .eventually("no node is cordoned", || async {
            !belay.nodes().await.iter().any(is_cordoned)
        })
        .await;
    assert_eq!(belay.nodes().await.len(), 2);
}

pub async fn a_node_created_after_the_abort_is_deleted(world: Arc<World>) {
    let (belay, proxy) =
        abort_scale_with_late_request(&world, 1, 2, (Method::POST, "/nodes", "")).await;
    assert_eq!(belay.was_answered(&proxy, "/nodes").await, 201);
    belay
        .eventually("only the first node remains", || async {
            belay.nodes().await.len() == 1
        })
        .await;
    belay
        .eventually("the pool's status counts one node", || async {
            belay.pool_status("np1").await.count == 1
        })
        .await;
}

pub async fn a_control_plane_change_that_arrives_after_the_abort_fails(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    proxy.add_fault(Method::PATCH, "/kwokcontrolplanes/", "1.36.3", LATE, 1);
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    abort_after_request_was_sent(&belay, &proxy, &upgrade).await;
    assert_eq!(belay.was_answered(&proxy, "/kwokcontrolplanes/").await, 409);
    let record = belay
        .api::<KwokControlPlane>()
        .get("demo")
        .await
        .expect("the record");
    let runs = record
        .spec
        .kubernetes_version
        .map(|version| version.to_string());
    assert_eq!(runs.as_deref(), Some("1.35.7"));
    assert_eq!(record.spec.operation, None, "{}", json!(record));
    assert_eq!(record.name_any(), "demo");
}
