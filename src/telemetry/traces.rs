//! One trace for each ended Operation, with a span for the Operation and one for each step. Everything is read from the
//! status, and the trace id is the Operation's uid, so a restart in between changes nothing.

use std::{
    hash::{Hash as _, Hasher as _},
    time::SystemTime,
};

use anyhow::Context as _;
use fnv::FnvHasher;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use tokio::sync::mpsc;

use super::plain_http::Plain;
use crate::api::{Operation, OperationPhase, OperationStatus, Step, StepPhase};

/// Sends traces, if there is a collector.
#[derive(Clone, Default)]
pub struct Traces(Option<mpsc::UnboundedSender<Vec<SpanData>>>);

impl Traces {
    /// Returns a sender to an OpenTelemetry collector, such as `http://collector:4318`, and the future that sends the
    /// traces.
    ///
    /// # Errors
    /// Returns an error if the endpoint is invalid.
    pub fn to(endpoint: &str) -> anyhow::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(&endpoint)
            .with_http_client(Plain::default())
            .build();
        let mut exporter = exporter.with_context(|| format!("can't send traces to {endpoint}"))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder()
            .with_service_name("belay")
            .with_attribute(version);
        exporter.set_resource(&resource.build());
        let (sender, mut traces) = mpsc::unbounded_channel();
        let sending = async move {
            while let Some(trace) = traces.recv().await {
                if let Err(error) = exporter.export(trace).await {
                    tracing::warn!(%error, endpoint, "failed to send a trace");
                }
            }
        };
        Ok((Self(Some(sender)), sending))
    }

    /// Sends the trace of an Operation if the written status ends it.
    pub fn wrote(&self, operation: &Operation, after: &OperationStatus) {
        let before = operation.status.as_ref();
        let ended_before = before.is_some_and(|before| before.phase.is_finished());
        if let Some(sender) = &self.0
            && after.phase.is_finished()
            && !ended_before
        {
            // The receiver is dropped only when the process ends.
            let _ = sender.send(trace(operation, after));
        }
    }
}

/// Returns the spans of an Operation. Empty if its work never began.
fn trace(operation: &Operation, status: &OperationStatus) -> Vec<SpanData> {
    let uid = operation.uid().unwrap_or_default();
    let (Some(start), Some(end)) = (&status.start_time, &status.end_time) else {
        return Vec::new();
    };
    let Ok(trace) = TraceId::from_hex(&uid.replace('-', "")) else {
        return Vec::new();
    };
    let root = span_id(&uid, "");
    let target = &operation.spec.target;
    let mut attributes = vec![
        KeyValue::new(
            "k8s.namespace.name",
            operation.namespace().unwrap_or_default(),
        ),
        KeyValue::new("belay.operation.name", operation.name_any()),
        KeyValue::new("belay.operation.phase", format!("{:?}", status.phase)),
        KeyValue::new("belay.target.kind", format!("{:?}", target.kind)),
        KeyValue::new("belay.target.name", target.name.clone()),
    ];
    if let Some(given) = &status.cancellation {
        attributes.push(KeyValue::new("belay.abort.reason", given.reason.clone()));
    }
    let outcome = match (&status.error, status.phase) {
        (Some(error), _) => Status::error(error.message.clone()),
        (None, OperationPhase::Succeeded) => Status::Ok,
        _ => Status::Unset,
    };
    let whole = Span {
        trace,
        id: root,
        parent: SpanId::INVALID,
        name: format!("{:?}", operation.spec.type_),
        attributes,
        status: outcome,
    };
    let steps = status.steps.iter().filter_map(|step| {
        let start = step.start_time.as_ref()?;
        let end = step.end_time.as_ref().unwrap_or(end);
        Some(of_step(trace, root, &uid, step).lasting(start, end))
    });
    std::iter::once(whole.lasting(start, end))
        .chain(steps)
        .collect()
}

fn of_step(trace: TraceId, root: SpanId, uid: &str, step: &Step) -> Span {
    Span {
        trace,
        id: span_id(uid, &step.name),
        parent: root,
        name: format!("{:?} {}", step.action, step.name),
        attributes: vec![
            KeyValue::new("belay.step.name", step.name.clone()),
            KeyValue::new("belay.step.action", format!("{:?}", step.action)),
            KeyValue::new("belay.step.phase", format!("{:?}", step.phase)),
        ],
        status: match step.phase {
            StepPhase::Failed => Status::error(step.message.clone()),
            StepPhase::Succeeded => Status::Ok,
            _ => Status::Unset,
        },
    }
}

/// Returns the id of a span. The same step of the same Operation always has the same id.
fn span_id(uid: &str, step: &str) -> SpanId {
    let mut hasher = FnvHasher::default();
    (uid, step).hash(&mut hasher);
    SpanId::from_bytes(hasher.finish().to_be_bytes())
}

struct Span {
    trace: TraceId,
    id: SpanId,
    parent: SpanId,
    name: String,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Span {
    fn lasting(self, start: &Time, end: &Time) -> SpanData {
        let at = |time: Timestamp| SystemTime::from(time);
        SpanData {
            span_context: SpanContext::new(
                self.trace,
                self.id,
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: self.parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: self.name.into(),
            start_time: at(start.0),
            // The end is written with fractions of a second, and the start was read without them.
            end_time: at(end.0.max(start.0)),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: self.status,
            instrumentation_scope: InstrumentationScope::builder("belay").build(),
        }
    }
}
