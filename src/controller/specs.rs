//! Writes what a person's Operation asks for into its target's spec. It uses server-side apply under its own field
//! manager. If another manager (GitOps) will apply a field again, this reports the conflict and doesn't fight over the
//! field.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{NamespaceResourceScope, Status},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tracing::Span;

use crate::{
    api::{AgentPool, ManagedCluster, Operation, OperationError, TargetKind},
    lifecycle::{
        Snapshot, SpecChange,
        messages::{FORBIDDEN, INVALID_PARAMETER},
    },
    machinery::SPEC_MANAGER,
    telemetry::log,
};

use super::ReconcileError;

/// The API server's name for a client that gives no name.
const NAMELESS: &str = "unknown";

/// The refusals, by the Operation's uid.
#[derive(Default)]
pub struct Specs(Mutex<HashMap<String, OperationError>>);

impl Specs {
    /// Returns the refusals of these Operations. Forgets the refusals of finished Operations.
    pub fn refused<'a>(
        &self,
        operations: impl Iterator<Item = &'a Operation>,
    ) -> BTreeMap<String, OperationError> {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeMap::new();
        for operation in operations {
            let Some(uid) = operation.uid() else { continue };
            let status = operation.status.as_ref();
            if status.is_some_and(|status| status.phase.is_finished()) {
                refused.remove(&uid);
            } else if let Some(error) = refused.get(&uid) {
                found.insert(uid, error.clone());
            }
        }
        found
    }

    /// Makes the change, or notes why it was refused.
    ///
    /// # Errors
    /// [`ReconcileError::Refused`] if it was refused. Then Belay has to decide again.
    pub async fn change(
        &self,
        client: &Client,
        snapshot: &Snapshot,
        uid: &str,
        change: &SpecChange,
    ) -> Result<(), ReconcileError> {
        let name = &change.target.name;
        let (metadata, made) = match change.target.kind {
            TargetKind::ManagedCluster => {
                let (metadata, spec) = (&snapshot.cluster.metadata, json!(snapshot.cluster.spec));
                let made = write::<ManagedCluster>(client, metadata, &spec, change).await;
                (metadata, made)
            }
            TargetKind::AgentPool => {
                let Some(pool) = snapshot.pool(name) else {
                    return Ok(());
                };
                let (metadata, spec) = (&pool.metadata, json!(pool.spec));
                let made = write::<AgentPool>(client, metadata, &spec, change).await;
                (metadata, made)
            }
        };
        let status = match made {
            Ok(()) => return Ok(()),
            Err(kube::Error::Api(status)) if is_final(&status) => status,
            Err(error) => return Err(error.into()),
        };
        let error = error(metadata, change, &status);
        span(snapshot, uid).in_scope(|| {
            tracing::info!(
                target_name = name,
                code = error.code,
                error = error.message,
                "the change of the spec was refused"
            );
        });
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(uid.to_owned(), error);
        Err(ReconcileError::Refused)
    }
}

fn span(snapshot: &Snapshot, uid: &str) -> Span {
    let name = snapshot
        .operation_of_uid(uid)
        .map(kube::ResourceExt::name_any);
    let cluster = &snapshot.cluster;
    log::operation(
        &name.unwrap_or_default(),
        &cluster.namespace().unwrap_or_default(),
        &cluster.name_any(),
    )
}

async fn write<K>(
    client: &Client,
    metadata: &ObjectMeta,
    current: &Value,
    change: &SpecChange,
) -> kube::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let name = &change.target.name;
    let Some(spec) = &change.spec else {
        let this = Preconditions {
            uid: metadata.uid.clone(),
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(this),
            ..DeleteParams::default()
        };
        return api.delete(name, &params).await.map(|_| ());
    };
    let object = Patch::Apply(json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "resourceVersion": metadata.resource_version},
        "spec": with_what_was_applied(metadata, current, spec),
    }));
    let params = PatchParams::apply(SPEC_MANAGER);
    match api.patch(name, &params, &object).await {
        Err(kube::Error::Api(status)) if is_conflict_with_people(metadata, &status) => {
            let params = params.force();
            api.patch(name, &params, &object).await.map(|_| ())
        }
        result => result.map(|_| ()),
    }
}

/// Returns the fields to change, with the fields that earlier Operations applied. Otherwise the API server would remove
/// a field that this manager applies no longer.
fn with_what_was_applied(metadata: &ObjectMeta, current: &Value, change: &Value) -> Value {
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let applied = entries
        .iter()
        .filter(|entry| applies(entry, SPEC_MANAGER))
        .filter_map(|entry| entry.fields_v1.as_ref()?.0["f:spec"].as_object())
        .flat_map(|fields| fields.keys())
        .filter_map(|field| field.strip_prefix("f:"))
        .map(|field| (field.to_owned(), current[field].clone()));
    let mut spec: Map<String, Value> = applied.collect();
    spec.extend(change.as_object().cloned().unwrap_or_default());
    Value::Object(spec)
}

fn applies(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
}

/// Whether another attempt wouldn't help.
fn is_final(status: &Status) -> bool {
    match status.code {
        400 | 403 | 422 => true,
        409 => !managers_in_the_way(status).is_empty(),
        _ => false,
    }
}

/// Returns the managers that own the fields that were to be applied.
fn managers_in_the_way(status: &Status) -> Vec<&str> {
    let causes = status
        .details
        .as_ref()
        .map_or(&[][..], |details| &details.causes);
    causes
        .iter()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .filter_map(|cause| cause.message.split('"').nth(1))
        .collect()
}

/// Whether only people own these fields, and wrote them by hand.
fn is_conflict_with_people(metadata: &ObjectMeta, status: &Status) -> bool {
    let managers = managers_in_the_way(status);
    !managers.is_empty() && managers.iter().all(|manager| is_by_hand(metadata, manager))
}

/// Whether a manager is a person with kubectl, or with a simple client that has no name. A manager that applies, or any
/// other manager, will write again.
fn is_by_hand(metadata: &ObjectMeta, manager: &str) -> bool {
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let is_plain = manager.starts_with("kubectl") || manager == NAMELESS;
    is_plain && !entries.iter().any(|entry| applies(entry, manager))
}

/// Returns the code and the message of a policy's refusal, without the text that the API server adds around it.
fn policy_message(status: &Status) -> Option<(&str, &str)> {
    let (_, words) = status.message.split_once(" denied request: (")?;
    words.split_once(") ")
}

fn error(metadata: &ObjectMeta, change: &SpecChange, status: &Status) -> OperationError {
    let target = &change.target;
    let mut managers = managers_in_the_way(status);
    managers.retain(|manager| !is_by_hand(metadata, manager));
    let (code, message) = if managers.is_empty() {
        let (code, message) = policy_message(status).unwrap_or(match status.code {
            403 => (FORBIDDEN, &status.message),
            _ => (INVALID_PARAMETER, &status.message),
        });
        (code, message.to_owned())
    } else {
        let fields = change.spec.as_ref().and_then(|spec| spec.as_object());
        let fields: Vec<_> = fields.into_iter().flat_map(|spec| spec.keys()).collect();
        let fields = fields.into_iter().map(|field| format!("spec.{field}"));
        let message = format!(
            "{} of {:?} {} is managed by {}: change it there (for example, in Git), and Belay creates the Operation",
            fields.collect::<Vec<_>>().join(", "),
            target.kind,
            target.name,
            managers.join(", ")
        );
        ("Conflict", message)
    };
    OperationError {
        code: code.into(),
        message,
        subcode: status.reason.clone(),
        details: Vec::new(),
    }
}
