//! One eviction.

use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kube::{Api, ResourceExt as _, api::PostParams, core::Status};

use crate::{lifecycle::Stop, machinery::watches::full_name};

use super::{BLOCKED_BY_BUDGET, BLOCKED_BY_ERROR, NodeEnd, Shared, budgets, evictees::Answer};
use crate::provider::{
    nodes::requests::reason_of,
    requests::{GRACE, REQUEST_TIMEOUT},
};

/// The cause that the API server gives if a budget refuses an eviction.
const DISRUPTION_BUDGET: &str = "DisruptionBudget";

/// Evicts a pod with a single request: if a PDB refuses, that is reported, and a watch shows when the PDB allows it.
/// (`kube::Api::evict` gives its options a name that the API server ignores. That would also lose the uid, which makes
/// sure that it is this pod.)
pub async fn evict(shared: &Shared, pod: &Pod) -> Result<Answer, NodeEnd> {
    if shared.control.stop() == Stop::Now {
        return Err(NodeEnd::Stopped);
    }
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let eviction = eviction_of(pod);
    let pods = Api::<Pod>::namespaced(shared.client.clone(), &namespace);
    let params = PostParams::default();
    let request = pods.create_subresource::<_, Status>("eviction", &name, &params, &eviction);
    let failed = |words: String| {
        let message = format!("eviction of {} failed: {words}", full_name(pod));
        Answer::Refused((BLOCKED_BY_ERROR.into(), message))
    };
    tokio::select! {
        answer = tokio::time::timeout(REQUEST_TIMEOUT, request) => Ok(match answer {
            Ok(Ok(_)) => Answer::Accepted,
            // The pod is gone, or another pod has its name.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Answer::Gone,
            Ok(Err(kube::Error::Api(status))) => refusal(shared, pod, &status),
            Ok(Err(error)) => failed(error.to_string()),
            Err(_) => failed("the API server doesn't answer".into()),
        }),
        // Wait for an eviction that was sent, but not for long: it may hang.
        () = async {
            shared.control.until_stop(Stop::Now).await;
            tokio::time::sleep(GRACE).await;
        } => Err(NodeEnd::Stopped),
    }
}

fn eviction_of(pod: &Pod) -> Eviction {
    Eviction {
        metadata: ObjectMeta {
            name: pod.metadata.name.clone(),
            namespace: pod.namespace(),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions {
                uid: pod.uid(),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        }),
    }
}

/// Returns why a pod may not be evicted.
fn refusal(shared: &Shared, pod: &Pod, status: &Status) -> Answer {
    let name = full_name(pod);
    let budgets = budgets::of(&shared.stores.budgets, pod);
    if budgets.len() > 1 && status.code == 500 {
        let names: Vec<_> = budgets
            .iter()
            .map(|budget| full_name(budget.as_ref()))
            .collect();
        let message = format!(
            "eviction of {name} is impossible: more than one {BLOCKED_BY_BUDGET} selects it ({}), but the Eviction API supports only one: delete one, or narrow its selector",
            names.join(", ")
        );
        return Answer::Refused((BLOCKED_BY_BUDGET.into(), message));
    }
    if !is_by_budget(status) {
        let reason = match status.code {
            403 | 429 => reason_of(status),
            _ => BLOCKED_BY_ERROR,
        };
        let message = format!("eviction of {name} failed: {}", status.message);
        return Answer::Refused((reason.into(), message));
    }
    let in_the_way = budgets
        .iter()
        .find(|budget| budgets::allowed(budget) <= 0)
        .or(budgets.first());
    let message = match in_the_way {
        Some(budget) => {
            let held_up = budgets::would_violate(&name, budget);
            format!("{held_up}{}", budgets::cut_off(budget, pod))
        }
        None => format!("eviction of {name} was refused: {}", status.message),
    };
    let budget = in_the_way.map_or_else(
        || "(unknown)".to_owned(),
        |budget| full_name(budget.as_ref()),
    );
    Answer::Protected((BLOCKED_BY_BUDGET.into(), message), budget)
}

/// Returns whether a budget refused the eviction, and not the API server's own throttling.
fn is_by_budget(status: &Status) -> bool {
    let details = status.details.as_ref();
    let causes = details.map_or(&[][..], |details| &details.causes);
    status.code == 429 && causes.iter().any(|cause| cause.reason == DISRUPTION_BUDGET)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_429_is_a_budgets_refusal_only_if_its_cause_is_a_budget() {
        let cases = [
            (
                json!({"code": 429, "details": {"causes": [{"reason": "DisruptionBudget"}]}}),
                true,
            ),
            (
                json!({"code": 429, "message": "Too many requests, please try again later."}),
                false,
            ),
            (
                json!({"code": 500, "details": {"causes": [{"reason": "DisruptionBudget"}]}}),
                false,
            ),
        ];
        for (status, expected) in cases {
            let read: Status = serde_json::from_value(status.clone()).expect("a status");
            assert_eq!(is_by_budget(&read), expected, "{status}");
        }
    }
}
