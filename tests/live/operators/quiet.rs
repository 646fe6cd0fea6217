//! An idle operator writes nothing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use testenv::{Component, ControlPlane};

use crate::stage::belay::{Belay, World};

/// Returns how many writes the API server has answered, by verb and resource. Counts all that Belay writes, except the
/// status of nodes, which kwok writes.
fn writes(world: &World) -> BTreeMap<String, u64> {
    let metrics = world.kubectl(&["get", "--raw", "/metrics"]);
    let requests = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("apiserver_request_total{"));
    let mut writes = BTreeMap::new();
    for request in requests {
        let (labels, count) = request.split_once("} ").expect("a counter");
        let label = |name: &str| {
            let from = labels.split_once(&format!("{name}=\"")).expect(name).1;
            from.split_once('"').expect(name).0
        };
        let is_ours =
            label("group") == "belay.dev" || matches!(label("resource"), "nodes" | "events");
        let is_write = !matches!(label("verb"), "GET" | "LIST" | "WATCH");
        if is_ours && is_write && (label("resource"), label("subresource")) != ("nodes", "status") {
            let key = format!("{} {}", label("verb"), label("resource"));
            *writes.entry(key).or_default() += count.parse::<u64>().expect("a count");
        }
    }
    writes
}

pub async fn an_idle_operator_writes_nothing_for_a_minute(_: Arc<World>) {
    // A separate API server, so that it counts only Belay's requests.
    let builder = ControlPlane::builder()
        .without(Component::ControllerManager)
        .without(Component::Scheduler);
    let control_plane = builder.start().await.expect("a control plane");
    let own = World::of(control_plane);
    let belay = Belay::start(&own).await;
    belay.ready_cluster(0, 2).await;
    belay.lock_is_free().await;
    belay.is_idle().await;
    // Wait until there are no late writes: the operator sends Events in the background.
    let mut before = writes(&own);
    assert!(before.contains_key("PATCH operations"), "{before:?}");
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = writes(&own);
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    // The quiet minute itself is under test.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(writes(&own), before, "an idle operator writes nothing");
}
