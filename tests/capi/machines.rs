//! Machines and other objects of Cluster API, and the conditions that they report.

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

/// Returns the API of one of Cluster API's kinds in a namespace.
pub fn api(client: Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind);
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

/// Whether a Machine is Ready.
pub fn is_ready(machine: &DynamicObject) -> bool {
    has(machine, "Ready", "True")
}

/// Whether an object has a condition with this status.
pub fn has(object: &DynamicObject, type_: &str, status: &str) -> bool {
    condition(object, type_).is_some_and(|condition| condition["status"] == status)
}

/// Whether a Machine has lost its infrastructure object. On a busy computer, Cluster API sometimes loses the
/// development provider's object of a new Machine, and waits for it forever.
pub fn has_lost_its_infrastructure(machine: &DynamicObject) -> bool {
    let infrastructure = condition(machine, "InfrastructureReady");
    machine.metadata.deletion_timestamp.is_none()
        && infrastructure.is_some_and(|condition| condition["reason"] == "ObjectDoesNotExist")
}

fn condition<'a>(object: &'a DynamicObject, type_: &str) -> Option<&'a Value> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == type_)
}
