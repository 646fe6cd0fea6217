//! The manifests that take an existing AKS cluster under Belay's operations.

use kube::Client;
use serde_json::{Value, json};

use crate::{
    api::{AzureProviderSpec, ProviderSpec},
    provider::{
        adopted::{Adopted, credentials::Person, manifest, pools_of_others},
        engine::{EngineError, Site},
        nodes::passing,
        requests::{Failure, Passing},
    },
};

use super::{
    arm::Arm,
    engine::missing,
    look::node_pools,
    resource::{Id, Properties},
    settings::Settings,
};

/// The manifests for an AKS cluster, in a namespace. `name` is the `ManagedCluster`'s.
///
/// # Errors
/// Where it can't be read.
pub async fn manifests(
    client: &Client,
    settings: &Settings,
    (namespace, name): (&str, &str),
    spec: &AzureProviderSpec,
) -> anyhow::Result<Adopted> {
    let arm = Arm::new(client.clone(), settings, Person::AtTheKeyboard)?;
    let adopted = adopted(client, &arm, (namespace, name), spec).await;
    adopted.map_err(|error| {
        let Passing {
            reason, message, ..
        } = error.as_passing();
        anyhow::anyhow!("{reason}: {message}")
    })
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
    let version = control_plane.version();
    let taken = pools_of_others(client, namespace, name).await;
    let taken = taken.map_err(|error| Failure::Passing(passing(&error)))?;
    let (mut pools, mut names) = (Vec::new(), serde_json::Map::new());
    for (node_pool, now) in node_pools(&cluster) {
        let pool = if taken.contains(node_pool) {
            let longer = format!("{name}-{node_pool}");
            names.insert(longer.clone(), json!({"name": node_pool}));
            longer
        } else {
            node_pool.to_owned()
        };
        let mut asked = pool_spec(now);
        asked["clusterName"] = json!(name);
        if let Some(own) = now.version().filter(|own| Some(*own) != version) {
            asked["kubernetesVersion"] = json!(own.to_string());
        }
        pools.push(manifest("AgentPool", namespace, &pool, &asked));
    }
    let mut provider = json!(spec);
    if !names.is_empty() {
        provider["nodePools"] = Value::Object(names);
    }
    let mut asked = json!({"kubernetesVersion": version.map(|version| version.to_string()),
        "provider": {"azure": provider}});
    if !control_plane.is_on() {
        asked["powerState"] = json!("Stopped");
    }
    let mut manifests = vec![manifest("ManagedCluster", namespace, name, &asked)];
    manifests.append(&mut pools);
    Ok(Adopted {
        manifests,
        left_out: Vec::new(),
    })
}

/// What an `AgentPool` asks for that is as its node pool is now.
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

/// How nodes are replaced now, in the words of an `AgentPool`. AKS writes numbers as texts.
fn upgrade_settings(now: &Value) -> Value {
    let of = |field: &str, or: Value| match now[field].as_str() {
        Some(text) => text
            .parse::<u32>()
            .map_or(json!(text), |number| json!(number)),
        None => or,
    };
    // What AKS takes where nothing is set. Source: Microsoft Learn, "Customize node surge upgrade".
    let mut settings = json!({"maxSurge": of("maxSurge", json!("10%")), "maxUnavailable": of("maxUnavailable", json!(0))});
    if let Some(minutes) = now["drainTimeoutInMinutes"].as_u64() {
        settings["drainTimeout"] = json!(format!("{minutes}m"));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrade_settings_are_taken_over_in_the_words_of_an_agent_pool() {
        for (now, asked) in [
            (json!({}), json!({"maxSurge": "10%", "maxUnavailable": 0})),
            (
                json!({"maxSurge": "33%", "drainTimeoutInMinutes": 45}),
                json!({"maxSurge": "33%", "maxUnavailable": 0, "drainTimeout": "45m"}),
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
