//! The manifests that put an existing AKS cluster under Belay's operations.

use kube::Client;
use serde_json::{Value, json};

use crate::{
    api::{AzureNodePool, AzureProviderSpec, ProviderSpec},
    provider::{
        adopted::{Adopted, Adoption, credentials::Person},
        engine::{EngineError, Site},
        nodes::passing,
        requests::Failure,
    },
};

use super::{
    arm::Arm,
    engine::missing,
    look::node_pools,
    resource::{Id, Properties},
    settings::Settings,
};

/// Returns the manifests for an AKS cluster, in a namespace. `name` is the `ManagedCluster`'s.
///
/// # Errors
/// If it can't be read.
pub async fn manifests(
    client: &Client,
    settings: &Settings,
    (namespace, name): (&str, &str),
    spec: &AzureProviderSpec,
) -> anyhow::Result<Adopted> {
    let arm = Arm::new(client.clone(), settings, Person::User)?;
    let adopted = adopted(client, &arm, (namespace, name), spec).await;
    Ok(adopted.map_err(|error| error.as_passing())?)
}

async fn adopted(
    client: &Client,
    arm: &Arm,
    (namespace, name): (&str, &str),
    spec: &AzureProviderSpec,
) -> Result<Adopted, EngineError> {
    let site = Site {
        namespace: namespace.to_owned(),
        cluster: name.to_owned(),
        provider: ProviderSpec {
            azure: Some(spec.clone()),
            ..ProviderSpec::default()
        },
    };
    let cluster = arm.get(&site, &Id::new(spec, None)).await?;
    let cluster = cluster.ok_or_else(|| Failure::Final(missing(spec, None)))?;
    let control_plane = Properties(&cluster["properties"]);
    let adoption = Adoption::begin(client, (namespace, name), control_plane.version()).await;
    let mut adoption = adoption.map_err(|error| Failure::Passing(passing(&error)))?;
    for (node_pool, now) in node_pools(&cluster) {
        adoption.add(node_pool, now.version(), pool_spec(now));
    }
    let named = |name: &String| AzureNodePool {
        name: Some(name.clone()),
        ..AzureNodePool::default()
    };
    let names = adoption.names().iter();
    let provider = AzureProviderSpec {
        node_pools: names
            .map(|(pool, name)| (pool.clone(), named(name)))
            .collect(),
        ..spec.clone()
    };
    let mut asked = json!({"provider": {"azure": provider}});
    if !control_plane.is_on() {
        asked["powerState"] = json!("Stopped");
    }
    Ok(Adopted {
        manifests: adoption.finish(asked),
        left_out: Vec::new(),
    })
}

/// Returns the spec of an `AgentPool` that asks for its node pool as it is now.
fn pool_spec(now: Properties<'_>) -> Value {
    let settings = now.node_settings();
    let mut spec = json!({"mode": settings.mode, "count": now.count(),
        "upgradeSettings": upgrade_settings(&now.0["upgradeSettings"])});
    if let Some(size) = now.0["vmSize"].as_str() {
        spec["vmSize"] = json!(size);
    }
    if now.0["scaleSetPriority"] == "Spot" {
        spec["scaleSetPriority"] = json!("Spot");
    }
    if !now.is_on() {
        spec["powerState"] = json!("Stopped");
    }
    if !settings.labels.is_empty() {
        spec["nodeLabels"] = json!(settings.labels);
    }
    if !settings.taints.is_empty() {
        spec["nodeTaints"] = json!(settings.taints);
    }
    spec
}

/// Returns how nodes are replaced now, in the terms of an `AgentPool`. AKS writes numbers as strings.
fn upgrade_settings(now: &Value) -> Value {
    let of = |field: &str, or: Value| match now[field].as_str() {
        Some(text) => text
            .parse::<u32>()
            .map_or(json!(text), |number| json!(number)),
        None => or,
    };
    // What AKS uses if nothing is set. Source: Microsoft Learn, "Customize node surge upgrade".
    let mut settings = json!({"maxSurge": of("maxSurge", json!("10%")), "maxUnavailable": of("maxUnavailable", json!(0))});
    if let Some(minutes) = now["drainTimeoutInMinutes"].as_u64() {
        settings["drainTimeout"] = json!(format!("{minutes}m"));
    }
    if let Some(minutes) = now["nodeSoakDurationInMinutes"].as_u64() {
        settings["nodeSoakDuration"] = json!(format!("{minutes}m"));
    }
    // AKS sets Schedule by default, but an AgentPool without a wish leaves it as it is.
    if now["undrainableNodeBehavior"] == "Cordon" {
        settings["undrainableNodeBehavior"] = json!("Cordon");
        if !now["maxBlockedNodes"].is_null() {
            settings["maxBlockedNodes"] = of("maxBlockedNodes", Value::Null);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upgrade_settings_of_a_node_pool_are_converted_to_those_of_an_agent_pool() {
        for (now, asked) in [
            (json!({}), json!({"maxSurge": "10%", "maxUnavailable": 0})),
            (
                json!({"maxSurge": "33%", "drainTimeoutInMinutes": 45}),
                json!({"maxSurge": "33%", "maxUnavailable": 0, "drainTimeout": "45m"}),
            ),
            (
                json!({"maxSurge": "1", "undrainableNodeBehavior": "Cordon", "maxBlockedNodes": "2"}),
                json!({"maxSurge": 1, "maxUnavailable": 0, "undrainableNodeBehavior": "Cordon", "maxBlockedNodes": 2}),
            ),
            (
                json!({"maxSurge": "1", "undrainableNodeBehavior": "Schedule"}),
                json!({"maxSurge": 1, "maxUnavailable": 0}),
            ),
            (
                json!({"maxSurge": "0", "maxUnavailable": "2"}),
                json!({"maxSurge": 0, "maxUnavailable": 2}),
            ),
        ] {
            assert_eq!(upgrade_settings(&now), asked);
        }
    }
}
