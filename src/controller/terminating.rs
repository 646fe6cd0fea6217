//! Detects that no Operation can be created any more.

use kube::core::Status;

use crate::api::ManagedCluster;

/// Whether no Operation can be created as long as this cluster exists: its namespace is being deleted, or both the
/// cluster and the kind Operation are.
pub fn for_ever(refusal: &Status, cluster: &ManagedCluster) -> bool {
    let is_going = cluster.metadata.deletion_timestamp.is_some();
    is_in_terminating_namespace(refusal) || (is_going && is_of_deleted_kind(refusal))
}

/// Whether a creation was refused because the kind is being deleted or no longer exists: its definition was deleted,
/// and all objects of the kind with it. A kind may come back.
fn is_of_deleted_kind(status: &Status) -> bool {
    const GOING: &str = "create not allowed while custom resource definition is terminating";
    // The API server answers 404 at the address of a kind that it doesn't know.
    status.code == 404 || (status.code == 403 && status.message.contains(GOING))
}

/// Whether a creation was refused because the namespace is being deleted.
fn is_in_terminating_namespace(status: &Status) -> bool {
    const CAUSE: &str = "NamespaceTerminating";
    let details = status.details.as_ref();
    let causes = details.map_or(&[][..], |details| &details.causes);
    status.code == 403 && causes.iter().any(|cause| cause.reason == CAUSE)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    fn refusal(status: serde_json::Value) -> Status {
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn a_refusal_by_a_terminating_kind_is_final_only_for_a_terminating_cluster() {
        let going = "operations.belay.dev \"x\" is forbidden: create not allowed while custom resource definition is terminating";
        let namespace = json!({"causes": [{"reason": "NamespaceTerminating"}]});
        let spec = json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {}}});
        let spec = serde_json::from_value(spec).expect("a spec");
        let stays = ManagedCluster::new("demo", spec);
        let mut goes = stays.clone();
        goes.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        for (status, of_going, of_staying) in [
            (json!({"code": 403, "details": namespace}), true, true),
            (json!({"code": 403, "message": going}), true, false),
            (
                json!({"code": 404, "message": "404 page not found"}),
                true,
                false,
            ),
            (json!({"code": 403, "message": "not you"}), false, false),
            (json!({"code": 500, "message": going}), false, false),
        ] {
            let refusal = refusal(status);
            assert_eq!(for_ever(&refusal, &goes), of_going, "{refusal:?}");
            assert_eq!(for_ever(&refusal, &stays), of_staying, "{refusal:?}");
        }
    }
}
