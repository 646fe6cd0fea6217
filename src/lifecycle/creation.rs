//! The Operations that Belay creates: those that specs need, and again those whose replacement couldn't be done.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::{
    AGENT_POOL_LABEL, BEGUN_BY_ANNOTATION, CLUSTER_LABEL, ENGINE_HANDLE_ANNOTATION, FINALIZER,
    FOR_GENERATION_LABEL, ManagedCluster, NO_GENERATION, Operation, OperationSpec, OperationTarget,
    StepPhase, TargetKind,
};

use super::{
    action::Action,
    facts::{self, Facts},
    gate,
    ledger::{self, Ledger},
    names,
    observed::BegunByOthers,
    step_names::step_of,
    text::bounded,
    transition::Transition,
};

/// Creates the Operations that the specs need. Nothing can be created in a namespace that is being deleted.
pub fn needed(facts: &Facts<'_>, ledger: &Ledger) -> Vec<Action> {
    if facts.snapshot.namespace_is_terminating {
        return Vec::new();
    }
    // If an operation ends now, its hold exists only from the next pass on. Until then, create nothing for its
    // target.
    let ends = |target: &OperationTarget| ledger.ended_on(target).is_some();
    let is_ending = |spec: &OperationSpec| ends(&spec.target) || ends(&facts.cluster.key);
    // First follow what others change now: Belay must not undo it.
    let is_changed_by_others = |spec: &OperationSpec| {
        unknown_of_others(facts).any(|begun| gate::excludes(&begun.spec.target, &spec.target))
    };
    gate::admitted_operations(facts, &ledger.lock)
        .into_iter()
        .filter(|spec| !is_ending(spec) && !is_changed_by_others(spec))
        .map(|spec| Action::CreateOperation(Box::new(from_spec(facts, spec))))
        .collect()
}

/// Creates the Operations that follow what others began at the engine. Belay recognizes its own work there by the
/// handle. While the handle isn't known, an Operation without a handle that runs on the same target counts as the
/// match.
pub fn following(facts: &Facts<'_>) -> Vec<Action> {
    if facts.snapshot.namespace_is_terminating {
        return Vec::new();
    }
    unknown_of_others(facts)
        .map(|begun| Action::CreateOperation(Box::new(follower(facts, begun))))
        .collect()
}

/// Returns what others began and no Operation follows yet.
fn unknown_of_others<'f>(facts: &'f Facts<'_>) -> impl Iterator<Item = &'f BegunByOthers> {
    let is_known = |begun: &BegunByOthers| {
        let mut operations = facts.operations.iter();
        operations.any(|operation| is_or_may_be(facts, operation, begun))
    };
    let begun = facts.snapshot.observed.begun_by_others.iter();
    begun.filter(move |begun| !is_known(begun) && facts.target(&begun.spec.target).is_some())
}

/// Whether an Operation is about what was begun at the engine, or may be: it works there, and its handle isn't known
/// yet.
fn is_or_may_be(
    facts: &Facts<'_>,
    operation: &facts::Operation<'_>,
    begun: &BegunByOthers,
) -> bool {
    let steps = &operation.status.steps;
    let mut handles = steps.iter().filter_map(|step| step.handle.as_ref());
    let is_at_work = operation.holds_lock && !operation.phase().is_finished();
    let is_at_work_there = is_at_work && operation.spec.target == begun.spec.target;
    let name = step_of(&begun.spec.target);
    let mut in_process = steps
        .iter()
        .filter(|step| step.name == name && step.phase == StepPhase::InProgress);
    let rules = facts.snapshot.rules;
    operation.begun_by_others() == Some(&begun.handle)
        || (is_at_work_there && steps.iter().all(|step| step.handle.is_none()))
        || handles.any(|handle| *handle == begun.handle)
        || (is_at_work
            && in_process.any(|step| rules.may_be_same_work(step.handle.as_deref(), &begun.handle)))
}

/// Returns an Operation that follows what others began.
fn follower(facts: &Facts<'_>, begun: &BegunByOthers) -> Operation {
    let target = facts.target(&begun.spec.target);
    let uid = target.map_or("", |target| target.uid);
    let mut operation = operation(facts, begun.spec.clone(), &[uid, &begun.handle]);
    operation.metadata.annotations = Some(BTreeMap::from([
        (ENGINE_HANDLE_ANNOTATION.to_owned(), begun.handle.clone()),
        (BEGUN_BY_ANNOTATION.to_owned(), bounded(&begun.by)),
    ]));
    let labels = operation.metadata.labels.get_or_insert_default();
    labels.insert(FOR_GENERATION_LABEL.to_owned(), NO_GENERATION.to_owned());
    operation
}

/// Creates again each Operation whose newer replacement then couldn't be done.
pub fn asked_again(facts: &Facts<'_>, transitions: &[Transition<'_, '_>]) -> Vec<Action> {
    ledger::asked_again(facts, transitions)
        .into_iter()
        .map(|operation| Action::CreateOperation(Box::new(operation)))
        .collect()
}

/// Returns the Operation for what a spec needs. Its name is a hash of its purpose: after a crash Belay makes the same
/// name, so a second creation gets `AlreadyExists`. Once an Operation on the target has ended, the next one has
/// another name.
fn from_spec(facts: &Facts<'_>, spec: OperationSpec) -> Operation {
    let target = facts.target(&spec.target);
    let uid = target.map_or("", |target| target.uid);
    let generation = target.map_or(0, |target| target.generation).to_string();
    let type_ = format!("{:?}", spec.type_).to_lowercase();
    // The version may be the control plane's, which changes while the generation doesn't.
    let version = spec.kubernetes_version.clone().unwrap_or_default();
    let last = target.and_then(|target| target.last);
    let on = spec.target.clone();
    let mut ended = facts
        .operations
        .iter()
        .rev()
        .filter(|operation| operation.phase().is_finished() && operation.spec.target == on);
    let parts = [
        uid,
        &generation,
        &type_,
        &version,
        last.map_or("", |last| &last.uid),
        ended.next().map_or("", |operation| operation.uid),
    ];
    let mut made = operation(facts, spec, &parts);
    let labels = made.metadata.labels.get_or_insert_default();
    labels.insert(FOR_GENERATION_LABEL.to_owned(), generation.clone());
    made
}

/// Returns an Operation that Belay creates, with a name made from `parts`.
fn operation(facts: &Facts<'_>, spec: OperationSpec, parts: &[&str]) -> Operation {
    let cluster = &facts.snapshot.cluster;
    let type_ = format!("{:?}", spec.type_).to_lowercase();
    let mut labels = BTreeMap::new();
    labels.insert(
        CLUSTER_LABEL.to_owned(),
        cluster.metadata.name.clone().unwrap_or_default(),
    );
    if spec.target.kind == TargetKind::AgentPool {
        labels.insert(AGENT_POOL_LABEL.to_owned(), spec.target.name.clone());
    }
    let metadata = ObjectMeta {
        name: Some(names::suffixed(
            &format!("{}-{type_}", spec.target.name),
            parts,
        )),
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

/// Returns the cluster as an owner reference. It doesn't block the cluster's deletion: the Delete operation handles
/// that.
fn owner(cluster: &ManagedCluster) -> OwnerReference {
    let owner = cluster.controller_owner_ref(&()).unwrap_or_default();
    OwnerReference {
        block_owner_deletion: None,
        controller: None,
        ..owner
    }
}
