//! The requests that lead to a goal. AKS takes one change of a resource at a time, so Belay asks for the differences
//! one after the other: power, settings, version, count.

use serde_json::{Value, json};

use crate::{
    api::KubernetesVersion,
    lifecycle::{ControlPlaneGoal, PoolGoal, UndrainableNodes},
    provider::adopted::labels::is_reserved,
};

use super::resource::{Properties, written};

/// A request that brings a resource nearer to a goal.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The whole resource, changed.
    Put(Value),
    /// An action that has a name.
    Post(&'static str),
    /// The deletion of the resource.
    Delete,
}

/// Returns the next request that a cluster needs for its control plane to reach the goal. None if nothing is missing,
/// or if the running operation leads there.
pub fn of_cluster(cluster: &Value, goal: ControlPlaneGoal) -> Option<Request> {
    let now = Properties(&cluster["properties"]);
    if now.is_on() != goal.running {
        return Some(Request::Post(if goal.running { "start" } else { "stop" }));
    }
    if runs(now, goal.version) || !goal.running {
        return None;
    }
    let mut wanted = cluster.clone();
    wanted["properties"]["kubernetesVersion"] = json!(goal.version.to_string());
    Some(Request::Put(wanted))
}

/// Returns the next request that a node pool needs to reach the goal. None if nothing is missing.
pub fn of_node_pool(pool: &Value, goal: &PoolGoal) -> Option<Request> {
    let now = Properties(&pool["properties"]);
    if goal.deleted {
        return (now.state() != "Deleting").then_some(Request::Delete);
    }
    let mut wanted = pool.clone();
    let properties = &mut wanted["properties"];
    if now.is_on() == goal.stopped {
        let power = if goal.stopped { "Stopped" } else { "Running" };
        properties["powerState"] = json!({"code": power});
    } else if goal.stopped {
        return None;
    } else if goal.update_settings && now.node_settings() != goal.settings {
        settle(properties, goal);
    } else if goal.replace_outdated && !runs(now, goal.version) {
        properties["orchestratorVersion"] = json!(goal.version.to_string());
        properties["upgradeSettings"] = upgrade_settings(&pool["properties"], goal);
    } else if now.count() != goal.count && now.autoscaled().is_none() {
        properties["count"] = json!(goal.count);
    } else {
        return None;
    }
    Some(Request::Put(wanted))
}

/// Returns whether the resource runs a version, or the running operation leads to it.
fn runs(now: Properties<'_>, version: KubernetesVersion) -> bool {
    let is_coming = now.is_moving() && now.wanted_version() == Some(version);
    is_coming || now.version() == Some(version)
}

/// Sets the labels and taints of a goal. Labels that Belay's API doesn't take are Azure's own, and stay.
fn settle(properties: &mut Value, goal: &PoolGoal) {
    let settings = &goal.settings;
    let before = properties["nodeLabels"].as_object().into_iter().flatten();
    let kept = before.filter(|(key, _)| is_reserved(key));
    let mut labels: serde_json::Map<_, _> = kept
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let ours = settings.labels.iter();
    labels.extend(ours.map(|(key, value)| (key.clone(), json!(value))));
    properties["nodeLabels"] = Value::Object(labels);
    properties["nodeTaints"] = settings.taints.iter().map(written).collect();
    properties["mode"] = json!(settings.mode);
}

/// Returns how nodes are to be replaced. AKS removes nodes first only if it creates no extra nodes.
/// Source: Microsoft Learn, "Customize unavailable nodes during upgrade".
fn upgrade_settings(before: &Value, goal: &PoolGoal) -> Value {
    let mut settings = before["upgradeSettings"].clone();
    let unavailable = if goal.surge > 0 { 0 } else { goal.unavailable };
    settings["maxSurge"] = json!(goal.surge.to_string());
    settings["maxUnavailable"] = json!(unavailable.to_string());
    settings["drainTimeoutInMinutes"] = json!(goal.drain_timeout.as_secs().div_ceil(60));
    settings["nodeSoakDurationInMinutes"] = json!(goal.soak.as_secs().div_ceil(60));
    undrainable(&mut settings, goal);
    settings
}

