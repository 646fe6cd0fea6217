//! Who asks for an operation's abort, and how it is to stop.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{
    ABORT_ANNOTATION, ABORT_POLICY_AFTER_STEP, ABORT_POLICY_ANNOTATION, Operation, OperationType,
    TargetKind,
};

use super::{Snapshot, Stop};

/// How the step in process is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortPolicy {
    /// It stops where it stands.
    Now,
    /// It is finished.
    AfterStep,
}

impl From<AbortPolicy> for Stop {
    fn from(policy: AbortPolicy) -> Self {
        match policy {
            AbortPolicy::Now => Self::Now,
            AbortPolicy::AfterStep => Self::AfterStep,
        }
    }
}

/// A request to abort an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortRequest {
    /// Why.
    pub reason: String,
    /// How.
    pub policy: AbortPolicy,
    /// When it was asked for, where the object tells.
    pub requested_at: Option<Timestamp>,
}

/// The request that an operation stands under, if there is one: its annotation, its own deletion, or
/// the deletion of what it is on, for once deletion began only deletion is allowed.
pub(super) fn request(snapshot: &Snapshot, operation: &Operation) -> Option<AbortRequest> {
    by_annotation(operation).or_else(|| by_deletion(snapshot, operation))
}

fn by_annotation(operation: &Operation) -> Option<AbortRequest> {
    let annotations = operation.metadata.annotations.as_ref()?;
    let reason = annotations.get(ABORT_ANNOTATION)?.clone();
    let policy = match annotations.get(ABORT_POLICY_ANNOTATION).map(String::as_str) {
        Some(ABORT_POLICY_AFTER_STEP) => AbortPolicy::AfterStep,
        _ => AbortPolicy::Now,
    };
    Some(AbortRequest {
        reason,
        policy,
        requested_at: annotated_at(&operation.metadata),
    })
}

/// When the annotation was set, as the API server noted it with its field manager.
fn annotated_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    let field = format!("f:{ABORT_ANNOTATION}");
    let managers = metadata.managed_fields.as_ref()?;
    managers
        .iter()
        .find(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|fields| !fields.0["f:metadata"]["f:annotations"][&field].is_null())
        })
        .and_then(|entry| entry.time.as_ref())
        .map(|time| time.0)
}

fn by_deletion(snapshot: &Snapshot, operation: &Operation) -> Option<AbortRequest> {
    let now = |reason: String| AbortRequest {
        reason,
        policy: AbortPolicy::Now,
        requested_at: None,
    };
    if operation.metadata.deletion_timestamp.is_some() && !is_deletion(snapshot, operation) {
        return Some(now("the Operation was deleted".into()));
    }
    let target = &operation.spec.target;
    let cluster = &snapshot.cluster.metadata;
    let cluster_goes = cluster.deletion_timestamp.is_some();
    let name = match target.kind {
        TargetKind::AgentPool if cluster_goes => cluster.name.clone().unwrap_or_default(),
        TargetKind::ManagedCluster if cluster_goes && !is_deletion(snapshot, operation) => {
            target.name.clone()
        }
        TargetKind::AgentPool
            if pool_goes(snapshot, operation) && !is_deletion(snapshot, operation) =>
        {
            target.name.clone()
        }
        _ => return None,
    };
    Some(now(format!("deletion was issued on '{name}'")))
}

fn pool_goes(snapshot: &Snapshot, operation: &Operation) -> bool {
    deletion_of_target(snapshot, operation).is_some()
}

/// Whether the operation deletes its target: a Delete, or a Reconcile that was asked for after the
/// target's deletion was issued.
pub(super) fn is_deletion(snapshot: &Snapshot, operation: &Operation) -> bool {
    match operation.spec.type_ {
        OperationType::Delete => true,
        OperationType::Reconcile => deletion_of_target(snapshot, operation).is_some_and(|since| {
            let asked = operation.metadata.creation_timestamp.as_ref();
            asked.is_some_and(|asked| asked.0 >= since)
        }),
        _ => false,
    }
}

/// Since when the operation's target is being deleted.
pub(super) fn deletion_of_target(snapshot: &Snapshot, operation: &Operation) -> Option<Timestamp> {
    let target = &operation.spec.target;
    let metadata = match target.kind {
        TargetKind::ManagedCluster => &snapshot.cluster.metadata,
        TargetKind::AgentPool => &snapshot.pool(&target.name)?.metadata,
    };
    metadata.deletion_timestamp.as_ref().map(|time| time.0)
}
