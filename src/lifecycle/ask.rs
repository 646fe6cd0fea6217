//! What an Operation asks of its target's spec. A person's is written there before it runs; one that Belay
//! made from a spec is stale once the spec says something else.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{
    AgentPool, Operation, OperationError, OperationTarget, OperationType, PowerState, TargetKind,
};

use super::{Snapshot, abort, lock, names::name_of, need, objection, phase};

/// What is to be done to a target before a person's Operation can run.
#[derive(Clone, Debug, PartialEq)]
pub struct SpecChange {
    /// The cluster or pool.
    pub target: OperationTarget,
    /// What its spec is to say; none: it is to be deleted.
    pub spec: Option<Value>,
}

/// What is left to be written into the target's spec before the Operation can run.
pub(super) fn change(snapshot: &Snapshot, operation: &Operation) -> Option<SpecChange> {
    let spec = &operation.spec;
    let pool = || snapshot.pool(&spec.target.name);
    let is_cluster = spec.target.kind == TargetKind::ManagedCluster;
    let power = |wanted: PowerState| {
        let is_so = if is_cluster {
            snapshot.cluster.spec.power_state == wanted
        } else {
            pool()?.spec.power_state == wanted
        };
        (!is_so).then(|| json!({"powerState": wanted}))
    };
    let fields = match spec.type_ {
        OperationType::Upgrade | OperationType::Rollback => {
            let wanted = spec.kubernetes_version.clone()?;
            let is_so = if is_cluster {
                snapshot.cluster.spec.kubernetes_version == wanted
            } else {
                says_version(snapshot, pool()?, &wanted)
            };
            (!is_so).then(|| json!({"kubernetesVersion": wanted}))
        }
        OperationType::Scale => {
            let wanted = spec.count?;
            (pool()?.spec.count != wanted).then(|| json!({"count": wanted}))
        }
        OperationType::Start => power(PowerState::Running),
        OperationType::Stop => power(PowerState::Stopped),
        OperationType::Delete => {
            let metadata = if is_cluster {
                &snapshot.cluster.metadata
            } else {
                &pool()?.metadata
            };
            let target = spec.target.clone();
            return metadata
                .deletion_timestamp
                .is_none()
                .then_some(SpecChange { target, spec: None });
        }
        OperationType::Create | OperationType::Update | OperationType::Reconcile => None,
    }?;
    Some(SpecChange {
        target: spec.target.clone(),
        spec: Some(fields),
    })
}

/// Whether a pool is to run that version, by its own spec or, where that names none, by its cluster's.
fn says_version(snapshot: &Snapshot, pool: &AgentPool, wanted: &str) -> bool {
    match &pool.spec.kubernetes_version {
        Some(own) => own == wanted,
        None => need::desired_version(snapshot, pool)
            .is_some_and(|version| version.to_string() == wanted),
    }
}

/// Whether an Operation that Belay made from a spec is no longer what the spec asks for.
pub(super) fn is_stale(snapshot: &Snapshot, operation: &Operation) -> bool {
    let spec = &operation.spec;
    if spec.type_ == OperationType::Delete {
        return false;
    }
    let generation = phase::target_generation(snapshot, &spec.target).to_string();
    if phase::made_for(operation) != Some(&generation) {
        return true;
    }
    // The spec is the same, but what it means for a pool's version follows from its control plane.
    spec.target.kind == TargetKind::AgentPool
        && spec.kubernetes_version.as_ref().is_some_and(|version| {
            snapshot.pool(&spec.target.name).is_some_and(|pool| {
                need::desired_version(snapshot, pool)
                    .is_some_and(|desired| desired.to_string() != *version)
            })
        })
}

/// The newer change that takes the place of one that waits: only the newest for a target is kept.
pub(super) fn replaced_by<'a>(snapshot: &'a Snapshot, operation: &Operation) -> Option<&'a str> {
    let newer = snapshot
        .operations
        .iter()
        .skip_while(|other| other.metadata.uid != operation.metadata.uid)
        .skip(1)
        .find(|newer| {
            newer.spec.target == operation.spec.target
                && !phase::of(newer).is_finished()
                && !phase::holds_lock(snapshot, newer)
        })?;
    newer.metadata.name.as_deref()
}

/// Why what a person's Operation asks for can't be done, whatever else is in flight.
pub(super) fn objection(
    snapshot: &Snapshot,
    operation: &Operation,
    now: Timestamp,
) -> Option<OperationError> {
    match operation.spec.target.kind {
        TargetKind::ManagedCluster => objection::to_cluster(snapshot, operation, now),
        TargetKind::AgentPool => {
            let pool = snapshot.pool(&operation.spec.target.name)?;
            objection::to_pool(snapshot, pool, operation, now)
        }
    }
}

/// The waiting Operation for which the one in flight is to make room, where the cluster's policy says so.
/// The making of a pool takes nobody's place: it waits.
pub(super) fn makes_room_for<'a>(
    snapshot: &'a Snapshot,
    in_flight: &Operation,
    now: Timestamp,
) -> Option<&'a Operation> {
    let waits_for_it = |other: &&Arc<Operation>| {
        let is_waiting = !phase::of(other).is_finished() && !phase::holds_lock(snapshot, other);
        is_waiting
            && lock::excludes(&other.spec.target, &in_flight.spec.target)
            && !abort::is_asked_for(snapshot, other)
            && takes_a_place(snapshot, other, now)
    };
    snapshot
        .operations
        .iter()
        .filter(|other| name_of(other) != name_of(in_flight))
        .find(waits_for_it)
        .map(AsRef::as_ref)
}

fn takes_a_place(snapshot: &Snapshot, waiting: &Operation, now: Timestamp) -> bool {
    if phase::is_from_spec(waiting) {
        waiting.spec.type_ != OperationType::Create && !is_stale(snapshot, waiting)
    } else {
        objection(snapshot, waiting, now).is_none()
    }
}
