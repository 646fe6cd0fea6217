//! From a snapshot to what must be written and done.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource as _;

use crate::api::{
    AGENT_POOL_LABEL, CLUSTER_LABEL, FINALIZER, LastOperation, ManagedCluster, Operation,
    OperationInFlight, OperationPhase, OperationSpec, OperationStatus, OperationTarget,
    OperationType, TargetKind,
};

use super::{
    Action, Note, ObjectId, Snapshot, Stop, Work, finalizers, lock,
    messages::reason,
    names, need,
    phase::{self, Advance, FOR_GENERATION_ANNOTATION},
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
    let mut actions = strides.stop_work(snapshot);
    actions.extend(finalizers::keep(snapshot));
    actions.extend(strides.keep());
    actions.extend(strides.write_operations(snapshot, false));
    actions.extend(write_targets(snapshot, &report));
    // An abort that kept an operation from beginning is noted on its target first: were it forgotten in
    // between, the spec would ask for the same operation again.
    actions.extend(strides.write_operations(snapshot, true));
    actions.extend(strides.start_work());
    actions.extend(forget_work(snapshot));
    actions.extend(create_needed(snapshot, &lock));
    actions.extend(finalizers::release(snapshot, &|operation| {
        strides.status(operation)
    }));
    actions.extend(strides.notes(snapshot));
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
            .filter(|operation| !phase_of(operation).is_finished())
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
        let held = snapshot
            .cluster
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.operations);
        let mut lock: Vec<OperationInFlight> = held
            .iter()
            .filter_map(|held| {
                let status = self.status(snapshot.operation(&held.name)?);
                (!status.phase.is_finished()).then(|| OperationInFlight {
                    phase: status.phase,
                    percent_complete: status.percent_complete,
                    ..held.clone()
                })
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

    /// The operations that end now, or that ended and aren't noted yet.
    fn ended(&self, snapshot: &Snapshot) -> Vec<LastOperation> {
        let held = snapshot
            .cluster
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.operations);
        let noted = held.iter().filter_map(|held| {
            let operation = snapshot.operation(&held.name)?;
            let status = self.status(operation);
            status
                .phase
                .is_finished()
                .then(|| last_operation(operation, &status, held.target_generation))
        });
        let kept_from_beginning = self.unfinished.iter().filter_map(|(operation, advance)| {
            let counts = phase::counts(snapshot, operation, &advance.status)
                && !phase::holds_lock(snapshot, operation);
            counts.then(|| {
                let generation = target_generation(snapshot, &operation.spec.target);
                last_operation(operation, &advance.status, generation)
            })
        });
        noted.chain(kept_from_beginning).collect()
    }

    fn stop_work(&self, snapshot: &Snapshot) -> Vec<Action> {
        let stops = self
            .unfinished
            .iter()
            .filter(|(_, advance)| advance.stop != Stop::No);
        stops
            .filter_map(|(operation, advance)| {
                let uid = operation.metadata.uid.clone()?;
                let running = matches!(snapshot.work.get(&uid), Some(Work::Running(_)));
                running.then_some(Action::StopWork {
                    uid,
                    stop: advance.stop,
                })
            })
            .collect()
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
            .filter_map(|(operation, advance)| note(snapshot, operation, &advance.status))
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
        target_generation: target_generation(snapshot, &operation.spec.target),
    }
}

fn target_generation(snapshot: &Snapshot, target: &OperationTarget) -> i64 {
    let metadata = match target.kind {
        TargetKind::ManagedCluster => Some(&snapshot.cluster.metadata),
        TargetKind::AgentPool => snapshot.pool(&target.name).map(|pool| &pool.metadata),
    };
    metadata
        .and_then(|metadata| metadata.generation)
        .unwrap_or_default()
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
    }
}

/// Pools before the cluster: the lock is released with the cluster's status, once its pools have noted what ended.
fn write_targets(snapshot: &Snapshot, report: &Report<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    for pool in &snapshot.pools {
        let status = report.pool(pool);
        if pool.status.as_ref() != Some(&status) {
            let name = pool.metadata.name.clone().unwrap_or_default();
            actions.push(Action::WritePoolStatus {
                name,
                status: Box::new(status),
            });
        }
    }
    let status = report.cluster();
    if snapshot.cluster.status.as_ref() != Some(&status) {
        actions.push(Action::WriteClusterStatus(Box::new(status)));
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
        of.is_none_or(|operation| phase_of(operation).is_finished())
    };
    let over = snapshot.work.keys().filter(|uid| is_over(uid));
    over.map(|uid| Action::ForgetWork { uid: uid.clone() })
        .collect()
}

