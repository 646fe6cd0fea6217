//! A plan in the form of its JSON and YAML output.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use crate::{
    api::{Operation, OperationPhase, OperationTarget, OperationType, StepAction},
    cli::cluster::{manifests::Manifest, view},
    lifecycle::{
        Preflight, excludes,
        forecast::{Foreseen, Part},
    },
};

use super::{
    dry_run::{Effect, Ours, Tried},
    outlook::Outlook,
};

/// The whole plan.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Belay's objects.
    pub objects: Vec<Object>,
    /// The clusters that change.
    pub clusters: Vec<Cluster>,
    /// The objects that aren't Belay's, such as `Deployment web`.
    pub ignored: Vec<String>,
}

/// One of Belay's objects in the manifests.
#[derive(Clone, Debug, Serialize)]
pub struct Object {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where the object was read: `pools.yaml, document 2`.
    pub place: String,
    /// What the apply does to it. None if it is refused.
    pub effect: Option<Effect>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The cluster that it is or belongs to, if that is known.
    #[serde(skip)]
    pub cluster: Option<String>,
}

/// A cluster that changes.
#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The operations, in the order in which they begin.
    pub operations: Vec<Planned>,
    /// Other facts that people should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What will be in the way of the operations that would begin.
    pub preflight: Preflight,
}

/// An operation that would begin, or one that exists already.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// Its place in the order. Operations with the same number run concurrently. 0 if the operation is in flight; none
    /// if it never begins.
    pub order: Option<usize>,
    /// When the maintenance window opens that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Timestamp>,
    /// The name, if the operation exists already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the operation does.
    #[serde(rename = "type")]
    pub type_: OperationType,
    /// Its target.
    pub target: OperationTarget,
    /// The version that it changes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes_version: Option<String>,
    /// The number of nodes that it changes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
    /// The existing operations that it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The changes that it makes, in order.
    pub changes: Vec<Change>,
    /// Why it is canceled before it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canceled: Option<String>,
    /// The operation in words: `Upgrade of ManagedCluster demo to 1.36.3`.
    #[serde(skip)]
    pub words: String,
}

/// A change of the control plane, or of the nodes of a pool.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The pool. None for the control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What is done.
    pub action: StepAction,
    /// The number of nodes that it is done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// The old and the new state.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Report {
    /// Creates a report from the dry runs and the outlooks.
    pub fn new(tried: &[Tried], outlooks: &[Outlook], others: &[Manifest]) -> Self {
        let name = |other: &Manifest| format!("{} {}", other.kind(), other.name());
        Self {
            objects: tried.iter().map(|one| object(one, outlooks)).collect(),
            clusters: outlooks.iter().map(cluster).collect(),
            ignored: others.iter().map(name).collect(),
        }
    }

    /// Whether something would be refused.
    pub fn is_refused(&self) -> bool {
        self.objects.iter().any(|object| object.refused.is_some())
    }

    /// Returns the operations that would be created and come to their end.
    pub fn new_operations(&self) -> impl Iterator<Item = &Planned> {
        let operations = self.clusters.iter().flat_map(|it| &it.operations);
        operations.filter(|it| it.name.is_none() && it.canceled.is_none())
    }

    /// Returns the number of nodes for each kind of change that the new operations would make.
    pub fn nodes(&self) -> BTreeMap<&'static str, usize> {
        let mut nodes = BTreeMap::new();
        let changes = self.new_operations().flat_map(|planned| &planned.changes);
        for change in changes {
            *nodes.entry(done(change.action)).or_default() += change.nodes.unwrap_or_default();
        }
        nodes.retain(|_, count| *count > 0);
        nodes
    }
}

fn done(action: StepAction) -> &'static str {
    match action {
        StepAction::Create | StepAction::Start => "made",
        StepAction::Replace | StepAction::Upgrade => "replaced",
        StepAction::Update => "updated",
        StepAction::Delete | StepAction::Stop => "deleted",
    }
}

