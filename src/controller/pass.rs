//! Does what was decided: in order, side by side where the order doesn't matter. One thing's trouble is its
//! own: a write that fails keeps back what depends on it, and nothing else; one that isn't answered soon goes
//! on beside the next pass, which leaves its object alone until then.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::join_all;

use crate::{
    api::{OperationPhase, OperationTarget, TargetKind},
    lifecycle::{Action, ObjectId},
};

use super::{
    ReconcileError,
    writes::{PATIENCE, Writes, object_of},
};

/// How many writes go on side by side.
const AT_ONCE: usize = 8;

/// One pass over what was decided.
pub struct Pass {
    writes: Arc<Writes>,
    only_stops: bool,
    /// Objects whose write failed, and may succeed when it is decided anew.
    failed: BTreeSet<ObjectId>,
    /// Objects whose write somebody refuses. What else depends on them doesn't wait.
    refused: BTreeSet<ObjectId>,
    /// Targets that couldn't be kept from going: nothing is begun on them.
    unkept: BTreeSet<ObjectId>,
    /// An Operation couldn't be created that takes the place of one that ends.
    holds_ends_back: bool,
    error: Option<ReconcileError>,
}

impl Pass {
    /// A pass that makes these writes. Where what they were decided on is about to change, for a write of an
    /// earlier pass isn't answered yet, it only brings operations to a stop.
    pub fn new(writes: Writes, is_about_to_change: bool) -> Self {
        Self {
            only_stops: is_about_to_change,
            writes: Arc::new(writes),
            failed: BTreeSet::new(),
            refused: BTreeSet::new(),
            unkept: BTreeSet::new(),
            holds_ends_back: false,
            error: None,
        }
    }

    /// Does all of it that can be done.
    ///
    /// # Errors
    /// The first of what failed; all else was done.
    pub async fn run(mut self, actions: Vec<Action>) -> Result<(), ReconcileError> {
        let mut actions = actions;
        if self.only_stops {
            actions.retain(stops);
        }
        for wave in waves(actions) {
            let due: Vec<_> = wave
                .into_iter()
                .filter(|action| self.may_be_done(action))
                .collect();
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

    /// Whether nothing failed that has to be there first.
    fn may_be_done(&self, action: &Action) -> bool {
        let has_failed = |id: &ObjectId| self.failed.contains(id) || self.refused.contains(id);
        let of_operation = |uid: &str| {
            self.writes
                .operation_of(uid)
                .is_some_and(|id| has_failed(&id))
        };
        let a_target_failed = || {
            self.failed
                .iter()
                .any(|id| !matches!(id, ObjectId::Operation(_)))
        };
        match action {
            Action::AddFinalizer(id) => !has_failed(id),
            Action::AdoptPool(name) | Action::LabelPool { name, .. } => {
                !has_failed(&ObjectId::Pool(name.clone()))
            }
            // What ended is kept on its targets first.
            Action::RemoveFinalizer(id) => !has_failed(id) && !a_target_failed(),
            Action::WriteOperationStatus { name, status } => {
                let ends = status.phase.is_finished();
                let never_began = ends && status.start_time.is_none();
                let is_held_back =
                    (ends && self.holds_ends_back) || (never_began && a_target_failed());
                !is_held_back && !has_failed(&ObjectId::Operation(name.clone()))
            }
            // Where somebody refuses a write to it, its status says so.
            Action::WritePoolStatus { name, .. } => {
                !self.failed.contains(&ObjectId::Pool(name.clone()))
            }
            // The lock is released once the pools have kept what ended.
            Action::WriteClusterStatus(_) | Action::DeletePool(_) | Action::DeleteOperation(_) => {
                !a_target_failed()
            }
            Action::CreateOperation(operation) => {
                !a_target_failed() && self.is_kept(&operation.spec.target)
            }
            Action::StopWork { uid, .. } | Action::ChangeSpec { uid, .. } => !of_operation(uid),
            Action::StartWork { job, .. } => {
                let target = self.writes.target_of(&job.uid);
                let is_kept = target.is_none_or(|target| self.is_kept(&target));
                !of_operation(&job.uid) && !a_target_failed() && is_kept
            }
            Action::Publish(note) => !has_failed(&ObjectId::Operation(note.operation.clone())),
            Action::ForgetWork { .. } | Action::LookForOperation { .. } | Action::Mend { .. } => {
                true
            }
        }
    }

    /// Whether a target and its cluster are kept until the work on them has ended.
    fn is_kept(&self, target: &OperationTarget) -> bool {
        let id = match target.kind {
            TargetKind::ManagedCluster => ObjectId::Cluster,
            TargetKind::AgentPool => ObjectId::Pool(target.name.clone()),
        };
        !self.unkept.contains(&id) && !self.unkept.contains(&ObjectId::Cluster)
    }

    fn note(&mut self, action: &Action, error: ReconcileError) {
        let object = object_of(action);
        if let Action::AddFinalizer(id) = action {
            self.unkept.insert(id.clone());
        }
        tracing::debug!(?object, %error, "a write failed");
        match object {
            Some(id) if error.is_refusal() => drop(self.refused.insert(id)),
            Some(id) => drop(self.failed.insert(id)),
            None => self.holds_ends_back |= matches!(action, Action::CreateOperation(_)),
        }
        let is_worse = self
            .error
            .as_ref()
            .is_none_or(|first| first.is_refusal() && !error.is_refusal());
        if is_worse {
            self.error = Some(error);
        }
    }
}

/// Whether an action brings an operation to a stop. That waits for nothing; all else is decided on the answer
/// to what was written.
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

/// One action. Where it isn't answered soon, it goes on by itself.
async fn soon(writes: Arc<Writes>, action: Action) -> Result<(), ReconcileError> {
    let mut task = tokio::spawn(async move { writes.act(action).await });
    match tokio::time::timeout(PATIENCE, &mut task).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(ReconcileError::Panicked),
        Err(_) => Err(ReconcileError::NoAnswer),
    }
}

/// The actions in waves: those of one wave are of one kind, about different objects, and don't depend on
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
