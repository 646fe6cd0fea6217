//! Patches that more than one writer makes. Each carries the resourceVersion that it was decided on.

use json_patch::{AddOperation, Patch as Changes, PatchOperation, jsonptr::PointerBuf};
use kube::{Resource, ResourceExt as _, api::Patch};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::FINALIZER;

/// Replaces a status, all of which is Belay's. A server-side apply would cost the API server more.
pub fn status(version: Option<&str>, status: &impl Serialize) -> Patch<()> {
    let replace =
        |path: PointerBuf, value: Value| PatchOperation::Add(AddOperation { path, value });
    let version_path = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
    Patch::Json(Changes(vec![
        replace(version_path, json!(version)),
        replace(PointerBuf::from_tokens(["status"]), json!(status)),
    ]))
}

/// Returns the finalizers of an object that aren't Belay's.
pub fn finalizers_of_others(object: &impl Resource) -> Vec<String> {
    let finalizers = object.finalizers().iter();
    finalizers
        .filter(|name| *name != FINALIZER)
        .cloned()
        .collect()
}

/// Removes Belay's finalizer.
pub fn release(object: &impl Resource) -> Patch<Value> {
    let kept = finalizers_of_others(object);
    Patch::Merge(
        json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": kept}}),
    )
}
