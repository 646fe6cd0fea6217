//! What waits for a maintenance window: changes of a version that a spec asks for. They replace nodes, or the control
//! plane. If such an operation runs when a window closes, that window may ask Belay to pause it: Belay aborts it after the
//! step in progress, as a person would, and the rest is on hold until a window opens.

use crate::{
    api::{AbortPolicy, Cancellation, OperationPhase, OperationType},
    lifecycle::messages::{BELAY, WINDOW_CLOSED},
};

use super::{AbortRequest, Facts, Operation};

/// Whether an operation of that type, if a spec asks for it, begins only while a window is open. Settings change in place,
/// and the other types replace no node.
pub fn needs_window(type_: OperationType) -> bool {
    match type_ {
        OperationType::Upgrade | OperationType::Rollback => true,
        OperationType::Create
        | OperationType::Update
        | OperationType::Scale
        | OperationType::Start
        | OperationType::Stop
        | OperationType::Delete
        | OperationType::Reconcile => false,
    }
}

/// Whether Belay aborted an operation because a window closed.
pub fn is_by_window(cancellation: &Cancellation) -> bool {
    cancellation.requested_by == BELAY && cancellation.reason == WINDOW_CLOSED
}

impl Operation<'_> {
    /// Whether it begins only while a window is open. What a person asks for begins at once.
    pub fn needs_window(&self) -> bool {
        self.is_from_spec() && needs_window(self.spec.type_)
    }

    /// Whether it hasn't begun and may not begin now, because no window is open. It doesn't hold the lock, and nothing
    /// waits for it.
    pub fn waits_for_window(&self, facts: &Facts<'_>) -> bool {
        self.phase() == OperationPhase::Pending
            && self.needs_window()
            && facts.windows.keep_waiting()
    }

    /// Returns the abort request of an operation whose window has closed and says that it pauses then.
    pub(super) fn by_window(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        let pauses = self.phase() == OperationPhase::InProgress
            && self.needs_window()
            && facts.windows.pause();
        pauses.then(|| AbortRequest {
            policy: AbortPolicy::AfterStep,
            requested_by: BELAY.to_owned(),
            requested_at: Some(facts.now),
            ..AbortRequest::now(WINDOW_CLOSED.to_owned())
        })
    }

    /// Returns the request of a person who aborts an operation that is being paused because its window closed. The
    /// operation then counts as aborted by that person, so no window resumes it.
    pub(super) fn by_person_instead(&self, facts: &Facts<'_>) -> Option<AbortRequest> {
        let cancellation = self.status.cancellation.as_ref()?;
        let request = self.by_annotation().or_else(|| self.by_target(facts));
        request.filter(|request| is_by_window(cancellation) && request.objection.is_none())
    }
}
