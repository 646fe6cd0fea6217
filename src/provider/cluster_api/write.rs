//! How an object is written: only what was changed of it. Cluster API's controllers write the same objects several
//! times a second. Belay's write doesn't overwrite theirs, and theirs don't make Belay's fail.

use json_patch::{Patch as Changes, PatchOperation, TestOperation, jsonptr::PointerBuf};
use kube::{
    Client, ResourceExt as _,
    api::Patch,
    core::{DynamicObject, Status},
};
use serde_json::{Value, json};

use crate::{
    machinery::patch_params,
    provider::{
        engine::{EngineError, Site},
        requests::{Failure, Passing},
    },
};

use super::{answers::failed, kinds::Kind};

/// Writes what was changed of an object since it was read. It is refused as a conflict if somebody has changed the spec
/// since, or the annotations that are written.
pub async fn write(
    client: &Client,
    site: &Site,
    kind: Kind,
    read: &DynamicObject,
    changed: &DynamicObject,
) -> Result<(), EngineError> {
    let changes = changes(&json!(read), &json!(changed));
    if changes.is_empty() {
        return Ok(());
    }
    let api = kind.api(client, &site.namespace);
    let patch = Patch::<()>::Json(changes);
    let written = api.patch(&read.name_any(), &patch_params(), &patch).await;
    written.map_err(|error| match &error {
        kube::Error::Api(status) if is_outdated(status) => {
            let message = format!("{} was changed after Belay read it", read.name_any());
            Failure::Passing(Passing::new("Conflict", message))
        }
        error => failed(error),
    })?;
    Ok(())
}

/// Returns the changes, after tests that the object is still as it was read. A generation counts the changes of a spec,
/// not those of metadata.
fn changes(read: &Value, changed: &Value) -> Changes {
    let changes = json_patch::diff(read, changed);
    if changes.is_empty() {
        return changes;
    }
    let identity = ["uid", "generation"].map(|field| PointerBuf::from_tokens(["metadata", field]));
    let in_metadata = changes
        .iter()
        .map(|change| change.path().to_owned())
        .filter(|path| {
            path.first()
                .is_some_and(|first| first.encoded() == "metadata")
        });
    let tested = identity.into_iter().chain(in_metadata);
    let tests = tested.map(|path| {
        let value = read.pointer(path.as_str()).cloned();
        PatchOperation::Test(TestOperation {
            // A test for null passes if there is nothing.
            value: value.unwrap_or_default(),
            path,
        })
    });
    Changes(tests.chain(changes.iter().cloned()).collect())
}

/// Returns whether a test of the changes failed. The API server gives no more details than this message.
fn is_outdated(status: &Status) -> bool {
    status.code == 422
        && status
            .message
            .starts_with("the server rejected our request")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{changes, is_outdated};

    #[test]
    fn a_change_tests_the_generation_and_the_annotations_that_it_writes() {
        let read = json!({
            "metadata": {"uid": "u1", "generation": 3, "resourceVersion": "7", "annotations": {"a": "1", "others": "x"}},
            "spec": {"paused": false},
        });
        let mut changed = read.clone();
        changed["metadata"]["annotations"]["a"] = json!("2");
        changed["metadata"]["annotations"]["b"] = json!("3");
        changed["spec"]["paused"] = json!(true);
        assert_eq!(
            json!(changes(&read, &changed)),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u1"},
                {"op": "test", "path": "/metadata/generation", "value": 3},
                {"op": "test", "path": "/metadata/annotations/a", "value": "1"},
                {"op": "test", "path": "/metadata/annotations/b", "value": null},
                {"op": "replace", "path": "/metadata/annotations/a", "value": "2"},
                {"op": "add", "path": "/metadata/annotations/b", "value": "3"},
                {"op": "replace", "path": "/spec/paused", "value": true},
            ])
        );
    }

    #[test]
    fn an_unchanged_object_is_not_written() {
        let read = json!({"metadata": {"uid": "u1"}, "spec": {"paused": true}});
        assert!(changes(&read, &read).is_empty());
    }

    #[test]
    fn a_failed_json_patch_test_is_not_a_refusal() {
        let answer = |message: &str| {
            let status =
                json!({"status": "Failure", "reason": "Invalid", "code": 422, "message": message});
            serde_json::from_value(status).expect("a status")
        };
        let failed = "the server rejected our request due to an error in our request";
        assert!(is_outdated(&answer(failed)));
        let refused =
            "MachineDeployment.cluster.x-k8s.io \"md\" is invalid: spec.replicas: Invalid value";
        assert!(!is_outdated(&answer(refused)));
    }
}
