//! The operator's HTTP server: metrics and health.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Instant,
};

use belay::api::{OperationPhase, OperationType};

use crate::{
    stage::belay::{Belay, World},
    telemetry::exposition::Exposition,
};

pub const OWN_ADDRESS: (&str, &str) = ("BELAY_METRICS_ADDRESS", "127.0.0.1:0");

/// Waits until an operator's log names the address of its HTTP server. Returns the address.
pub async fn address(belay: &Belay, log: &Path) -> String {
    let find = || {
        let log = fs::read_to_string(log).unwrap_or_default();
        let (_, rest) = log.split_once("address=")?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    belay
        .eventually("the operator serves metrics", || async { find().is_some() })
        .await;
    find().expect("an address")
}

/// Returns the status and the body of an answer.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connected");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.split(' ').nth(1).expect("a status");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    (status.parse().expect("a number"), body.to_owned())
}

pub fn scrape(address: &str) -> Exposition {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    Exposition::parse(&text)
}

pub async fn the_metrics_report_operations_blocks_and_aborts(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let (_operator, log) = belay.operator(&[OWN_ADDRESS]);
    let address = address(&belay, &log).await;
    belay.ready_cluster(50, 2).await;
    assert_eq!(get(&address, "/healthz"), (200, "ok".into()));
    assert_eq!(get(&address, "/readyz"), (200, "ok".into()));
    belay.create_workload(2, 2).await;
    belay.set_version("1.36.3").await;
    let operation = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&operation).await;
    let blocked = [("reason", "PodDisruptionBudget")];
    let in_progress = [("type", "Upgrade"), ("phase", "InProgress")];
    belay
        .eventually("the metrics count the blocked operation", || async {
            scrape(&address).value("belay_operations_blocked", &blocked) == Some(1.0)
        })
        .await;
    let during = scrape(&address);
    assert_eq!(during.value("belay_active_work", &[]), Some(1.0));
    assert_eq!(during.value("belay_operations", &in_progress), Some(1.0));
    let age = during.value("belay_operations_oldest_seconds", &in_progress);
    assert!(age.is_some_and(|age| age > 0.0), "{age:?}");

    let requested = Instant::now();
    belay.abort(&operation, "enough").await;
    belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    let ended = [("type", "Upgrade"), ("result", "Canceled")];
    belay
        .eventually("the metrics count the canceled operation", || async {
            let canceled = [("type", "Upgrade"), ("phase", "Canceled")];
            let now = scrape(&address);
            now.value("belay_operations", &canceled) == Some(1.0)
                && now.value("belay_operations_finished_total", &ended) == Some(1.0)
                && now.value("workqueue_depth", QUEUE) == Some(0.0)
        })
        .await;
    let elapsed = requested.elapsed().as_secs_f64();
    let after = scrape(&address);
    assert_eq!(after.value("belay_operations", &in_progress), Some(0.0));
    assert_eq!(after.value("belay_operations_blocked", &blocked), None);
    assert_eq!(after.value("belay_active_work", &[]), Some(0.0));
    let duration = "belay_operation_duration_seconds";
    assert_eq!(after.value(&format!("{duration}_count"), &ended), Some(1.0));
    let abort = "belay_operation_abort_latency_seconds";
    assert_eq!(after.value(&format!("{abort}_count"), &[]), Some(1.0));
    let latency = after.value(&format!("{abort}_sum"), &[]).expect("a time");
    assert!(
        0.0 < latency && latency < elapsed,
        "a latency of {latency} s, but the metrics showed the end after {elapsed} s"
    );
    let blocked_seconds = after.value("belay_operation_blocked_seconds_total", &blocked);
    assert!(
        blocked_seconds.is_some_and(|seconds| seconds > 0.0),
        "{blocked_seconds:?}"
    );
    let created = [("type", "Create"), ("result", "Succeeded")];
    let created = after.value("belay_operations_finished_total", &created);
    assert_eq!(created, Some(2.0));

    let reconciled = [("controller", "managedcluster"), ("result", "success")];
    for (name, labels) in [
        ("controller_runtime_reconcile_total", &reconciled[..]),
        (
            "controller_runtime_reconcile_time_seconds_count",
            &reconciled[..1],
        ),
        ("workqueue_adds_total", QUEUE),
        ("workqueue_queue_duration_seconds_count", QUEUE),
        (
            "rest_client_requests_total",
            &[("code", "200"), ("method", "PATCH")],
        ),
        (
            "rest_client_request_duration_seconds_count",
            &[("verb", "GET")],
        ),
        (
            "leader_election_master_status",
            &[("name", &*format!("belay-{}", belay.namespace))],
        ),
        (
            "belay_build_info",
            &[("version", env!("CARGO_PKG_VERSION"))],
        ),
    ] {
        let value = after.value(name, labels);
        assert!(
            value.is_some_and(|value| value >= 1.0),
            "{name} {labels:?} {value:?}"
        );
    }
    for values in after.label_values() {
        for object in ["demo", "np1", "web"] {
            assert!(!values.contains(object), "{object} in {values}");
        }
    }
}

const QUEUE: &[(&str, &str)] = &[("controller", "managedcluster"), ("name", "managedcluster")];

pub async fn an_operator_without_an_api_server_is_live_but_not_ready(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    let config = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "users": [{"name": "none", "user": {}}]}"#;
    fs::write(&kubeconfig, config).expect("written");
    let kubeconfig = kubeconfig.to_str().expect("a path");
    let (_operator, log) = belay.operator(&[OWN_ADDRESS, ("KUBECONFIG", kubeconfig)]);
    let address = address(&belay, &log).await;
    belay
        .eventually("the operator reports that it isn't ready", || async {
            get(&address, "/readyz").0 == 503
        })
        .await;
    assert_eq!(get(&address, "/healthz").0, 200);
    assert!(!get(&address, "/readyz").1.is_empty());
}
