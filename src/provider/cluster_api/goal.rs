//! What a change writes: a version of the control plane, or the Machines of a pool.

use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    lifecycle::{ControlPlaneGoal, NodeSettings, PoolGoal},
    provider::engine::EngineError,
};

use super::{
    answers::not_supported,
    autoscaled,
    found::{Found, Place},
    kinds::{self, DEFER_UPGRADE},
};

/// The annotation of a `MachineDeployment` with the settings that its Machines were given.
pub const SETTINGS: &str = "belay.dev/settings";
/// The value that marks what Belay sets on Cluster API's objects, so that it removes nothing that others set.
pub const OURS: &str = "belay";
/// The annotation of a `MachineDeployment` whose roll-out an abort stopped: which change it was.
pub const STOPPED_BY: &str = "belay.dev/stopped-by";

/// The annotations with the number of Machines that Belay last asked for, by pool. Somebody who writes the number that
/// is already there doesn't appear in the managed fields.
const POOL_COUNT: &str = "count.pool.belay.dev/";

/// Returns how many Machines Belay last asked for. None if it never did.
pub fn count_asked_for(found: &Found, pool: &str) -> Option<usize> {
    let (_, object) = found.pool_spec(pool).ok()?;
    kinds::annotation(object, &format!("{POOL_COUNT}{pool}"))?
        .parse()
        .ok()
}

/// Asks for a version of the control plane, in the object that specifies it. The `MachineDeployments` of a topology
/// stay on their version until their own turn comes.
pub fn to_version(found: &Found, object: &mut DynamicObject, goal: ControlPlaneGoal) {
    let version = json!(format!("v{}", goal.version));
    if !found.has_topology() {
        object.data["spec"]["version"] = version;
        return;
    }
    object.data["spec"]["topology"]["version"] = version;
    let deployments = object
        .data
        .pointer_mut("/spec/topology/workers/machineDeployments");
    let deployments = deployments.and_then(Value::as_array_mut);
    for deployment in deployments.into_iter().flatten() {
        let deferred = &mut deployment["metadata"]["annotations"][DEFER_UPGRADE];
        if deferred.is_null() {
            *deferred = json!(OURS);
        }
    }
}

/// Asks for a pool's Machines.
pub fn to_nodes(
    found: &Found,
    object: &mut DynamicObject,
    goal: &PoolGoal,
) -> Result<(), EngineError> {
    let deployment = found.deployment(&goal.pool).ok();
    let known = found.place_of(&goal.pool)?;
    let is_new = known.is_none();
    let place = known.unwrap_or_else(|| add_entry(found, object, &goal.pool));
    let is_on = deployment.is_some_and(|deployment| found.wanted(deployment).replicas > 0);
    match deployment.and_then(|deployment| autoscaled::scaled_by(found, deployment)) {
        None => {
            place.spec(object)["replicas"] = json!(goal.count);
            let asked = format!("{POOL_COUNT}{}", goal.pool);
            object
                .annotations_mut()
                .insert(asked, goal.count.to_string());
        }
        Some(by) if goal.count == 0 && is_on => {
            return Err(not_supported(format!(
                "AgentPool {} is scaled by {by}, which would start it again: turn off that scaling first",
                goal.pool
            )));
        }
        Some(_) => {}
    }
    if place != Place::Own && (is_new || goal.replace_outdated) {
        follow_topology(found, place.spec(object), goal)?;
    }
    if goal.replace_outdated {
        if place == Place::Own {
            place.machine(object)["version"] = json!(format!("v{}", goal.version));
        }
        let within = json!({"maxSurge": goal.surge, "maxUnavailable": goal.unavailable});
        place.spec(object)["rollout"]["strategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": within});
    }
    let drain_timeout = json!(goal.drain_timeout.as_secs());
    let machine = place.machine(object);
    machine["deletion"]["nodeDrainTimeoutSeconds"] = drain_timeout;
    if !goal.soak.is_zero() || machine.get("minReadySeconds").is_some() {
        machine["minReadySeconds"] = json!(goal.soak.as_secs());
    }
    if goal.update_settings || is_new {
        let before = deployment.and_then(|deployment| kinds::annotation(deployment, SETTINGS));
        let before = before.and_then(|text| serde_json::from_str(text).ok());
        settle(place, object, &before.unwrap_or_default(), goal);
    }
    Ok(())
}

/// Adds a pool to the topology.
fn add_entry(found: &Found, object: &mut DynamicObject, pool: &str) -> Place {
    let entry = json!({"class": found.spec.class_of(pool), "name": found.spec.deployment_of(pool)});
    let entries = &mut object.data["spec"]["topology"]["workers"]["machineDeployments"];
    if !entries.is_array() {
        *entries = json!([]);
    }
    let at = entries.as_array_mut().map_or(0, |entries| {
        entries.push(entry);
        entries.len() - 1
    });
    Place::Topology(at)
}

/// Lets a `MachineDeployment` of a topology follow the topology's version. It can't go to another one.
fn follow_topology(found: &Found, entry: &mut Value, goal: &PoolGoal) -> Result<(), EngineError> {
    let of_topology = kinds::version(found.cluster(), "/spec/topology/version");
    if of_topology != Some(goal.version) {
        return Err(not_supported(format!(
            "AgentPool {} belongs to a Cluster with a topology, in which all MachineDeployments run the topology's version: leave out spec.kubernetesVersion, or set it to the cluster's version",
            goal.pool
        )));
    }
    let annotations = entry.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut)
        && annotations.get(DEFER_UPGRADE).is_some_and(|by| by == OURS)
    {
        annotations.remove(DEFER_UPGRADE);
    }
    Ok(())
}

/// Gives Machines their pool's labels and taints in place. What others gave them stays.
fn settle(place: Place, object: &mut DynamicObject, before: &NodeSettings, goal: &PoolGoal) {
    let text = serde_json::to_string(&goal.settings).unwrap_or_default();
    match place {
        Place::Topology(_) => {
            place.metadata(object)["annotations"][SETTINGS] = json!(text);
        }
        Place::Own => {
            object.annotations_mut().insert(SETTINGS.into(), text);
        }
    }
    let labels = &mut place.metadata(object)["labels"];
    let mut kept = labels.as_object().cloned().unwrap_or_default();
    kept.retain(|key, _| !before.labels.contains_key(key));
    let ours = goal.settings.labels.iter();
    kept.extend(ours.map(|(key, value)| (key.clone(), json!(value))));
    *labels = Value::Object(kept);
    if before.taints.is_empty() && goal.settings.taints.is_empty() {
        return;
    }
    let taints = &mut place.machine(object)["taints"];
    let was_ours = |taint: &Value| {
        let mut ours = before.taints.iter();
        ours.any(|ours| taint["key"] == ours.key && taint["effect"] == json!(ours.effect))
    };
    let mut kept = taints.as_array().cloned().unwrap_or_default();
    kept.retain(|taint| !was_ours(taint));
    kept.extend(goal.settings.taints.iter().map(|taint| {
        json!({"key": taint.key, "value": taint.value, "effect": taint.effect, "propagation": "Always"})
    }));
    *taints = Value::Array(kept);
}
