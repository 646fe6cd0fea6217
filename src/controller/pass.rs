//! Carries out what was decided, in order, and concurrently where the order doesn't matter. A failure of one object
//! doesn't affect others: a write that fails holds back only what depends on it. A write that isn't answered soon
//! continues beside the next pass, which doesn't touch its object until then.

use std::sync::Arc;

use futures::future::join_all;

use crate::{api::OperationPhase, lifecycle::Action};

use super::{
    ReconcileError,
    dependence::{Failures, object_of},
    writes::{PATIENCE, Writes},
};

/// How many writes run concurrently.
const AT_ONCE: usize = 8;

/// One pass over what was decided.
pub struct Pass {
    writes: Arc<Writes>,
    only_stops: bool,
    failures: Failures,
    error: Option<ReconcileError>,
}

impl Pass {
    /// A pass that makes these writes. `is_about_to_change` says that a write of an earlier pass isn't answered yet, so
    /// what this pass was decided on is about to change. In that case, the pass only brings operations to a stop.
    pub fn new(writes: Writes, is_about_to_change: bool) -> Self {
        Self {
            only_stops: is_about_to_change,
            writes: Arc::new(writes),
            failures: Failures::default(),
            error: None,
        }
    }

    /// Carries out all actions that can be done.
    ///
    /// # Errors
    /// Returns the first error. All other actions were done.
    pub async fn run(mut self, mut actions: Vec<Action>) -> Result<(), ReconcileError> {
        if self.only_stops {
            actions.retain(stops);
        }
        for wave in waves(actions) {
            let (due, held_back): (Vec<_>, Vec<_>) = wave
                .into_iter()
                .partition(|action| self.failures.allow(action, self.writes.snapshot()));
            for action in &held_back {
                self.failures.note_undone(action);
            }
            let done = join_all(due.into_iter().map(|action| {
                let (writes, of) = (self.writes.clone(), action.clone());
                async move { (of, soon(writes, action).await) }
            }));
            for (action, done) in done.await {
                if let Err(error) = done {
                    self.note(&action, error);
                }
            }
        }
        match self.error {
            Some(error) => Err(error),
            None if self.only_stops => Err(ReconcileError::Stale),
            None => Ok(()),
        }
    }

    fn note(&mut self, action: &Action, error: ReconcileError) {
        self.writes.span_of(action).in_scope(|| {
            tracing::debug!(object = ?object_of(action), %error, "a write failed");
        });
        // A write that is refused for the first time may be accepted the next time. A pool then shows what ended on it.
        let is_lasting = error.is_refusal() && self.writes.was_refused(action);
        self.failures.note(action, is_lasting);
        let is_worse = self
            .error
            .as_ref()
            .is_none_or(|first| first.is_refusal() && !error.is_refusal());
        if is_worse {
            self.error = Some(error);
        }
    }
}

/// Whether an action brings an operation to a stop. Such an action waits for nothing. All other actions are decided on
/// after the answer to the earlier write.
fn stops(action: &Action) -> bool {
    match action {
        Action::StopWork { .. } => true,
        Action::WriteOperationStatus { status, .. } => {
            let is_canceled =
                status.phase == OperationPhase::Canceled && status.start_time.is_some();
            is_canceled || status.phase == OperationPhase::Canceling
        }
        _ => false,
    }
}

/// If work is to stop, keeps only the actions up to the last stop. All other actions are decided again afterwards.
/// Returns whether work is to stop.
pub fn cut_to_stops(actions: &mut Vec<Action>) -> bool {
    let is_stop = |action: &Action| matches!(action, Action::StopWork { .. });
    let last = actions.iter().rposition(is_stop);
    if let Some(last) = last {
        actions.truncate(last + 1);
    }
    last.is_some()
}

/// Whether the stores show the result of an action at once. For a created Operation, the next pass waits.
pub fn is_shown_at_once(action: &Action) -> bool {
    match action {
        Action::AddFinalizer(_)
        | Action::AdoptPool(_)
        | Action::Label { .. }
        | Action::CreateOperation(_)
        | Action::StopWork { .. }
        | Action::WriteOperationStatus { .. }
        | Action::WritePoolStatus { .. }
        | Action::WriteClusterStatus(_)
        | Action::StartWork { .. }
        | Action::ForgetWork { .. }
        | Action::Publish(_) => true,
        Action::RemoveFinalizer(_)
        | Action::DeletePool(_)
        | Action::DeleteOperation(_)
        | Action::ChangeSpec { .. }
        | Action::Mend { .. }
        | Action::LookForOperation { .. } => false,
    }
}

/// Carries out one action. If it isn't answered soon, it continues in the background.
async fn soon(writes: Arc<Writes>, action: Action) -> Result<(), ReconcileError> {
    let mut task = tokio::spawn(async move { writes.act(action).await });
    match tokio::time::timeout(PATIENCE, &mut task).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(ReconcileError::Panicked),
        Err(_) => Err(ReconcileError::NoAnswer),
    }
}

/// Groups the actions into waves. The actions of a wave are of one kind, write different objects, and don't depend on
/// each other.
fn waves(actions: Vec<Action>) -> Vec<Vec<Action>> {
    let mut waves: Vec<Vec<Action>> = Vec::new();
    for action in actions {
        let kind = std::mem::discriminant(&action);
        let object = object_of(&action);
        let fits = waves.last().is_some_and(|wave| {
            wave.len() < AT_ONCE
                && wave.iter().all(|other| {
                    std::mem::discriminant(other) == kind
                        && (object.is_none() || object_of(other) != object)
                })
        });
        match waves.last_mut() {
            Some(wave) if fits => wave.push(action),
            _ => waves.push(vec![action]),
        }
    }
    waves
}
