//! Which Operations Belay creates from the specs, and when.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::{
    AGENT_POOL_LABEL, CLUSTER_LABEL, ConcurrencyPolicy, FINALIZER, FOR_GENERATION_LABEL,
    LastOperation, ManagedCluster, Operation, OperationInFlight, OperationSpec, OperationType,
    PowerState, TargetKind,
};

use super::{Action, Snapshot, hold, lock, names, need, phase};

/// Creates the Operations that the specs ask for: the cluster's before its pools', and none while another
/// waits for the same target. While one is in flight, only a deletion is created, and, where the cluster's
/// policy lets changes wait, a new change.
pub(super) fn needed(snapshot: &Snapshot, lock: &[OperationInFlight]) -> Vec<Action> {
    let cluster = need::cluster_need(snapshot);
    let pools = snapshot
        .pools
        .iter()
        .filter_map(|pool| need::pool_need(snapshot, pool));
    let pools: Vec<OperationSpec> = match &cluster {
        None => pools.collect(),
        Some(_) => pools
            .filter(|spec| {
                spec.type_ == OperationType::Delete || waits_for_its_turn(snapshot, spec)
            })
            .collect(),
    };
    let mut needs: Vec<OperationSpec> = cluster.into_iter().chain(pools).collect();
    if needs
        .iter()
        .all(|spec| spec.target.kind != TargetKind::ManagedCluster)
    {
        needs.extend(taken_back(snapshot));
    }
    needs.retain(|spec| may_be_created(snapshot, lock, spec));
    needs
        .into_iter()
        .map(|spec| Action::CreateOperation(Box::new(from_spec(snapshot, spec))))
        .collect()
}

fn may_be_created(snapshot: &Snapshot, lock: &[OperationInFlight], spec: &OperationSpec) -> bool {
    let is_deletion = spec.type_ == OperationType::Delete;
    let waits_already = snapshot.operations.iter().any(|operation| {
        !phase::of(operation).is_finished()
            && !phase::holds_lock(snapshot, operation)
            && lock::excludes(&operation.spec.target, &spec.target)
            && (!is_deletion || operation.spec == *spec)
    });
    let is_in_flight = snapshot.operations.iter().any(|operation| {
        phase::holds_lock(snapshot, operation) && operation.spec == *spec && is_deletion
    });
    // As it will be: what an Operation is being written into the spec for is no change of somebody else's.
    let in_the_way = lock::conflict(snapshot.lock(), &spec.target).map(|held| {
        let next = lock.iter().find(|next| next.name == held.name);
        next.unwrap_or(held)
    });
    let in_the_way = in_the_way.or_else(|| lock::conflict(lock, &spec.target));
    !waits_already
        && !is_in_flight
        && in_the_way.is_none_or(|held| {
            is_deletion
                || (snapshot.cluster.spec.concurrency_policy != ConcurrencyPolicy::Forbid
                    && is_new_change(snapshot, held, spec))
        })
}

fn waits_for_its_turn(snapshot: &Snapshot, spec: &OperationSpec) -> bool {
    snapshot.cluster.spec.concurrency_policy != ConcurrencyPolicy::Forbid
        && lock::conflict(snapshot.lock(), &spec.target).is_some()
}

/// Whether a need is of a change that was made since the operation in flight began, rather than what that
/// operation is about to bring.
fn is_new_change(snapshot: &Snapshot, held: &OperationInFlight, spec: &OperationSpec) -> bool {
    let generation = phase::target_generation(snapshot, &spec.target);
    match spec.target.kind {
        TargetKind::ManagedCluster if held.target == spec.target => {
            let in_flight = snapshot.operation(&held.name);
            held.target_generation != generation
                && in_flight.is_some_and(|in_flight| in_flight.spec != *spec)
        }
        TargetKind::ManagedCluster => {
            let status = snapshot.cluster.status.as_ref();
            let last = status.and_then(|status| status.last_operation.as_ref());
            was_changed(last, generation)
        }
        TargetKind::AgentPool if held.target == spec.target => held.target_generation != generation,
        TargetKind::AgentPool => {
            let pool = snapshot.pool(&spec.target.name);
            let status = pool.and_then(|pool| pool.status.as_ref());
            was_changed(
                status.and_then(|status| status.last_operation.as_ref()),
                generation,
            )
        }
    }
}

fn was_changed(last: Option<&LastOperation>, generation: i64) -> bool {
    last.is_none_or(|last| last.target_generation != generation)
}

/// A change of the cluster that takes back what the operation in flight is about to bring, where nothing
/// of it is there yet: its target is to be brought to its spec again.
fn taken_back(snapshot: &Snapshot) -> Option<OperationSpec> {
    let spec = &snapshot.cluster.spec;
    let held = snapshot
        .lock()
        .iter()
        .find(|held| held.target.kind == TargetKind::ManagedCluster)?;
    let in_flight = snapshot.operation(&held.name)?;
    let is_other = match in_flight.spec.type_ {
        OperationType::Stop => spec.power_state != PowerState::Stopped,
        OperationType::Start => spec.power_state != PowerState::Running,
        OperationType::Upgrade | OperationType::Rollback => {
            in_flight.spec.kubernetes_version.as_ref() != Some(&spec.kubernetes_version)
        }
        _ => false,
    };
    let is_new = held.target_generation != snapshot.cluster.metadata.generation.unwrap_or_default()
        && hold::cluster_hold(snapshot).is_none()
        && snapshot.cluster.metadata.deletion_timestamp.is_none();
    (is_other && is_new).then(|| OperationSpec {
        type_: OperationType::Reconcile,
        target: held.target.clone(),
        kubernetes_version: None,
        count: None,
    })
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
    let generation = phase::target_generation(snapshot, target).to_string();
    let type_ = format!("{:?}", spec.type_).to_lowercase();
    // The version may be the control plane's, which changes while the generation doesn't.
    let version = spec.kubernetes_version.as_deref().unwrap_or_default();
    let parts = [
        uid.as_deref().unwrap_or_default(),
        &generation,
        &type_,
        version,
        last.map_or("", |last| &last.name),
    ];
    let name = names::suffixed(&format!("{}-{type_}", target.name), &parts);
    let mut labels = BTreeMap::new();
    labels.insert(
        CLUSTER_LABEL.to_owned(),
        cluster.metadata.name.clone().unwrap_or_default(),
    );
    labels.insert(FOR_GENERATION_LABEL.to_owned(), generation);
    if target.kind == TargetKind::AgentPool {
        labels.insert(AGENT_POOL_LABEL.to_owned(), target.name.clone());
    }
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: cluster.metadata.namespace.clone(),
        labels: Some(labels),
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