fn object(tried: &Tried, outlooks: &[Outlook]) -> Object {
    let (effect, refused, cluster) = match &tried.result {
        Err(refused) => (None, Some(refused.clone()), None),
        Ok((effect, ours)) => match refused_by_belay(ours, outlooks) {
            None => (Some(*effect), None, cluster_of(ours, outlooks)),
            refused => (None, refused, None),
        },
    };
    Object {
        kind: tried.manifest.kind().to_owned(),
        namespace: tried.namespace.clone(),
        name: tried.manifest.name().to_owned(),
        place: tried.manifest.place.clone(),
        effect,
        refused,
        cluster,
    }
}

fn cluster_of(ours: &Ours, outlooks: &[Outlook]) -> Option<String> {
    match ours {
        Ours::Cluster(cluster) => Some(cluster.name_any()),
        Ours::Pool(pool) => Some(pool.spec.cluster_name.clone()),
        Ours::Operation(operation) => {
            let has_it = |outlook: &&Outlook| find(outlook, operation).is_some();
            outlooks.iter().find(has_it).map(|it| it.cluster.clone())
        }
    }
}

fn find<'a>(outlook: &'a Outlook, operation: &Operation) -> Option<&'a Foreseen> {
    let uid = &operation.metadata.uid;
    let mut operations = outlook.operations.iter();
    operations.find(|foreseen| foreseen.operation.metadata.uid == *uid)
}

/// Returns the operator's refusal of an Operation that can't be done and that admission accepted.
fn refused_by_belay(ours: &Ours, outlooks: &[Outlook]) -> Option<String> {
    let Ours::Operation(operation) = ours else {
        return None;
    };
    let foreseen = outlooks.iter().find_map(|it| find(it, operation))?;
    let status = view::status(&foreseen.operation);
    let error = status.error.filter(|_| foreseen.turn.is_none())?;
    Some(format!("({}) {}", error.code, error.message))
}

fn cluster(outlook: &Outlook) -> Cluster {
    let is_shown = |foreseen: &&Foreseen| {
        let status = view::status(&foreseen.operation);
        foreseen.turn.is_some() || status.phase != OperationPhase::Failed
    };
    let shown = outlook.operations.iter().filter(is_shown);
    Cluster {
        namespace: outlook.namespace.clone(),
        name: outlook.cluster.clone(),
        operations: shown.map(|it| planned(it, &outlook.operations)).collect(),
        notes: outlook.notes.clone(),
        preflight: outlook.preflight.clone(),
    }
}

fn planned(foreseen: &Foreseen, all: &[Foreseen]) -> Planned {
    let operation = &foreseen.operation;
    let spec = &operation.spec;
    let status = view::status(operation);
    let is_before = |other: &&Foreseen| {
        let waits = other.turn < foreseen.turn && foreseen.turn.is_some();
        waits && !other.is_new && excludes(&other.operation.spec.target, &spec.target)
    };
    let before = all.iter().filter(is_before);
    let canceled = (status.phase == OperationPhase::Canceled)
        .then(|| status.cancellation.map(|it| it.reason).unwrap_or_default());
    Planned {
        order: foreseen.turn,
        window: foreseen.window,
        name: (!foreseen.is_new).then(|| operation.name_any()),
        type_: spec.type_,
        target: spec.target.clone(),
        kubernetes_version: spec.kubernetes_version.clone(),
        count: spec.count,
        after: before.map(|it| it.operation.name_any()).collect(),
        changes: foreseen.parts.iter().flat_map(changes).collect(),
        canceled,
        words: view::what_it_does(operation),
    }
}

/// Returns the changes in one part, one for each action.
fn changes(part: &Part) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for step in &part.steps {
        let known = changes.iter_mut().find(|it| it.action == step.action);
        if let Some(nodes) = known.and_then(|it| it.nodes.as_mut()) {
            *nodes += 1;
            continue;
        }
        changes.push(Change {
            pool: part.pool.clone(),
            action: step.action,
            nodes: part.pool.is_some().then_some(1),
            message: step.message.clone(),
        });
    }
    changes
}
