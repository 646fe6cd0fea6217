//! Writes that can wait. A change that only shows progress is written at most once a second for each object, because
//! the API server has other clients to serve and nobody reads faster. A beginning, an end or a block is written at
//! once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::ResourceExt as _;

use crate::{
    api::{AgentPoolStatus, ManagedClusterStatus, OperationPhase, OperationStatus},
    lifecycle::{Action, ObjectId, Snapshot, step_names::NODE_STEP_PREFIX},
};

/// How long after a write of an object its progress is written again.
const PACE: Duration = Duration::from_secs(1);

/// How long the write of a pool's label waits. An operation that ends within this time needs no label. If a scale comes
/// in the meantime, the core refuses it in the same words.
const LABEL_PACE: Duration = Duration::from_millis(200);

/// When each object was last written.
#[derive(Default)]
pub struct Pacing(Mutex<Written>);

#[derive(Default)]
struct Written {
    /// By uid. An entry older than [`PACE`] has no effect.
    last: HashMap<String, Instant>,
    /// When old entries were last removed.
    swept: Option<Instant>,
}

impl Written {
    /// Removes old entries, at most once per [`PACE`], because each decision calls this.
    fn sweep(&mut self) {
        if self.swept.is_none_or(|swept| swept.elapsed() >= PACE) {
            self.last.retain(|_, last| last.elapsed() < PACE);
            self.swept = Some(Instant::now());
        }
    }
}

impl Pacing {
    /// Removes the actions that can wait from `actions`, and returns how long they wait.
    pub fn hold_back(&self, actions: &mut Vec<Action>, snapshot: &Snapshot) -> Option<Duration> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.sweep();
        let mut wait: Option<Duration> = None;
        actions.retain(|action| {
            let Some((uid, pace)) = written_by(action, snapshot) else {
                return true;
            };
            let since = written.last.get(&uid).map(Instant::elapsed);
            let Some(since) = since.filter(|since| *since < pace) else {
                written.last.insert(uid, Instant::now());
                return true;
            };
            let rest = pace.saturating_sub(since);
            wait = Some(wait.map_or(rest, |wait| wait.min(rest)));
            false
        });
        wait
    }
}

/// Returns the uid of the object that an action writes, and how long after the last write the action is due. None if
/// the action writes neither a status nor a label.
fn written_by(action: &Action, snapshot: &Snapshot) -> Option<(String, Duration)> {
    let pace = |can_wait: bool| if can_wait { PACE } else { Duration::ZERO };
    match action {
        Action::WriteOperationStatus { name, status } => {
            let operation = snapshot.operation(name)?;
            let before = operation.status.as_ref();
            let can_wait = before.is_some_and(|before| {
                operation_without_progress(before) == operation_without_progress(status)
            });
            Some((operation.uid()?, pace(can_wait)))
        }
        Action::WritePoolStatus { name, status } => {
            let pool = snapshot.pool(name)?;
            let before = pool.status.as_ref();
            let can_wait = status.operation.is_some()
                && before.is_some_and(|before| {
                    pool_without_progress(before) == pool_without_progress(status)
                });
            Some((pool.uid()?, pace(can_wait)))
        }
        Action::WriteClusterStatus(status) => {
            let before = snapshot.cluster.status.as_ref();
            let can_wait = !status.operations.is_empty()
                && before.is_some_and(|before| {
                    cluster_without_progress(before) == cluster_without_progress(status)
                });
            Some((snapshot.cluster.uid()?, pace(can_wait)))
        }
        Action::Label {
            id: ObjectId::Pool(name),
            ..
        } if !snapshot.lock().is_empty() => Some((snapshot.pool(name)?.uid()?, LABEL_PACE)),
        _ => None,
    }
}

/// The part of an Operation's status that is written at once. A step that work waits for has a handle, or is about more
/// than one node.
fn operation_without_progress(status: &OperationStatus) -> OperationStatus {
    let mut status = status.clone();
    status.percent_complete = 0;
    status.conditions.clear();
    status
        .steps
        .retain(|step| step.handle.is_some() || !step.name.starts_with(NODE_STEP_PREFIX));
    for step in &mut status.steps {
        step.message.clear();
        step.nodes_done = None;
        step.percent_complete = None;
    }
    status
}

fn pool_without_progress(status: &AgentPoolStatus) -> AgentPoolStatus {
    let mut status = AgentPoolStatus {
        count: 0,
        ready_count: 0,
        versions: Vec::new(),
        version_summary: None,
        conditions: Vec::new(),
        ..status.clone()
    };
    if let Some(operation) = &mut status.operation {
        operation.percent_complete = 0;
        operation.phase = begun(operation.phase);
    }
    status
}

fn cluster_without_progress(status: &ManagedClusterStatus) -> ManagedClusterStatus {
    let mut status = ManagedClusterStatus {
        conditions: Vec::new(),
        ..status.clone()
    };
    for operation in &mut status.operations {
        operation.percent_complete = 0;
        operation.phase = begun(operation.phase);
    }
    status
}

/// Treats Pending as InProgress, because an operation that holds the lock begins at once. Its own status shows when.
fn begun(phase: OperationPhase) -> OperationPhase {
    match phase {
        OperationPhase::Pending => OperationPhase::InProgress,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        api::{Blocked, Step, StepAction, StepPhase},
        lifecycle::step_names,
    };

    use super::*;

    fn with_step(name: &str, change: impl FnOnce(&mut Step)) -> OperationStatus {
        let mut step = step_names::step(name.into(), StepAction::Replace, String::new());
        step.phase = StepPhase::InProgress;
        change(&mut step);
        OperationStatus {
            phase: OperationPhase::InProgress,
            steps: vec![step],
            ..OperationStatus::default()
        }
    }

    fn can_wait(before: &OperationStatus, after: &OperationStatus) -> bool {
        operation_without_progress(before) == operation_without_progress(after)
    }

    #[test]
    fn the_progress_of_a_node_can_be_written_later() {
        let before = with_step("node/a", |_| ());
        let mut after = with_step("node/a", |step| {
            step.message = "draining: 2 pods left".into();
        });
        after.percent_complete = 40;
        assert!(can_wait(&before, &after));
        let mut after = with_step("node/a", |step| step.phase = StepPhase::Succeeded);
        after.steps.extend(with_step("node/b", |_| ()).steps);
        assert!(can_wait(&before, &after));
    }

    #[test]
    fn a_status_that_work_waits_for_is_written_at_once() {
        let before = with_step("control-plane", |step| step.phase = StepPhase::Pending);
        assert!(!can_wait(&before, &with_step("control-plane", |_| ())));
        let before = with_step("node/a", |_| ());
        let after = with_step("node/a", |step| step.handle = Some("update-1".into()));
        assert!(!can_wait(&before, &after));
    }

    #[test]
    fn a_phase_a_block_and_an_end_are_written_at_once() {
        let before = with_step("node/a", |_| ());
        for phase in [OperationPhase::Canceling, OperationPhase::Succeeded] {
            let after = OperationStatus {
                phase,
                ..before.clone()
            };
            assert!(!can_wait(&before, &after));
        }
        let blocked = OperationStatus {
            blocked: Some(Blocked {
                reason: "PodDisruptionBudget".into(),
                message: String::new(),
                since: None,
            }),
            ..before.clone()
        };
        assert!(!can_wait(&before, &blocked));
    }
}
