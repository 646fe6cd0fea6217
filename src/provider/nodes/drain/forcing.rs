//! The deletion of a pod that a budget protects, after its eviction was refused for long enough, while a force is in
//! effect. The Operation's status names the pod before it is deleted.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};

use crate::{
    api::ForcedPod,
    lifecycle::Stop,
    machinery::{clock, delete_params, watches::full_name},
    provider::requests::{GRACE, REQUEST_TIMEOUT},
};

use super::{BLOCKED_BY_ERROR, NodeEnd, Shared, evictees::Answer};

/// Returns until when pods may be deleted. None if no force is in effect now.
pub fn until(shared: &Shared) -> Option<Timestamp> {
    let until = shared.control.forced_until();
    until.filter(|until| *until > clock::now())
}

/// Deletes a pod that `budget` protects. Returns None if the force ended before that.
pub async fn delete(shared: &Shared, pod: &Pod, budget: &str) -> Result<Option<Answer>, NodeEnd> {
    let name = full_name(pod);
    let forced = ForcedPod {
        name: name.clone(),
        uid: pod.uid().unwrap_or_default(),
        budget: budget.to_owned(),
        decided_at: None,
    };
    let is_kept = shared.control.keep_forced(&forced).await;
    if shared.control.stop() == Stop::Now {
        return Err(NodeEnd::Stopped);
    }
    if !is_kept || until(shared).is_none() {
        shared.control.forget_forced(&forced.uid);
        return Ok(None);
    }
    let answer = send(shared, pod).await;
    shared.control.forget_forced(&forced.uid);
    let answer = answer?;
    if matches!(answer, Answer::Accepted) {
        tracing::warn!(pod = name, budget, "pod deleted by force");
    }
    Ok(Some(answer))
}

/// Sends the request, which names this very pod by its uid.
async fn send(shared: &Shared, pod: &Pod) -> Result<Answer, NodeEnd> {
    let pods = Api::<Pod>::namespaced(shared.client.clone(), &pod.namespace().unwrap_or_default());
    let (name, params) = (pod.name_any(), delete_params(pod.uid()));
    let failed = |words: String| {
        let message = format!("deletion of {} by force failed: {words}", full_name(pod));
        Answer::Refused((BLOCKED_BY_ERROR.into(), message))
    };
    tokio::select! {
        answer = tokio::time::timeout(REQUEST_TIMEOUT, pods.delete(&name, &params)) => Ok(match answer {
            Ok(Ok(_)) => Answer::Accepted,
            // The pod is gone, or another pod has its name.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Answer::Gone,
            Ok(Err(kube::Error::Api(status))) => failed(status.message),
            Ok(Err(error)) => failed(error.to_string()),
            Err(_) => failed("the API server doesn't answer".into()),
        }),
        // Wait for a deletion that was sent, but not for long: it may hang.
        () = async {
            shared.control.until_stop(Stop::Now).await;
            tokio::time::sleep(GRACE).await;
        } => Err(NodeEnd::Stopped),
    }
}
