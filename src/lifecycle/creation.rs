//! The Operations that Belay creates: for what specs need, and again for what couldn't be replaced.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::{
    AGENT_POOL_LABEL, CLUSTER_LABEL, FINALIZER, FOR_GENERATION_LABEL, ManagedCluster, Operation,
    OperationSpec, OperationTarget, TargetKind,
};

use super::{
    action::Action,
    facts::Facts,
    gate,
    ledger::{self, Ledger},
    names,
    transition::Transition,
};

/// Creates the Operations that the specs need. In a namespace that is being deleted nothing can be created.
pub fn needed(facts: &Facts<'_>, ledger: &Ledger) -> Vec<Action> {
    if facts.snapshot.namespace_is_terminating {
        return Vec::new();
    }
    // What an operation that ends now left undone is held back from the next look on.
    let ends = |target: &OperationTarget| ledger.ended_on(target).is_some();
    let is_ending = |spec: &OperationSpec| ends(&spec.target) || ends(&facts.cluster.key);
    gate::admitted_operations(facts, &ledger.lock)
        .into_iter()
        .filter(|spec| !is_ending(spec))
        .map(|spec| Action::CreateOperation(Box::new(from_spec(facts, spec))))
        .collect()
}

/// Creates again what a newer Operation replaced that then couldn't be done.
pub fn asked_again(facts: &Facts<'_>, transitions: &[Transition<'_, '_>]) -> Vec<Action> {
    ledger::asked_again(facts, transitions)
        .into_iter()
        .map(|operation| Action::CreateOperation(Box::new(operation)))
        .collect()
}

/// The Operation for what a spec needs. Its name follows from what it is for: made again after a crash, it
/// is the same, so that a second creation meets `AlreadyExists`. Once an Operation on the target has ended,
/// the next one has another name.
fn from_spec(facts: &Facts<'_>, spec: OperationSpec) -> Operation {
    let cluster = &facts.snapshot.cluster;
    let target = facts.target(&spec.target);
    let uid = target.map_or("", |target| target.uid);
    let generation = target.map_or(0, |target| target.generation).to_string();
    let type_ = format!("{:?}", spec.type_).to_lowercase();
    // The version may be the control plane's, which changes while the generation doesn't.
    let version = spec.kubernetes_version.as_deref().unwrap_or_default();
    let last = target.and_then(|target| target.last);
    let mut ended = facts.operations.iter().rev().filter(|operation| {
        operation.phase().is_finished() && operation.spec.target == spec.target
    });
    let parts = [
        uid,
        &generation,
        &type_,
        version,
        last.map_or("", |last| &last.uid),
        ended.next().map_or("", |operation| operation.uid),
    ];
    let name = names::suffixed(&format!("{}-{type_}", spec.target.name), &parts);
    let mut labels = BTreeMap::new();
    labels.insert(
        CLUSTER_LABEL.to_owned(),
        cluster.metadata.name.clone().unwrap_or_default(),
    );
    labels.insert(FOR_GENERATION_LABEL.to_owned(), generation);
    if spec.target.kind == TargetKind::AgentPool {
        labels.insert(AGENT_POOL_LABEL.to_owned(), spec.target.name.clone());
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
