//! What blocks a change, the nearest cause first, in Cluster API's words.

use kube::{ResourceExt as _, core::DynamicObject};

use crate::provider::requests::Blocked;

use super::{
    found::Found,
    goal::{OURS, STOPPED_BY},
    kinds::{self, PAUSED},
};

/// Returns what blocks a change of an object and its Machines. None if nothing does.
pub fn of(found: &Found, object: &DynamicObject, machines: &[&DynamicObject]) -> Option<Blocked> {
    let first = |of: fn(&DynamicObject) -> Option<Blocked>| machines.iter().find_map(|one| of(one));
    paused_cluster(found)
        .or_else(|| paused(object))
        .or_else(|| first(held_drain))
        .or_else(|| first(remediation))
        .or_else(|| found.sets_of(object).find_map(failed_preflight))
        .or_else(|| unreconciled_topology(found.cluster()))
}

/// Returns why Cluster API can't reconcile a topology. None if its condition has no reason that somebody has to act on.
fn unreconciled_topology(cluster: &DynamicObject) -> Option<Blocked> {
    let (reason, message) = kinds::condition(cluster, "TopologyReconciled", "False")?;
    let waits_for_somebody = matches!(
        reason,
        "ReconcileFailed" | "ClusterClassNotReconciled" | "LifecycleHookBlocking"
    );
    let message = format!("Cluster {}: {message}", cluster.name_any());
    waits_for_somebody.then(|| (reason.to_owned(), message))
}

fn paused_cluster(found: &Found) -> Option<Blocked> {
    let name = &found.spec.cluster_name;
    let message = || {
        format!(
            "Cluster {name} is paused by somebody else: to continue, set its spec.paused to false"
        )
    };
    kinds::is(found.cluster(), "Paused").then(|| ("Paused".into(), message()))
}

fn paused(object: &DynamicObject) -> Option<Blocked> {
    let name = object.name_any();
    let annotation = kinds::annotation(object, PAUSED);
    let message = if annotation == Some(OURS) {
        format!(
            "{name} is paused since an abort: to continue, create an Operation of type Reconcile on the ManagedCluster"
        )
    } else {
        let by_us = kinds::annotation(object, STOPPED_BY).is_some();
        let is_paused = object.data.pointer("/spec/paused") == Some(&true.into());
        if annotation.is_none() && (by_us || !is_paused) {
            return None;
        }
        format!(
            "{name} is paused by somebody else: to continue, set its spec.paused to false, or remove its annotation {PAUSED}"
        )
    };
    Some(("Paused".into(), message))
}

/// Returns the block if a budget blocks the drain of a Machine.
fn held_drain(machine: &DynamicObject) -> Option<Blocked> {
    let (reason, message) = kinds::condition(machine, "Deleting", "True")?;
    let is_held = reason == "DrainingNode" && message.contains("disruption budget");
    let message = format!("Machine {}: {message}", machine.name_any());
    is_held.then(|| ("PodDisruptionBudget".into(), message))
}

/// Returns the block by a Machine that failed a health check and is to be replaced for that.
fn remediation(machine: &DynamicObject) -> Option<Blocked> {
    let (_, message) = kinds::condition(machine, "OwnerRemediated", "False")?;
    let name = machine.name_any();
    let message = format!("Machine {name} is unhealthy and is being remediated: {message}");
    Some(("MachineHealthCheck".into(), message))
}

fn failed_preflight(set: &DynamicObject) -> Option<Blocked> {
    let (_, message) = kinds::condition(set, "ScalingUp", "True")?;
    let is_failed = message.contains("blocked because");
    is_failed.then(|| ("Preflight".into(), message.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(metadata: &Value, spec: &Value, conditions: &Value) -> DynamicObject {
        let object = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine",
            "metadata": metadata, "spec": spec, "status": {"conditions": conditions}});
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn a_pause_shows_who_set_it_and_what_ends_it() {
        let named = |annotations: Value| json!({"name": "md-0", "annotations": annotations});
        for (annotations, is_paused, says) in [
            (json!({}), false, None),
            (
                json!({}),
                true,
                Some("by somebody else: to continue, set its spec.paused"),
            ),
            (json!({STOPPED_BY: "uid-1"}), true, None),
            (json!({PAUSED: ""}), false, Some("remove its annotation")),
            (
                json!({PAUSED: OURS}),
                false,
                Some("since an abort: to continue, create"),
            ),
        ] {
            let object = object(
                &named(annotations),
                &json!({"paused": is_paused}),
                &json!([]),
            );
            let message = paused(&object).map(|(_, message)| message);
            match says {
                None => assert_eq!(message, None),
                Some(says) => assert!(message.expect("a message").contains(says), "{says}"),
            }
        }
    }

    #[test]
    fn a_waiting_machine_shows_its_cause() {
        let condition = |type_: &str, status: &str, reason: &str, message: &str| {
            let conditions =
                json!([{"type": type_, "status": status, "reason": reason, "message": message}]);
            object(&json!({"name": "m-1"}), &json!({}), &conditions)
        };
        let budget = "cannot evict pod as it would violate the pod's disruption budget";
        let drain = condition("Deleting", "True", "DrainingNode", budget);
        let (reason, message) = held_drain(&drain).expect("it is held");
        assert_eq!(reason, "PodDisruptionBudget");
        assert!(
            message.starts_with("Machine m-1: cannot evict"),
            "{message}"
        );
        let deferred = condition("OwnerRemediated", "False", "Deferred", "waiting for others");
        let (reason, message) = remediation(&deferred).expect("it is remediated");
        assert_eq!(reason, "MachineHealthCheck");
        assert!(message.ends_with("waiting for others"), "{message}");
        assert_eq!(remediation(&drain), None);
        let blocked = condition(
            "ScalingUp",
            "True",
            "ScalingUp",
            "m is blocked because KubeadmVersionSkew",
        );
        assert_eq!(
            failed_preflight(&blocked).map(|(reason, _)| reason),
            Some("Preflight".into())
        );
    }
}
