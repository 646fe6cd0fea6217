//! A cluster at several moments of an upgrade, for tests of the output.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use serde_json::{Value, json};

use crate::{
    api::{AgentPool, ManagedCluster, Operation},
    cli::{cluster::view::View, command::why::in_the_way::InTheWay, terminal::look::Look},
};

/// Returns the current time of all tests.
pub fn now() -> Timestamp {
    "2026-11-24T21:15:42Z".parse().expect("a time")
}

/// Returns the look of a terminal with this many columns, without colours.
pub fn wide(width: usize) -> Look {
    Look {
        width: Some(width),
        ..Look::default()
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn conditions(ready: &str, stalled: &str, reason: &str, message: &str) -> Value {
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-24T21:11:29Z"})
    };
    json!([condition("Ready", ready), condition("Stalled", stalled)])
}

const BLOCKED: &str =
    "eviction of default/web-c5bb4bf86-hc5r4 would violate PodDisruptionBudget default/web";

/// An upgrade that a PodDisruptionBudget blocks.
pub fn hanging_upgrade() -> Operation {
    let step = |name: &str, action: &str, phase: &str, message: &str| {
        let started = (phase != "Pending").then_some("2026-11-24T21:11:32Z");
        let ended = (phase == "Succeeded").then_some("2026-11-24T21:11:33Z");
        json!({"name": name, "action": action, "phase": phase, "message": message,
            "startTime": started, "endTime": ended})
    };
    from(json!({
        "metadata": {"name": "demo-upgrade-mqxdz", "namespace": "default", "uid": "u1",
            "creationTimestamp": "2026-11-24T21:11:29Z"},
        "spec": {"type": "Upgrade", "target": {"kind": "ManagedCluster", "name": "demo"}, "kubernetesVersion": "1.36.3"},
        "status": {
            "phase": "InProgress", "percentComplete": 56, "startTime": "2026-11-24T21:11:29Z",
            "steps": [
                step("control-plane", "Upgrade", "Succeeded", ""),
                step("node/demo-system-6nvgx", "Replace", "Succeeded", "deleted"),
                step("node/demo-system-98f2d", "Replace", "Succeeded", "deleted"),
                step("node/demo-np1-d2cp5", "Replace", "InProgress", "draining: 1 pod left"),
                step("node/demo-np1-hlv9j", "Replace", "Pending", "1.35.7 to 1.36.3"),
                step("node/demo-np1-l6ftx", "Replace", "Pending", "1.35.7 to 1.36.3"),
            ],
            "blocked": {"reason": "PodDisruptionBudget", "message": BLOCKED, "since": "2026-11-24T21:11:33Z"},
        },
    }))
}

/// The same upgrade, after its abort.
pub fn canceled_upgrade() -> Operation {
    let mut operation = json!(hanging_upgrade());
    let status = &mut operation["status"];
    status["phase"] = json!("Canceled");
    status["blocked"] = Value::Null;
    status["endTime"] = json!("2026-11-24T21:15:00Z");
    status["cancellation"] =
        json!({"status": "Successful", "reason": "stuck on a PDB", "requestedBy": "alice"});
    status["steps"][3]["phase"] = json!("Canceled");
    status["steps"][3]["endTime"] = json!("2026-11-24T21:15:00Z");
    status["steps"][4]["phase"] = json!("Skipped");
    status["steps"][5]["phase"] = json!("Skipped");
    from(operation)
}

/// The same upgrade, whose abort was refused.
pub fn refused_abort() -> Operation {
    let mut operation = json!(hanging_upgrade());
    operation["status"]["cancellation"] = json!({"status": "Failed", "requestedBy": "alice",
        "reason": "InvalidRequestException: updates of type VersionUpdate can't be cancelled"});
    from(operation)
}

/// The same upgrade, forced by alice. It has deleted a pod.
pub fn forced_upgrade() -> Operation {
    let mut operation = json!(hanging_upgrade());
    let status = &mut operation["status"];
    status["force"] = json!({"status": "InEffect", "until": "2026-11-24T21:45:00Z", "requestedBy": "alice",
        "acceptedAt": "2026-11-24T21:14:00Z", "podCount": 1, "pods": [{"name": "default/web-c5bb4bf86-2wz7k",
        "uid": "p1", "budget": "default/web", "decidedAt": "2026-11-24T21:15:00Z"}]});
    status["blocked"]["message"] = json!(format!(
        "{BLOCKED}; by force, the pod is deleted at 2026-11-24T21:16:05Z"
    ));
    from(operation)
}

/// An Operation that has only this step.
pub fn operation_at(type_: &str, step: &Value) -> Operation {
    let mut operation = json!(hanging_upgrade());
    operation["spec"]["type"] = json!(type_);
    operation["status"]["blocked"] = Value::Null;
    operation["status"]["steps"] = json!([step]);
    from(operation)
}

fn pool(name: &str, mode: &str, count: i32, status: &Value) -> AgentPool {
    from(json!({
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": {"clusterName": "demo", "mode": mode, "count": count},
        "status": status,
    }))
}

fn pools(state: &str, conditions: &Value) -> Vec<AgentPool> {
    let operation = json!({"name": "demo-upgrade-mqxdz", "type": "Upgrade", "phase": "InProgress", "percentComplete": 56});
    let operation = (state == "Upgrading").then_some(operation);
    let versions = |old: i32, new: i32| json!([{"kubernetesVersion": "1.35.7", "count": old}, {"kubernetesVersion": "1.36.3", "count": new}]);
    vec![
        pool(
            "demo-np1",
            "User",
            3,
            &json!({"provisioningState": state, "count": 4, "readyCount": 4, "operation": operation,
            "versions": versions(3, 1), "versionSummary": "1.35.7 (3), 1.36.3 (1)",
            "observedGeneration": 1, "conditions": conditions}),
        ),
        pool(
            "demo-system",
            "System",
            2,
            &json!({"provisioningState": state, "count": 2, "readyCount": 2, "operation": operation,
            "versions": versions(0, 2), "versionSummary": "1.36.3 (2)",
            "observedGeneration": 1, "conditions": conditions}),
        ),
    ]
}

/// A cluster whose status has these fields in addition to those that it always has.
pub fn cluster(state: &str, conditions: &Value, more: &Value) -> ManagedCluster {
    let mut status = json!({"provisioningState": state, "powerState": {"code": "Running"},
        "kubernetesVersion": "1.36.3", "observedGeneration": 2, "conditions": conditions});
    for (key, value) in more.as_object().expect("an object") {
        status[key] = value.clone();
    }
    from(json!({
        "metadata": {"name": "demo", "namespace": "default", "generation": 2},
        "spec": {"kubernetesVersion": "1.36.3", "provider": {"kwok": {}}},
        "status": status,
    }))
}

/// A cluster whose upgrade hangs.
pub fn hanging() -> View {
    let message = format!("Operation demo-upgrade-mqxdz is blocked: {BLOCKED}");
    let conditions = conditions("False", "False", "Upgrading", &message);
    let held = json!([{"name": "demo-upgrade-mqxdz", "type": "Upgrade", "phase": "InProgress", "percentComplete": 56,
        "target": {"kind": "ManagedCluster", "name": "demo"}}]);
    View::new(
        cluster("Upgrading", &conditions, &json!({"operations": held})),
        pools("Upgrading", &conditions),
        [hanging_upgrade()],
    )
}

/// The same cluster, before the upgrade hangs: what will be in its way is reported.
pub fn foreseen() -> View {
    let hanging = hanging();
    let mut operation = json!(hanging_upgrade());
    operation["status"]["blocked"] = Value::Null;
    let message = "PodDisruptionBudget default/web (minAvailable 3) requires 3 of 3 pods, so it never allows an eviction: 3 pods on the nodes of AgentPool demo-np1 (default/web-1, default/web-2, default/web-3) (`kubectl -n default scale deployment web --replicas=4`); no controller makes these pods again: 1 pod on the nodes of AgentPool demo-np1 (default/debug) (`kubectl -n default get pod debug -o yaml`)";
    operation["status"]["conditions"] = json!([{"type": "Preflight", "status": "False", "reason": "BudgetsInTheWay",
        "message": message, "lastTransitionTime": "2026-11-24T21:11:29Z"}]);
    View::new(hanging.cluster, hanging.pools, [from(operation)])
}

/// The same cluster, after its abort was refused.
pub fn refused() -> View {
    let hanging = hanging();
    View::new(hanging.cluster, hanging.pools, [refused_abort()])
}

/// The same cluster, after the abort.
pub fn canceled() -> View {
    let message = "Operation demo-upgrade-mqxdz was canceled; Version of this ManagedCluster is on hold until the spec of ManagedCluster demo asks for another value, or until someone creates an Operation of type Reconcile on it";
    let conditions = conditions("False", "True", "OperationCanceled", message);
    let last = json!({"name": "demo-upgrade-mqxdz", "type": "Upgrade", "phase": "Canceled", "targetGeneration": 2,
        "target": {"kind": "ManagedCluster", "name": "demo"}, "message": "canceled: stuck on a PDB",
        "startTime": "2026-11-24T21:11:29Z", "endTime": "2026-11-24T21:15:00Z"});
    let hold = json!({"operation": {"name": "demo-upgrade-mqxdz"}, "target": {"kind": "ManagedCluster", "name": "demo"},
        "phase": "Canceled", "message": "canceled: stuck on a PDB", "aspects": ["Version"]});
    View::new(
        cluster(
            "Canceled",
            &conditions,
            &json!({"lastOperation": last, "hold": hold}),
        ),
        pools("Canceled", &conditions),
        [canceled_upgrade()],
    )
}

/// The same cluster, after an upgrade that left a node behind because it couldn't be drained.
pub fn quarantined() -> View {
    let message = "Operation demo-upgrade-mqxdz failed; Version of this ManagedCluster is on hold until its spec changes, or until someone creates an Operation of type Reconcile on it";
    let conditions = conditions("False", "True", "OperationFailed", message);
    let why = format!(
        "PodDrainFailure: node demo-np1-d2cp5 could not be drained and is quarantined: {BLOCKED}"
    );
    let target = json!({"kind": "ManagedCluster", "name": "demo"});
    let last = json!({"name": "demo-upgrade-mqxdz", "type": "Upgrade", "phase": "Failed", "targetGeneration": 2,
        "target": target, "message": why,
        "startTime": "2026-11-24T21:11:29Z", "endTime": "2026-11-24T21:15:00Z"});
    let hold = json!({"operation": {"name": "demo-upgrade-mqxdz"}, "target": target,
        "phase": "Failed", "message": why, "aspects": ["Version"]});
    let mut pools = pools("Failed", &conditions);
    let status = pools[0].status.as_mut().expect("a status");
    status.count = 3;
    status.ready_count = 3;
    status.quarantined_nodes = vec![from(
        json!({"name": "demo-np1-d2cp5", "reason": "PodDisruptionBudget",
        "message": BLOCKED, "since": "2026-11-24T21:13:12Z"}),
    )];
    View::new(
        cluster(
            "Failed",
            &conditions,
            &json!({"lastOperation": last, "hold": hold}),
        ),
        pools,
        [],
    )
}

/// A cluster that no operator has looked at.
pub fn unobserved() -> ManagedCluster {
    from(json!({
        "metadata": {"name": "demo", "namespace": "default", "generation": 1},
        "spec": {"kubernetesVersion": "1.36.3", "provider": {"kwok": {}}},
    }))
}

/// The pod and the budget that block the upgrade.
pub fn in_the_way() -> InTheWay {
    let budget: PodDisruptionBudget = from(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}},
        "status": {"currentHealthy": 3, "desiredHealthy": 3, "expectedPods": 3, "disruptionsAllowed": 0},
    }));
    let pod: Pod = from(json!({
        "metadata": {"name": "web-c5bb4bf86-hc5r4", "namespace": "default"},
        "spec": {"nodeName": "demo-np1-d2cp5", "containers": []},
    }));
    InTheWay {
        pod_name: ("default".into(), "web-c5bb4bf86-hc5r4".into()),
        budget_name: ("default".into(), "web".into()),
        pod: Some(pod),
        budget: Some(budget),
        owner: Some(("deployment".into(), "web".into())),
    }
}
