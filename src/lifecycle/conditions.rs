//! Conditions, as Kubernetes' API conventions and kstatus read them: `Ready`, and the abnormal-true
//! `Reconciling` and `Stalled`; on an Operation also `Succeeded`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{Operation, OperationPhase, OperationStatus};

use super::messages::reason;

/// Where an object stands, as its conditions tell it.
pub(super) enum Standing {
    /// It is as its spec says.
    Ready,
    /// It is on its way there.
    Reconciling,
    /// It stays as it is until someone acts.
    Stalled,
}

/// Sets Ready, Reconciling and Stalled. A condition keeps its transition time while its status stays.
pub(super) fn set_standing(
    conditions: &mut Vec<Condition>,
    standing: &Standing,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let (ready, reconciling, stalled) = match standing {
        Standing::Ready => ("True", "False", "False"),
        Standing::Reconciling => ("False", "True", "False"),
        Standing::Stalled => ("False", "False", "True"),
    };
    for (type_, status) in [
        ("Ready", ready),
        ("Reconciling", reconciling),
        ("Stalled", stalled),
    ] {
        set(conditions, type_, status, reason, message, generation, now);
    }
}

fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let before = conditions
        .iter()
        .position(|condition| condition.type_ == type_);
    let since = before
        .map(|at| &conditions[at])
        .filter(|condition| condition.status == status)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    let condition = Condition {
        type_: type_.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match before {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// Sets an Operation's conditions from its phase.
pub(super) fn of_operation(status: &mut OperationStatus, operation: &Operation, now: Timestamp) {
    let blocked = status.blocked.as_ref();
    let (standing, succeeded, reason, message) = match status.phase {
        OperationPhase::Pending => (
            Standing::Reconciling,
            "Unknown",
            reason::PENDING,
            "waits for its turn".to_owned(),
        ),
        OperationPhase::InProgress => match blocked {
            Some(blocked) => (
                Standing::Reconciling,
                "Unknown",
                reason::BLOCKED,
                format!("{} ({})", blocked.message, blocked.reason),
            ),
            None => (
                Standing::Reconciling,
                "Unknown",
                reason::IN_PROGRESS,
                "in progress".to_owned(),
            ),
        },
        OperationPhase::Canceling => (
            Standing::Reconciling,
            "Unknown",
            reason::CANCELING,
            "coming to a stop".to_owned(),
        ),
        OperationPhase::Succeeded => (
            Standing::Ready,
            "True",
            reason::SUCCEEDED,
            "succeeded".to_owned(),
        ),
        OperationPhase::Failed => (
            Standing::Stalled,
            "False",
            reason::FAILED,
            error_text(status),
        ),
        OperationPhase::Canceled => (
            Standing::Stalled,
            "False",
            reason::CANCELED,
            cancel_text(status),
        ),
    };
    let generation = operation.metadata.generation;
    set_standing(
        &mut status.conditions,
        &standing,
        reason,
        &message,
        generation,
        now,
    );
    set(
        &mut status.conditions,
        "Succeeded",
        succeeded,
        reason,
        &message,
        generation,
        now,
    );
}

/// Why an Operation was canceled or failed, in one line; nothing where it succeeded.
pub(super) fn end_text(status: &OperationStatus) -> String {
    match status.phase {
        OperationPhase::Failed => error_text(status),
        OperationPhase::Canceled => cancel_text(status),
        _ => String::new(),
    }
}

fn error_text(status: &OperationStatus) -> String {
    status.error.as_ref().map_or_else(
        || "failed".to_owned(),
        |error| format!("{}: {}", error.code, error.message),
    )
}

fn cancel_text(status: &OperationStatus) -> String {
    let reason = status
        .cancellation
        .as_ref()
        .map_or("", |cancellation| &cancellation.reason);
    if reason.is_empty() {
        "canceled".into()
    } else {
        format!("canceled: {reason}")
    }
}

/// Tells of an object that it stays as it is until someone acts.
pub fn stalled(
    conditions: &mut Vec<Condition>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    set_standing(
        conditions,
        &Standing::Stalled,
        reason,
        message,
        generation,
        now,
    );
}
