//! Nothing takes effect after `Canceled`: a request that was sent before the abort and arrives after it changes
//! nothing.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use belay::api::{KwokControlPlane, OperationType};
use kube::ResourceExt as _;
use serde_json::json;

use crate::stage::{
    belay::{Belay, World, is_cordoned},
    proxy::{Fault, Proxy},
};

/// How late a request arrives.
const LATE: Fault = Fault::Delay(Duration::from_secs(5));

/// Scales a pool of `nodes` nodes to `count`. One request arrives late, and the scale is aborted before it arrives.
async fn scaled(
    world: &Arc<World>,
    nodes: usize,
    count: usize,
    (method, path, body): (Method, &str, &str),
) -> (Arc<Belay>, Arc<Proxy>) {
    let (belay, proxy) = Belay::start_behind_proxy(world).await;
    belay.ready_cluster(0, nodes).await;
    proxy.on(method, path, body, LATE, 1);
    belay.set_count("np1", count).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    is_aborted_meanwhile(&belay, &proxy, &scale).await;
    (belay, proxy)
}

/// Aborts an Operation once its request has been sent.
async fn is_aborted_meanwhile(belay: &Belay, proxy: &Proxy, operation: &str) {
    belay
        .eventually("makes the request", || async { !proxy.met().is_empty() })
        .await;
    belay.abort(operation, "not this one").await;
    belay.is_canceled(operation).await;
}

pub async fn a_node_deletion_that_arrives_after_the_abort_fails(world: Arc<World>) {
    let (belay, proxy) = scaled(&world, 2, 1, (Method::DELETE, "/nodes/", "")).await;
    assert_eq!(belay.was_answered(&proxy, "/nodes/").await, 409);
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 2);
    assert!(!nodes.iter().any(is_cordoned), "it takes pods again");
}

pub async fn a_cordon_that_arrives_after_the_abort_does_not_last(world: Arc<World>) {
    let (belay, proxy) = scaled(&world, 2, 1, (Method::PATCH, "/nodes/", "drained-by")).await;
    // If nothing changed the node in the meantime, the mark is set and removed again.
    belay.was_answered(&proxy, "/nodes/").await;
    belay
        .eventually("has no node cordoned", || async {
            !belay.nodes().await.iter().any(is_cordoned)
        })
        .await;
    assert_eq!(belay.nodes().await.len(), 2);
}

pub async fn a_node_created_after_the_abort_is_deleted(world: Arc<World>) {
    let (belay, proxy) = scaled(&world, 1, 2, (Method::POST, "/nodes", "")).await;
    assert_eq!(belay.was_answered(&proxy, "/nodes").await, 201);
    belay
        .eventually("has the node that was there", || async {
            belay.nodes().await.len() == 1
        })
        .await;
    belay
        .eventually("counts it no more", || async {
            belay.pool_status("np1").await.count == 1
        })
        .await;
}

pub async fn a_control_plane_change_that_arrives_after_the_abort_fails(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    proxy.on(Method::PATCH, "/kwokcontrolplanes/", "1.36.3", LATE, 1);
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    is_aborted_meanwhile(&belay, &proxy, &upgrade).await;
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
