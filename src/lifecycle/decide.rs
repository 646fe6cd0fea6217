//! From a snapshot to what must be written and done.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    LastOperation, Operation, OperationInFlight, OperationPhase, OperationStatus, OperationTarget,
    OperationType,
};

use super::{
    Action, ObjectId, Snapshot, Work, conditions, creation, finalizers, history, lock,
    names::name_of,
    notes,
    phase::{self, Advance},
    scale_refusal,
    status::Report,
};

/// Decides what to do now. A settled snapshot needs nothing: then there is no action.
///
/// `now` is cut to whole seconds, as Kubernetes' times are.
pub fn decide(snapshot: &Snapshot, now: Timestamp) -> Vec<Action> {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let strides = Strides::take(snapshot, now);
    let lock = strides.next_lock(snapshot, now);
    let ended = strides.ended(snapshot);
    let report = Report {
        snapshot,
        operations: &strides.statuses(snapshot),
        lock: &lock,
        ended: &ended,
        now,
    };
    let mut actions = finalizers::keep(snapshot);
    actions.extend(strides.keep());
    actions.extend(strides.write_operations(snapshot, false));
    actions.extend(strides.stop_work(snapshot));
    actions.extend(write_targets(snapshot, &report));
    // An abort that kept an operation from beginning is noted on its target first: were it forgotten in
    // between, the spec would ask for the same operation again.
    actions.extend(strides.write_operations(snapshot, true));
    actions.extend(strides.change_specs());
    actions.extend(strides.start_work());
    actions.extend(forget_work(snapshot));
    actions.extend(creation::needed(snapshot, &lock));
    actions.extend(finalizers::release(snapshot, &|operation| {
        strides.status(operation)
    }));
    actions.extend(strides.notes(snapshot));
    actions.extend(history::prune(snapshot));
    actions.extend(scale_refusal::label(snapshot));
    actions
}

/// What becomes of each Operation that hasn't ended.
struct Strides<'a> {
    unfinished: Vec<(&'a Arc<Operation>, Advance)>,
}

impl<'a> Strides<'a> {
    fn take(snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let unfinished = snapshot
            .operations
            .iter()
            .filter(|operation| !phase::of(operation).is_finished())
            .map(|operation| (operation, phase::advance(snapshot, operation, now)))
            .collect();
        Self { unfinished }
    }

    /// The status of an Operation as it will be.
    fn status(&self, operation: &Operation) -> OperationStatus {
        let advanced = self
            .unfinished
            .iter()
            .find(|(op, _)| op.metadata.name == operation.metadata.name);
        match advanced {
            Some((_, advance)) => advance.status.clone(),
            None => operation.status.clone().unwrap_or_default(),
        }
    }

    fn statuses(&self, snapshot: &Snapshot) -> BTreeMap<String, OperationStatus> {
        let name = |operation: &Operation| operation.metadata.name.clone().unwrap_or_default();
        snapshot
            .operations
            .iter()
            .map(|operation| (name(operation), self.status(operation)))
            .collect()
    }

