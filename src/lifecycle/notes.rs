//! Which transition of an Operation is told by which Event.

use crate::api::{Operation, OperationPhase, OperationStatus};

use super::{Note, Snapshot, messages::reason, names::name_of};

/// The Event of an Operation's transition, if there is one.
pub(super) fn of(
    snapshot: &Snapshot,
    operation: &Operation,
    after: &OperationStatus,
) -> Option<Note> {
    let before = operation.status.clone().unwrap_or_default();
    let reason_given = after
        .cancellation
        .as_ref()
        .map_or("", |cancellation| &cancellation.reason);
    let (reason, note, warning) = if before.phase == after.phase {
        let message = |status: &OperationStatus| {
            status
                .blocked
                .as_ref()
                .map(|blocked| blocked.message.clone())
        };
        match (message(&before), message(after)) {
            (before, Some(now)) if before.as_ref() != Some(&now) => (reason::BLOCKED, now, true),
            (Some(_), None) if !after.phase.is_finished() => {
                (reason::UNBLOCKED, "goes on".to_owned(), false)
            }
            _ => return None,
        }
    } else {
        match after.phase {
            OperationPhase::Pending => return None,
            OperationPhase::InProgress => (reason::STARTED, "started".to_owned(), false),
            OperationPhase::Canceling => (
                reason::CANCELING,
                format!("abort accepted: {reason_given}"),
                false,
            ),
            OperationPhase::Canceled => {
                (reason::CANCELED, format!("canceled: {reason_given}"), false)
            }
            OperationPhase::Succeeded => (reason::SUCCEEDED, "succeeded".to_owned(), false),
            OperationPhase::Failed => {
                let error = after.error.clone().unwrap_or_default();
                (
                    reason::FAILED,
                    format!("{}: {}", error.code, error.message),
                    true,
                )
            }
        }
    };
    let target = &operation.spec.target;
    let name = name_of(operation);
    let exists = snapshot.has_target(target.kind, &target.name);
    Some(Note {
        note: format!("Operation {name} ({:?}): {note}", operation.spec.type_),
        operation: name,
        target_kind: target.kind,
        target_name: if exists {
            target.name.clone()
        } else {
            String::new()
        },
        reason,
        warning,
    })
}
