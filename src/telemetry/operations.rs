//! How operations ended, how long they took, and what blocked them, taken from each status that is written. Times in a
//! status have whole seconds, so a more precise clock is kept in memory. After a restart, the times in the status are
//! used.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Instant,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::Labels;
use crate::{
    api::{CancellationStatus, Operation, OperationPhase, OperationStatus},
    machinery::clock,
};

/// Counts operations and measures their times.
#[derive(Clone)]
pub struct Operations {
    finished: Family<Labels<2>, Counter>,
    seconds: Family<Labels<2>, Histogram, fn() -> Histogram>,
    abort_latency: Histogram,
    blocked: Family<Labels<1>, Counter<f64, AtomicU64>>,
    moments: Arc<Mutex<HashMap<String, Moments>>>,
}

/// When this process saw an operation reach its current state.
#[derive(Clone, Copy, Default)]
struct Moments {
    began: Option<Instant>,
    canceling: Option<Instant>,
    blocked: Option<Instant>,
}

impl Operations {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self {
            finished: Family::default(),
            seconds: Family::new_with_constructor(|| {
                Histogram::new([
                    0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
                    7200.0, 14400.0,
                ])
            }),
            abort_latency: Histogram::new([
                0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0,
            ]),
            blocked: Family::default(),
            moments: Arc::default(),
        };
        registry.register(
            "belay_operations_finished",
            "Operations that ended, by type and result",
            this.finished.clone(),
        );
        registry.register(
            "belay_operation_duration_seconds",
            "How long the Operations that ended ran, by type and result",
            this.seconds.clone(),
        );
        registry.register(
            "belay_operation_abort_latency_seconds",
            "Time from phase Canceling to phase Canceled",
            this.abort_latency.clone(),
        );
        registry.register(
            "belay_operation_blocked_seconds",
            "How long Operations were blocked, by reason, counted when the block ends",
            this.blocked.clone(),
        );
        this
    }

    /// Counts what changed because a status was written.
    pub fn wrote(&self, operation: &Operation, after: &OperationStatus) {
        let Some(uid) = operation.uid() else { return };
        let before = operation.status.clone().unwrap_or_default();
        if before.phase.is_finished() {
            return;
        }
        let now = Instant::now();
        let moments = self.pass(uid, &before, after, now);
        let reason_of = |status: &OperationStatus| {
            let blocked = status.blocked.as_ref();
            blocked
                .filter(|_| !status.phase.is_finished())
                .map(|blocked| blocked.reason.clone())
        };
        if let Some(blocked) = &before.blocked
            && reason_of(after).as_ref() != Some(&blocked.reason)
        {
            self.blocked
                .get_or_create(&[("reason", word(&blocked.reason))])
                .inc_by(elapsed(moments.blocked, blocked.since.as_ref(), now));
        }
        if !after.phase.is_finished() {
            self.begin(operation, reason_of(after));
            return;
        }
        let labels = [
            ("type", format!("{:?}", operation.spec.type_)),
            ("result", format!("{:?}", after.phase)),
        ];
        self.finished.get_or_create(&labels).inc();
        if let Some(began) = &after.start_time {
            self.seconds
                .get_or_create(&labels)
                .observe(elapsed(moments.began, Some(began), now));
        }
        if let Some(given) = &after.cancellation
            && given.status == CancellationStatus::Successful
            && before.phase == OperationPhase::Canceling
        {
            let took = elapsed(moments.canceling, given.accepted_at.as_ref(), now);
            self.abort_latency.observe(took);
        }
    }

    /// Creates the counters with the value 0. Prometheus sees an increase from 0, but not a counter that begins with 1.
    fn begin(&self, operation: &Operation, blocked: Option<String>) {
        for result in ["Succeeded", "Failed", "Canceled"] {
            let labels = [
                ("type", format!("{:?}", operation.spec.type_)),
                ("result", result.to_owned()),
            ];
            drop(self.finished.get_or_create(&labels));
            drop(self.seconds.get_or_create(&labels));
        }
        if let Some(reason) = blocked {
            drop(self.blocked.get_or_create(&[("reason", word(&reason))]));
        }
    }

    /// Notes when an operation reached its current state. Returns the moments before this change.
    fn pass(
        &self,
        uid: String,
        before: &OperationStatus,
        after: &OperationStatus,
        now: Instant,
    ) -> Moments {
        let mut all = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        if after.phase.is_finished() {
            return all.remove(&uid).unwrap_or_default();
        }
        let moments = all.entry(uid).or_default();
        let until_now = *moments;
        if before.start_time.is_none() && after.start_time.is_some() {
            moments.began = Some(now);
        }
        if before.phase != after.phase && after.phase == OperationPhase::Canceling {
            moments.canceling = Some(now);
        }
        let reason = |status: &OperationStatus| {
            let blocked = status.blocked.as_ref();
            blocked.map(|blocked| blocked.reason.clone())
        };
        if reason(before) != reason(after) {
            moments.blocked = after.blocked.as_ref().map(|_| now);
        }
        until_now
    }
}

/// Returns the seconds since then, from the more precise clock if this process saw it.
fn elapsed(seen: Option<Instant>, since: Option<&Time>, now: Instant) -> f64 {
    match (seen, since) {
        (Some(seen), _) => now.duration_since(seen).as_secs_f64(),
        (None, Some(since)) => clock::now().duration_since(since.0).as_secs_f64().max(0.0),
        (None, None) => 0.0,
    }
}

/// Returns a reason as a label. Reasons are words. Other texts would create one series for each text.
pub(super) fn word(reason: &str) -> String {
    let is_word = reason.len() <= 63 && reason.chars().all(|letter| letter.is_ascii_alphanumeric());
    if is_word { reason } else { "Other" }.to_owned()
}
