//! Traces: each Operation is one trace.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, routing::post};
use belay::api::{Operation, OperationPhase};
use kube::ResourceExt as _;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span,
};
use prost::Message as _;

use crate::stage::belay::{Belay, World};

/// A collector that keeps the spans that it receives.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts the collector, and returns its address.
    async fn start(&self) -> String {
        let spans = self.0.clone();
        let keep = async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
            let scopes = request.resource_spans.into_iter();
            let scopes = scopes.flat_map(|resource| resource.scope_spans);
            let sent = scopes.flat_map(|scope| scope.spans);
            spans.lock().expect("spans").extend(sent);
        };
        let router = Router::new().route("/v1/traces", post(keep));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("bound");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(axum::serve(listener, router).into_future());
        format!("http://{address}")
    }

    fn trace(&self, uid: &str) -> Vec<Span> {
        let spans = self.0.lock().expect("spans");
        let id = uid.replace('-', "");
        let of_trace = spans.iter().filter(|span| hex(&span.trace_id) == id);
        of_trace.cloned().collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string accepts all writes");
        text
    })
}

pub async fn an_operation_is_a_trace_with_a_span_for_each_step(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let environment = [("BELAY_OTLP_ENDPOINT", endpoint.as_str())];
    let (operator, _) = belay.operator(&environment);
    let name = belay.blocked_upgrade().await;
    // The second operator sends the trace of an Operation that the first one started.
    drop(operator);
    let (_operator, _) = belay.operator(&environment);
    belay.abort(&name, "enough").await;
    let status = belay.is_in_phase(&name, OperationPhase::Canceled).await;
    let operation = belay
        .api::<Operation>()
        .get(&name)
        .await
        .expect("the Operation");
    let uid = operation.uid().expect("a uid");
    belay
        .eventually("the collector has received the trace", || async {
            !collector.trace(&uid).is_empty()
        })
        .await;
    let trace = collector.trace(&uid);
    let (roots, steps): (Vec<_>, Vec<_>) = trace
        .into_iter()
        .partition(|span| span.parent_span_id.is_empty());
    let [root] = &roots[..] else {
        panic!("{roots:?}");
    };
    assert_eq!(root.name, "Upgrade");
    let started = status.start_time.expect("a start time").0.as_second();
    assert_eq!(
        root.start_time_unix_nano / 1_000_000_000,
        u64::try_from(started).expect("a time")
    );
    let started_steps = status.steps.iter().filter(|step| step.start_time.is_some());
    let expected: BTreeSet<_> = started_steps
        .map(|step| format!("{:?} {}", step.action, step.name))
        .collect();
    assert!(expected.len() >= 2, "{expected:?}");
    let names: BTreeSet<_> = steps.iter().map(|span| span.name.clone()).collect();
    assert_eq!(names, expected);
    let ids: BTreeSet<_> = steps.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), steps.len());
    for step in &steps {
        assert_eq!(step.parent_span_id, root.span_id);
        assert!(root.start_time_unix_nano <= step.start_time_unix_nano);
        assert!(step.start_time_unix_nano <= step.end_time_unix_nano);
        assert!(
            step.end_time_unix_nano <= root.end_time_unix_nano,
            "{step:?} {root:?}"
        );
    }
}
