//! Which transition of an Operation is published as an Event.

use jiff::Timestamp;

use crate::{
    api::{
        CancellationStatus, Force, ForceStatus, ForcedPod, OperationPhase, OperationStatus,
        TargetKind,
    },
    lifecycle::{
        facts::{Facts, Operation},
        messages::{self, force, reason},
        preflight::PREFLIGHT,
        text::join_sentences,
        transition::Transition,
        windows::Windows,
    },
};

/// An Event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The Operation's name.
    pub operation: String,
    /// The kind of its target.
    pub target_kind: TargetKind,
    /// The name of its target.
    pub target_name: String,
    /// The Event's reason in one word, such as `OperationCanceled`.
    pub reason: &'static str,
    /// What happened.
    pub note: String,
    /// Whether someone has to act.
    pub warning: bool,
}

/// Returns the Events of an Operation's transition.
pub fn notes(facts: &Facts<'_>, transition: &Transition<'_, '_>) -> Vec<Note> {
    let operation = transition.operation;
    let (before, after) = (operation.status.as_ref(), &transition.status);
    let events = of_preflight(before, after)
        .into_iter()
        .chain(of_force(before, after))
        .chain(of_transition(facts, transition));
    events.map(|event| note(facts, transition, event)).collect()
}

fn of_transition(facts: &Facts<'_>, transition: &Transition<'_, '_>) -> Option<Event> {
    let operation = transition.operation;
    let (before, after) = (operation.status.as_ref(), &transition.status);
    if was_refused(before, after) {
        let why = cancellation_reason(after);
        let note = format!("abort refused, the operation continues: {why}");
        Some((reason::ABORT_REFUSED, note, true))
    } else if before.phase == after.phase {
        of_block(before, after)
    } else {
        of_phase(after, &window(facts, operation))
    }
}

/// Returns the Event that says what will be in the way, once it is seen.
fn of_preflight(before: &OperationStatus, after: &OperationStatus) -> Option<Event> {
    let condition = |status: &OperationStatus| {
        let mut conditions = status.conditions.iter();
        conditions.find(|it| it.type_ == PREFLIGHT).cloned()
    };
    let seen = condition(after).filter(|seen| seen.status == "False")?;
    let is_new = condition(before).is_none();
    is_new.then(|| (PREFLIGHT, format!("in the way: {}", seen.message), true))
}

fn note(facts: &Facts<'_>, transition: &Transition<'_, '_>, event: Event) -> Note {
    let (operation, (reason, text, warning)) = (transition.operation, event);
    let target = &operation.spec.target;
    let exists = facts.target(target).is_some();
    Note {
        note: format!(
            "Operation {} ({:?}): {text}",
            operation.name, operation.spec.type_
        ),
        operation: operation.name.to_owned(),
        target_kind: target.kind,
        target_name: if exists {
            target.name.clone()
        } else {
            String::new()
        },
        reason,
        warning,
    }
}

/// Whether a request to abort was refused in this transition, so that the operation goes on.
fn was_refused(before: &OperationStatus, after: &OperationStatus) -> bool {
    let failed = |status: &OperationStatus| {
        let cancellation = status.cancellation.as_ref();
        cancellation.is_some_and(|cancellation| cancellation.status == CancellationStatus::Failed)
    };
    let is_other = before.observed_abort != after.observed_abort || !failed(before);
    !after.phase.is_finished() && failed(after) && is_other
}

type Event = (&'static str, String, bool);

fn of_block(before: &OperationStatus, after: &OperationStatus) -> Option<Event> {
    let message = |status: &OperationStatus| {
        let blocked = status.blocked.as_ref();
        blocked.map(|blocked| blocked.message.clone())
    };
    match (message(before), message(after)) {
        (before, Some(now)) if before.as_ref() != Some(&now) => Some((reason::BLOCKED, now, true)),
        (Some(_), None) if !after.phase.is_finished() => {
            Some((reason::UNBLOCKED, "continues".to_owned(), false))
        }
        _ => None,
    }
}

/// Returns the Events about a force: its beginning, the pods that are deleted, and its end.
fn of_force(before: &OperationStatus, after: &OperationStatus) -> Vec<Event> {
    let Some(now) = &after.force else {
        return Vec::new();
    };
    let was = before.force.as_ref();
    let until = now.until.as_ref().map_or(Timestamp::MAX, |until| until.0);
    let by = &now.requested_by;
    let mut events = Vec::new();
    let is_new = before.observed_force != after.observed_force && after.observed_force.is_some();
    match now.status {
        ForceStatus::Refused if is_new => events.push((
            force::REFUSED,
            format!("force refused: {}", now.message),
            true,
        )),
        ForceStatus::InEffect if is_new => {
            let text = format!("force accepted: {}", force::accepted(until, by));
            let is_shortened = !now.message.is_empty();
            let text = if is_shortened {
                join_sentences(&text, &now.message)
            } else {
                text
            };
            events.push((force::ACCEPTED, text, is_shortened));
        }
        _ => {}
    }
    let was_known =
        |pod: &ForcedPod| was.is_some_and(|was| was.pods.iter().any(|known| known.uid == pod.uid));
    let forced = now.pods.iter().filter(|pod| !was_known(pod));
    events.extend(forced.map(|pod| (force::POD_FORCED, force::pod_forced(pod, until, by), true)));
    if was.is_some_and(Force::is_in_effect) && now.status == ForceStatus::Ended {
        let text = format!("force ended: {}", now.message);
        events.push((force::ENDED, text, false));
    }
    events
}

/// Returns in which window an operation begins, and what it goes on with, as the end of a sentence. Empty if it needs no
/// window.
fn window(facts: &Facts<'_>, operation: &Operation<'_>) -> String {
    if !operation.needs_window() {
        return String::new();
    }
    let open = match &facts.windows {
        Windows::Open {
            closes_at: Some(at),
        } => format!(" in the maintenance window that closes at {at}"),
        _ => String::new(),
    };
    let last = facts
        .target(&operation.spec.target)
        .and_then(|target| target.last);
    let paused = last.filter(|last| last.message.ends_with(messages::WINDOW_CLOSED));
    let resumes =
        paused.map(|paused| format!(", and goes on with what Operation {} left", paused.name));
    format!("{open}{}", resumes.unwrap_or_default())
}

fn of_phase(after: &OperationStatus, window: &str) -> Option<Event> {
    let why = cancellation_reason(after);
    Some(match after.phase {
        OperationPhase::Pending => return None,
        OperationPhase::InProgress => (reason::STARTED, format!("started{window}"), false),
        OperationPhase::Canceling => (reason::CANCELING, format!("abort accepted: {why}"), false),
        OperationPhase::Canceled => (reason::CANCELED, format!("canceled: {why}"), false),
        OperationPhase::Succeeded if after.cancellation.is_some() => (
            reason::SUCCEEDED,
            format!("succeeded, abort failed: {why}"),
            false,
        ),
        OperationPhase::Succeeded => (reason::SUCCEEDED, "succeeded".to_owned(), false),
        OperationPhase::Failed => {
            let error = after.error.clone().unwrap_or_default();
            let note = format!("{}: {}", error.code, error.message);
            (reason::FAILED, note, true)
        }
    })
}

fn cancellation_reason(status: &OperationStatus) -> &str {
    let cancellation = status.cancellation.as_ref();
    cancellation.map_or("", |cancellation| &cancellation.reason)
}
