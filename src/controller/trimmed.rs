//! Keeps in memory only what decisions need. There are many finished Operations.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use serde_json::json;

use crate::{
    api::{ABORT_ANNOTATION, AgentPool, Operation, is_kept},
    lifecycle::managed_fields::{applies_spec, writes_annotation},
};

/// The annotation in which `kubectl apply` stores the object that it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Removes the parts of an Operation that no decision needs.
pub fn operation(operation: &mut Operation) {
    if let Some(annotations) = &mut operation.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    // No decision depends on the owner, which is the Operation's cluster.
    operation.metadata.owner_references = None;
    let entries = operation.metadata.managed_fields.take();
    let kept: Vec<_> = entries.into_iter().flatten().filter_map(entry).collect();
    operation.metadata.managed_fields = (!kept.is_empty()).then_some(kept);
    let Some(status) = &mut operation.status else {
        return;
    };
    if status.phase.is_finished() {
        // By the handle, Belay recognizes its own work as long as the engine still shows it.
        status.steps.retain(|step| step.handle.is_some());
        status.steps.shrink_to_fit();
        for step in &mut status.steps {
            step.message.clear();
        }
        // As long as Belay's finalizer is there, the targets may not show the end yet.
        if !is_kept(&operation.metadata) {
            status.plan = None;
        }
        status.asked_before = None;
        status.conditions = Vec::new();
    }
}

/// Reduces a pool of others: removes the metadata that doesn't identify it, its node labels, node taints and status.
pub fn pool_of_others(pool: &mut AgentPool) {
    let metadata = std::mem::take(&mut pool.metadata);
    pool.metadata = ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    };
    pool.spec.node_labels = std::collections::BTreeMap::new();
    pool.spec.node_taints = Vec::new();
    pool.status = None;
}

/// Returns the entry, reduced to the abort annotation and to the fact that somebody applies the spec. None if it has
/// neither.
fn entry(mut entry: ManagedFieldsEntry) -> Option<ManagedFieldsEntry> {
    let mut kept = json!({});
    if writes_annotation(&entry, ABORT_ANNOTATION) {
        let abort = format!("f:{ABORT_ANNOTATION}");
        kept["f:metadata"]["f:annotations"][abort] = json!({});
    }
    if applies_spec(&entry) {
        kept["f:spec"] = json!({});
    }
    if kept == json!({}) {
        return None;
    }
    entry.fields_v1 = Some(FieldsV1(kept));
    Some(entry)
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use serde_json::Value;

    use super::*;
    use crate::api::{FINALIZER, OperationPhase};

    fn made(phase: &str) -> Operation {
        let by = |operation: &str, subresource: Value, fields: Value| json!({"operation": operation, "subresource": subresource, "fieldsV1": fields, "time": "2026-01-01T00:00:00Z"});
        let value = json!({
            "metadata": {"name": "it", "managedFields": [
                by("Apply", Value::Null, json!({"f:spec": {"f:type": {}}})),
                by("Apply", json!("status"), json!({"f:status": {"f:phase": {}}})),
                by("Update", Value::Null, json!({"f:metadata": {"f:annotations": {"f:belay.dev/abort": {}, "f:other": {}}}})),
                by("Update", Value::Null, json!({"f:metadata": {"f:labels": {}}})),
            ]},
            "spec": {"type": "Reconcile", "target": {"kind": "ManagedCluster", "name": "demo"}},
            "status": {
                "phase": phase,
                "plan": "{}",
                "steps": [
                    {"name": "node/a", "action": "Create", "phase": "Succeeded"},
                    {"name": "control-plane", "action": "Upgrade", "phase": "Succeeded", "handle": "update-1"},
                ],
            },
        });
        serde_json::from_value(value).expect("an Operation")
    }

    fn phase(operation: &Operation) -> OperationPhase {
        operation
            .status
            .as_ref()
            .map(|status| status.phase)
            .unwrap_or_default()
    }

    #[test]
    fn the_applier_of_an_operation_and_the_time_of_its_abort_are_kept() {
        let mut made = made("Succeeded");
        operation(&mut made);
        let kept = made.metadata.managed_fields.expect("two entries");
        let fields: Vec<_> = kept
            .iter()
            .map(|entry| entry.fields_v1.clone().expect("fields").0)
            .collect();
        let abort = json!({"f:metadata": {"f:annotations": {"f:belay.dev/abort": {}}}});
        assert_eq!(fields, [json!({"f:spec": {}}), abort]);
        assert!(kept.iter().all(|entry| entry.time.is_some()));
    }

    #[test]
    fn an_ended_operation_keeps_only_steps_with_a_handle() {
        let mut ended = made("Succeeded");
        operation(&mut ended);
        let status = ended.status.expect("a status");
        let names: Vec<_> = status.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!((names, status.plan), (vec!["control-plane"], None));
    }

    /// Memory holds many finished Operations, so each of them must stay small.
    #[test]
    fn of_a_finished_operation_less_than_a_kilobyte_is_kept() {
        let moments = include_str!("../../tests/gitops/testdata/moments.json");
        let moments: Value = serde_json::from_str(moments).expect("JSON");
        let mut objects = vec![moments];
        let mut finished = 0;
        while let Some(object) = objects.pop() {
            if object["kind"] != "Operation" {
                objects.extend(object.as_array().into_iter().flatten().cloned());
                objects.extend(
                    object
                        .as_object()
                        .into_iter()
                        .flat_map(|it| it.values().cloned()),
                );
                continue;
            }
            let mut made: Operation = serde_json::from_value(object).expect("an Operation");
            if phase(&made).is_finished() {
                operation(&mut made);
                let kept = serde_json::to_string(&made).expect("JSON");
                assert!(kept.len() < 1_000, "{} bytes: {kept}", kept.len());
                finished += 1;
            }
        }
        assert!(finished > 0);
    }

    #[test]
    fn an_ended_operation_frees_the_memory_of_removed_parts() {
        let mut ended = made("Succeeded");
        let annotations = ended.annotations_mut();
        annotations.insert(LAST_APPLIED.into(), "{}".into());
        operation(&mut ended);
        assert!(ended.annotations().is_empty());
        let status = ended.status.expect("a status");
        assert_eq!(
            (status.steps.capacity(), status.conditions.capacity()),
            (1, 0)
        );
    }

    #[test]
    fn an_ended_operation_keeps_its_plan_as_long_as_belays_finalizer() {
        let mut ended = made("Succeeded");
        ended.metadata.finalizers = Some(vec![FINALIZER.into()]);
        operation(&mut ended);
        assert_eq!(ended.status.expect("a status").plan.as_deref(), Some("{}"));
    }

    #[test]
    fn a_running_operation_keeps_its_status() {
        let mut running = made("InProgress");
        let before = running.status.clone();
        operation(&mut running);
        assert_eq!(running.status, before);
    }
}
