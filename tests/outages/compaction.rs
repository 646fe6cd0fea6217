//! etcd compacts its history while the operator is paused. The operator's watches must start again and miss nothing.

use std::{net::SocketAddr, sync::Arc};

use belay::api::{OperationType, StepPhase};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    belay::{Belay, World, version},
    guard::Guard,
    operators::Operator,
};

/// Sends a request to etcd's JSON API.
async fn etcd(address: SocketAddr, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("etcd answers");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("sent");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    read.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (from, to) = (answer.find('{'), answer.rfind('}'));
    let json = &answer[from.expect("JSON")..=to.expect("JSON")];
    serde_json::from_str(json).expect("JSON")
}

/// Makes etcd compact its history: only the current values remain.
async fn compact(address: SocketAddr) {
    // The key is one zero byte.
    let now = etcd(address, "/v3/kv/range", &json!({"key": "AA=="})).await;
    let revision = now["header"]["revision"].clone();
    let compaction = json!({"revision": revision, "physical": true});
    etcd(address, "/v3/kv/compaction", &compaction).await;
}

pub async fn an_etcd_compaction_while_the_operator_is_paused_loses_nothing(_: Arc<World>) {
    let world = World::start().await;
    let belay = Belay::start_without_operator(&world).await;
    let operator = Operator::start_with(&belay, "belay", &[("BELAY_LEADER_ELECTION", "never")]);
    belay.ready_cluster(0, 3).await;
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    belay.create_workload(4, 4).await;
    let guard = Guard::watch(&belay, 4, 4).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    let before = belay.status(&upgrade).await.steps;
    let expired = "too old resource version";
    assert!(!operator.log().contains(expired));
    // The operator sees no events of the following changes, only their final state.
    operator.signal(Signal::STOP);
    belay.set_min_available(2).await;
    belay.delete_blocking_pods().await;
    belay.workload_is_healthy(4).await;
    for number in 0..20 {
        let annotations = json!({"example.com/touched": number.to_string()});
        belay
            .annotate::<belay::api::ManagedCluster>("demo", annotations.clone())
            .await;
        belay
            .annotate::<belay::api::AgentPool>("np1", annotations.clone())
            .await;
        belay
            .annotate::<belay::api::Operation>(&upgrade, annotations)
            .await;
    }
    let etcd = world.control_plane.lock().await.etcd_address();
    compact(etcd).await;
    // A restart empties the API server's watch cache, which also keeps events.
    world.kill_api_server().await;
    world.start_api_server().await;
    compact(etcd).await;
    operator.signal(Signal::CONT);
    operator.says(&belay, expired).await;
    let status = belay.succeeds(&upgrade).await;
    belay.cluster_is_ready().await;
    for done in before
        .iter()
        .filter(|step| step.phase == StepPhase::Succeeded)
    {
        assert!(
            status.steps.contains(done),
            "no step is repeated: {done:#?} is not in {:#?}",
            status.steps
        );
    }
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 4);
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    let upgrades = belay.operations(OperationType::Upgrade, "demo").await;
    assert_eq!(upgrades.len(), 1);
    guard.check(2, 4, 6);
    drop(operator);
    belay.check_history();
}