/// Creates the Operations that the specs ask for: the cluster's before its pools', and none while another
/// is in flight or waits for the same target. A deletion doesn't wait for that.
fn create_needed(snapshot: &Snapshot, lock: &[OperationInFlight]) -> Vec<Action> {
    let held = snapshot
        .cluster
        .status
        .as_ref()
        .map_or(&[][..], |status| &status.operations);
    let is_busy = |spec: &OperationSpec| {
        let in_the_way = |operation: &&Arc<Operation>| {
            !phase_of(operation).is_finished()
                && lock::excludes(&operation.spec.target, &spec.target)
                && (spec.type_ != OperationType::Delete || operation.spec == *spec)
        };
        let locked = lock::conflict(held, &spec.target).is_some()
            || lock::conflict(lock, &spec.target).is_some();
        (locked && spec.type_ != OperationType::Delete)
            || snapshot.operations.iter().any(|op| in_the_way(&op))
    };
    let mut needs: Vec<OperationSpec> = need::cluster_need(snapshot).into_iter().collect();
    if needs.is_empty() {
        needs.extend(
            snapshot
                .pools
                .iter()
                .filter_map(|pool| need::pool_need(snapshot, pool)),
        );
    } else {
        let pools = snapshot
            .pools
            .iter()
            .filter_map(|pool| need::pool_need(snapshot, pool));
        needs.extend(pools.filter(|spec| spec.type_ == OperationType::Delete));
    }
    needs.retain(|spec| !is_busy(spec));
    needs
        .into_iter()
        .map(|spec| Action::CreateOperation(Box::new(from_spec(snapshot, spec))))
        .collect()
}

fn from_spec(snapshot: &Snapshot, spec: OperationSpec) -> Operation {
    let cluster = &snapshot.cluster;
    let target = &spec.target;
    let (uid, last) = match target.kind {
        TargetKind::ManagedCluster => {
            let status = cluster.status.as_ref();
            (
                &cluster.metadata.uid,
                status.and_then(|status| status.last_operation.as_ref()),
            )
        }
        TargetKind::AgentPool => {
            let pool = snapshot.pool(&target.name);
            let status = pool.and_then(|pool| pool.status.as_ref());
            (
                pool.map_or(&None, |pool| &pool.metadata.uid),
                status.and_then(|status| status.last_operation.as_ref()),
            )
        }
    };
    let generation = target_generation(snapshot, target).to_string();
    let type_ = format!("{:?}", spec.type_).to_lowercase();
    let parts = [
        uid.as_deref().unwrap_or_default(),
        &generation,
        &type_,
        last.map_or("", |last| &last.name),
    ];
    let name = names::suffixed(&format!("{}-{type_}", target.name), &parts);
    let mut labels = BTreeMap::new();
    labels.insert(
        CLUSTER_LABEL.to_owned(),
        cluster.metadata.name.clone().unwrap_or_default(),
    );
    if target.kind == TargetKind::AgentPool {
        labels.insert(AGENT_POOL_LABEL.to_owned(), target.name.clone());
    }
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: cluster.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: Some([(FOR_GENERATION_ANNOTATION.to_owned(), generation)].into()),
        finalizers: Some(vec![FINALIZER.to_owned()]),
        owner_references: Some(vec![owner(cluster)]),
        ..ObjectMeta::default()
    };
    Operation {
        metadata,
        spec,
        status: None,
    }
}

/// The cluster, as the owner of what belongs to it. It doesn't wait for what it owns: its Delete operation does.
fn owner(cluster: &ManagedCluster) -> OwnerReference {
    let owner = cluster.controller_owner_ref(&()).unwrap_or_default();
    OwnerReference {
        block_owner_deletion: None,
        controller: None,
        ..owner
    }
}

/// The Event of a transition, if there is one.
fn note(snapshot: &Snapshot, operation: &Operation, after: &OperationStatus) -> Option<Note> {
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

fn phase_of(operation: &Operation) -> OperationPhase {
    operation
        .status
        .as_ref()
        .map(|status| status.phase)
        .unwrap_or_default()
}

fn name_of(operation: &Operation) -> String {
    operation.metadata.name.clone().unwrap_or_default()
}
