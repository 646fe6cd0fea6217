//! The definition of a pod that is up.

use k8s_openapi::api::core::v1::Pod;

/// Whether a pod is Ready and isn't being deleted.
pub fn is_pod_up(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let is_ready =
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready && pod.metadata.deletion_timestamp.is_none()
}