    /// The lock: without those that ended, then with those whose turn it is. The order of the queue is that
    /// of creation, deletions first; who waits lets nobody past that would keep it waiting.
    fn next_lock(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<OperationInFlight> {
        let held = snapshot.lock();
        let mut lock: Vec<OperationInFlight> = held
            .iter()
            .filter_map(|held| {
                let status = self.status(snapshot.operation(&held.name)?);
                let held = OperationInFlight {
                    phase: status.phase,
                    percent_complete: status.percent_complete,
                    target_generation: Self::generation(snapshot, held),
                    ..held.clone()
                };
                (!status.phase.is_finished()).then_some(held)
            })
            .collect();
        let mut queue: Vec<_> = self
            .unfinished
            .iter()
            .filter(|(_, advance)| !advance.status.phase.is_finished())
            .map(|(operation, _)| *operation)
            .filter(|operation| !phase::holds_lock(snapshot, operation))
            .filter(|operation| !finalizers::is_unkept(operation))
            .collect();
        queue.sort_by_key(|operation| operation.spec.type_ != OperationType::Delete);
        let mut waiting: Vec<&OperationTarget> = Vec::new();
        for operation in queue {
            let target = &operation.spec.target;
            let is_free =
                lock::conflict(held, target).is_none() && lock::conflict(&lock, target).is_none();
            if is_free && !waiting.iter().any(|other| lock::excludes(other, target)) {
                lock.push(in_flight(snapshot, operation, now));
            } else {
                waiting.push(target);
            }
        }
        lock
    }

    /// The generation that a holder of the lock brings about: a person's Operation that hasn't begun is
    /// still being written into the spec.
    fn generation(snapshot: &Snapshot, held: &OperationInFlight) -> i64 {
        let operation = snapshot.operation(&held.name);
        let is_being_written = operation.is_some_and(|operation| {
            !phase::is_from_spec(operation) && phase::of(operation) == OperationPhase::Pending
        });
        if is_being_written {
            phase::target_generation(snapshot, &held.target)
        } else {
            held.target_generation
        }
    }

    /// The operations that end now, or that ended and aren't noted yet.
    fn ended(&self, snapshot: &Snapshot) -> Vec<LastOperation> {
        let held = snapshot.lock();
        let noted = held.iter().filter_map(|held| {
            let operation = snapshot.operation(&held.name)?;
            let status = self.status(operation);
            let counts = status.phase.is_finished() && !phase::is_refusal(operation, &status);
            counts.then(|| last_operation(operation, &status, Self::generation(snapshot, held)))
        });
        let kept_from_beginning = self.unfinished.iter().filter_map(|(operation, advance)| {
            let counts = phase::counts(snapshot, operation, &advance.status)
                && !phase::holds_lock(snapshot, operation);
            counts.then(|| {
                let generation = phase::target_generation(snapshot, &operation.spec.target);
                last_operation(operation, &advance.status, generation)
            })
        });
        noted.chain(kept_from_beginning).collect()
    }

    /// Once `Canceling` is written, what is in process comes to a stop.
    fn stop_work(&self, snapshot: &Snapshot) -> Vec<Action> {
        let stops = self.unfinished.iter().filter_map(|(operation, advance)| {
            let (uid, stop) = (operation.metadata.uid.clone()?, advance.stop);
            match snapshot.work.get(&uid) {
                Some(Work::Running(_, told)) if *told < stop => {
                    Some(Action::StopWork { uid, stop })
                }
                _ => None,
            }
        });
        stops.collect()
    }

    fn keep(&self) -> Vec<Action> {
        let unkept = self.unfinished.iter().filter(|(operation, advance)| {
            finalizers::is_unkept(operation) && !advance.status.phase.is_finished()
        });
        unkept
            .map(|(operation, _)| Action::AddFinalizer(ObjectId::Operation(name_of(operation))))
            .collect()
    }

    fn write_operations(&self, snapshot: &Snapshot, kept_from_beginning: bool) -> Vec<Action> {
        self.unfinished
            .iter()
            .filter(|(operation, advance)| operation.status.as_ref() != Some(&advance.status))
            .filter(|(operation, advance)| {
                let never_began = advance.status.phase == OperationPhase::Canceled
                    && !phase::holds_lock(snapshot, operation);
                never_began == kept_from_beginning
            })
            .map(|(operation, advance)| Action::WriteOperationStatus {
                name: name_of(operation),
                status: Box::new(advance.status.clone()),
            })
            .collect()
    }

    fn change_specs(&self) -> Vec<Action> {
        let changes = self.unfinished.iter().filter_map(|(operation, advance)| {
            Some(Action::ChangeSpec {
                uid: operation.metadata.uid.clone()?,
                change: advance.change.clone()?,
            })
        });
        changes.collect()
    }

    fn start_work(&self) -> Vec<Action> {
        let starts = self.unfinished.iter().filter_map(|(_, advance)| {
            let job = advance.start.clone()?;
            Some(Action::StartWork {
                job,
                stop: advance.stop,
            })
        });
        starts.collect()
    }

    fn notes(&self, snapshot: &Snapshot) -> Vec<Action> {
        self.unfinished
            .iter()
            .filter_map(|(operation, advance)| notes::of(snapshot, operation, &advance.status))
            .map(Action::Publish)
            .collect()
    }
}

fn in_flight(snapshot: &Snapshot, operation: &Operation, now: Timestamp) -> OperationInFlight {
    let status = operation.status.clone().unwrap_or_default();
    OperationInFlight {
        name: name_of(operation),
        type_: operation.spec.type_,
        target: operation.spec.target.clone(),
        phase: status.phase,
        percent_complete: status.percent_complete,
        start_time: Some(status.start_time.unwrap_or(Time(now))),
        target_generation: phase::target_generation(snapshot, &operation.spec.target),
    }
}

fn last_operation(
    operation: &Operation,
    status: &OperationStatus,
    generation: i64,
) -> LastOperation {
    LastOperation {
        name: name_of(operation),
        type_: operation.spec.type_,
        target: operation.spec.target.clone(),
        phase: status.phase,
        start_time: status.start_time.clone(),
        end_time: status.end_time.clone(),
        target_generation: generation,
        message: conditions::end_text(status),
    }
}

/// Pools before the cluster: the lock is released with the cluster's status, once its pools have noted what ended.
fn write_targets(snapshot: &Snapshot, report: &Report<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let cluster_status = report.cluster();
    for pool in &snapshot.pools {
        let status = report.pool(pool, &cluster_status);
        if pool.status.as_ref() != Some(&status) {
            let name = pool.metadata.name.clone().unwrap_or_default();
            actions.push(Action::WritePoolStatus {
                name,
                status: Box::new(status),
            });
        }
    }
    if snapshot.cluster.status.as_ref() != Some(&cluster_status) {
        actions.push(Action::WriteClusterStatus(Box::new(cluster_status)));
    }
    actions
}

/// Work of Operations that have ended and were written so, or that are no more.
fn forget_work(snapshot: &Snapshot) -> Vec<Action> {
    let is_over = |uid: &str| {
        let of = snapshot
            .operations
            .iter()
            .find(|op| op.metadata.uid.as_deref() == Some(uid));
        of.is_none_or(|operation| phase::of(operation).is_finished())
    };
    let over = snapshot.work.keys().filter(|uid| is_over(uid));
    over.map(|uid| Action::ForgetWork { uid: uid.clone() })
        .collect()
}