/// Sets what happens to nodes that can't be drained. Without a wish, the pool keeps what it has. AKS takes no fewer
/// blocked nodes than the surge.
/// Source: Microsoft Learn, "Configure undrainable node behavior".
fn undrainable(settings: &mut Value, goal: &PoolGoal) {
    match goal.undrainable {
        UndrainableNodes::Fail => {}
        UndrainableNodes::Schedule => settings["undrainableNodeBehavior"] = json!("Schedule"),
        UndrainableNodes::Cordon { most } => {
            settings["undrainableNodeBehavior"] = json!("Cordon");
            settings["maxBlockedNodes"] = json!(most.max(goal.surge).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{api::ScaleSetPriority, lifecycle::NodeSettings};

    use super::*;

    fn version(text: &str) -> KubernetesVersion {
        text.parse().expect("a version")
    }

    fn pool(changed: &Value) -> Value {
        let mut pool = json!({"name": "np1", "properties": {"count": 3, "mode": "User",
            "provisioningState": "Succeeded", "powerState": {"code": "Running"},
            "orchestratorVersion": "1.33.2", "currentOrchestratorVersion": "1.33.2",
            "osDiskSizeGB": 128}});
        for (field, value) in changed.as_object().into_iter().flatten() {
            pool["properties"][field] = value.clone();
        }
        pool
    }

    fn goal() -> PoolGoal {
        PoolGoal {
            pool: "np1".into(),
            node_prefix: "demo-np1".into(),
            count: 3,
            version: version("1.33.2"),
            replace_outdated: true,
            update_settings: true,
            surge: 1,
            unavailable: 0,
            drain: true,
            drain_timeout: Duration::from_secs(90),
            soak: Duration::from_secs(90),
            undrainable: UndrainableNodes::Fail,
            stopped: false,
            deleted: false,
            settings: NodeSettings::default(),
            vm_size: None,
            priority: ScaleSetPriority::Regular,
        }
    }

    /// Returns the fields that a request changes.
    fn differs(pool: &Value, goal: &PoolGoal) -> Vec<String> {
        match of_node_pool(pool, goal) {
            Some(Request::Put(wanted)) => {
                let fields = wanted["properties"].as_object().expect("properties");
                let differs = fields
                    .iter()
                    .filter(|(field, value)| pool["properties"][field] != **value);
                differs.map(|(field, _)| field.clone()).collect()
            }
            Some(other) => vec![format!("{other:?}")],
            None => Vec::new(),
        }
    }

    #[test]
    fn differences_are_requested_one_after_the_other() {
        let all = PoolGoal {
            count: 5,
            version: version("1.34.0"),
            settings: NodeSettings {
                labels: [("team".to_owned(), "gold".to_owned())].into(),
                ..NodeSettings::default()
            },
            ..goal()
        };
        let mut now = pool(&json!({"powerState": {"code": "Stopped"}}));
        let mut asked = Vec::new();
        while let Some(Request::Put(wanted)) = of_node_pool(&now, &all) {
            asked.push(differs(&now, &all).join(" and "));
            now = wanted;
            now["properties"]["currentOrchestratorVersion"] =
                now["properties"]["orchestratorVersion"].clone();
        }
        let settings = "nodeLabels and nodeTaints";
        let upgrade = "orchestratorVersion and upgradeSettings";
        assert_eq!(asked, ["powerState", settings, upgrade, "count"]);
    }

    #[test]
    fn aks_gets_what_happens_to_nodes_that_cannot_be_drained() {
        let before = json!({"upgradeSettings": {"undrainableNodeBehavior": "Schedule"}});
        let of = |undrainable| {
            let goal = PoolGoal {
                surge: 2,
                undrainable,
                ..goal()
            };
            let settings = upgrade_settings(&before, &goal);
            (
                settings["undrainableNodeBehavior"].clone(),
                settings["maxBlockedNodes"].clone(),
            )
        };
        let kept = of(UndrainableNodes::Fail);
        assert_eq!(
            kept,
            (json!("Schedule"), Value::Null),
            "it is left as it is"
        );
        let cordons = of(UndrainableNodes::Cordon { most: 1 });
        assert_eq!(
            cordons,
            (json!("Cordon"), json!("2")),
            "no fewer than the surge"
        );
    }

    #[test]
    fn a_change_that_is_done_or_in_progress_is_not_requested() {
        let newer = PoolGoal {
            version: version("1.34.0"),
            ..goal()
        };
        let stopped = PoolGoal {
            stopped: true,
            count: 0,
            ..goal()
        };
        let deleted = PoolGoal {
            deleted: true,
            count: 0,
            ..goal()
        };
        let (wanted, off) = (
            json!({"orchestratorVersion": "1.34.0", "provisioningState": "Upgrading"}),
            json!({"powerState": {"code": "Stopped"}}),
        );
        let autoscaled = json!({"enableAutoScaling": true, "count": 4});
        for (pool, goal) in [
            (pool(&json!({})), goal()),
            (pool(&wanted), newer.clone()),
            (pool(&off), stopped.clone()),
            (pool(&autoscaled), goal()),
            (pool(&json!({"provisioningState": "Deleting"})), deleted),
        ] {
            assert_eq!(differs(&pool, &goal), Vec::<String>::new(), "{pool}");
        }
        // An upgrade that was aborted is asked for again.
        let aborted = json!({"orchestratorVersion": "1.34.0", "provisioningState": "Canceled"});
        assert_eq!(differs(&pool(&aborted), &newer), ["upgradeSettings"]);
        assert_eq!(differs(&pool(&json!({})), &stopped), ["powerState"]);
    }

    #[test]
    fn azures_own_labels_stay() {
        let own = json!({"nodeLabels": {"node.kubernetes.io/x": "y", "team": "gold"}});
        let Some(Request::Put(wanted)) = of_node_pool(&pool(&own), &goal()) else {
            panic!("the label team is to go")
        };
        let labels = &wanted["properties"]["nodeLabels"];
        assert_eq!(*labels, json!({"node.kubernetes.io/x": "y"}));
    }
}
