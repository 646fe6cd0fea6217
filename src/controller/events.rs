//! Kubernetes Events on the Operation and on its target. They are sent independently of the reconcile: an abort doesn't
//! wait for them, and a lost Event changes nothing.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource as _, ResourceExt as _,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;
use tracing::Span;

use crate::{
    lifecycle::{Note, Snapshot},
    machinery::FIELD_MANAGER,
    telemetry::log,
};

/// The maximum length of an Event's note, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Sends Events.
#[derive(Clone)]
pub struct Events(mpsc::UnboundedSender<(Event, ObjectReference, Span)>);

impl Events {
    /// Returns a sender, and the future that sends the Events.
    pub fn new(client: Client) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut events) = mpsc::unbounded_channel::<(Event, ObjectReference, Span)>();
        let recorder = Recorder::new(
            client,
            Reporter {
                controller: FIELD_MANAGER.into(),
                instance: None,
            },
        );
        let sending = async move {
            while let Some((event, on, span)) = events.recv().await {
                if let Err(error) = recorder.publish(&event, &on).await {
                    span.in_scope(|| {
                        tracing::warn!(%error, reason = event.reason, "failed to publish an Event");
                    });
                }
            }
        };
        (Self(sender), sending)
    }

    /// Sends an Event on an Operation and on its target.
    pub fn publish(&self, snapshot: &Snapshot, note: Note) {
        let operation = snapshot
            .operation(&note.operation)
            .map(|op| op.object_ref(&()));
        let target = match note.target_kind {
            _ if note.target_name.is_empty() => None,
            crate::api::TargetKind::ManagedCluster => Some(snapshot.cluster.object_ref(&())),
            crate::api::TargetKind::AgentPool => snapshot
                .pool(&note.target_name)
                .map(|pool| pool.object_ref(&())),
        };
        let cluster = &snapshot.cluster;
        let namespace = cluster.namespace().unwrap_or_default();
        let span = log::operation(&note.operation, &namespace, &cluster.name_any());
        let mut text = note.note;
        text.truncate(text.floor_char_boundary(LONGEST_NOTE));
        let event = |related: &Option<ObjectReference>| Event {
            type_: if note.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason.into(),
            note: Some(text.clone()),
            action: "Operate".into(),
            secondary: related.clone(),
        };
        for (on, related) in [(&operation, &target), (&target, &operation)] {
            if let Some(on) = on {
                // The receiver is dropped only when the process ends.
                let _ = self.0.send((event(related), on.clone(), span.clone()));
            }
        }
    }
}
