//! The manifests that take an existing EKS cluster under Belay's operations.

use kube::Client;
use serde_json::{Value, json};

use crate::{
    api::{AwsProviderSpec, ProviderSpec},
    provider::{
        adopted::{Adopted, credentials::Person, manifest, pools_of_others},
        engine::{EngineError, Site},
        nodes::passing,
        requests::{Failure, Passing},
    },
};

use super::{
    eks::Eks,
    engine::missing,
    resource::{Nodegroup, Pace, Share},
    settings::Settings,
};

/// The manifests for an EKS cluster, in a namespace. `name` is the `ManagedCluster`'s.
///
/// # Errors
/// Where it can't be read.
pub async fn manifests(
    client: &Client,
    settings: &Settings,
    (namespace, name): (&str, &str),
    spec: &AwsProviderSpec,
) -> anyhow::Result<Adopted> {
    let eks = Eks::new(client.clone(), settings, Person::AtTheKeyboard)?;
    let adopted = adopted(client, &eks, (namespace, name), spec).await;
    adopted.map_err(|error| {
        let Passing {
            reason, message, ..
        } = error.as_passing();
        anyhow::anyhow!("{reason}: {message}")
    })
}

async fn adopted(
    client: &Client,
    eks: &Eks,
    (namespace, name): (&str, &str),
    spec: &AwsProviderSpec,
) -> Result<Adopted, EngineError> {
    let site = Site {
        namespace: namespace.to_owned(),
        cluster: name.to_owned(),
        provider: ProviderSpec {
            aws: Some(spec.clone()),
            ..ProviderSpec::default()
        },
    };
    let control_plane = eks.control_plane(&site).await?;
    let control_plane = control_plane.ok_or_else(|| Failure::Final(missing(spec, None)))?;
    let version = control_plane.version;
    let taken = pools_of_others(client, namespace, name).await;
    let taken = taken.map_err(|error| Failure::Passing(passing(&error)))?;
    let (mut pools, mut names) = (Vec::new(), serde_json::Map::new());
    for group in eks.nodegroups(&site).await? {
        let Some(now) = eks.nodegroup(&site, &group).await? else {
            continue;
        };
        let pool = pool_name(&group, name, taken.contains(&group));
        if pool != group {
            names.insert(pool.clone(), json!({"name": group}));
        }
        let mut asked = pool_spec(&now);
        asked["clusterName"] = json!(name);
        if let Some(own) = now.version.filter(|own| Some(*own) != version) {
            asked["kubernetesVersion"] = json!(own.to_string());
        }
        pools.push(manifest("AgentPool", namespace, &pool, &asked));
    }
    let mut provider = json!(spec);
    if !names.is_empty() {
        provider["nodegroups"] = Value::Object(names);
    }
    let asked = json!({"kubernetesVersion": version.map(|version| version.to_string()),
        "provider": {"aws": provider}});
    let mut manifests = vec![manifest("ManagedCluster", namespace, name, &asked)];
    manifests.append(&mut pools);
    Ok(Adopted {
        manifests,
        left_out: Vec::new(),
    })
}

/// The name of a nodegroup's `AgentPool`: its own, as far as Kubernetes allows it and no other pool has it.
fn pool_name(group: &str, cluster: &str, is_taken: bool) -> String {
    let small = group.to_lowercase().replace('_', "-");
    let small = small.trim_matches('-');
    if is_taken {
        format!("{cluster}-{small}")
    } else {
        small.to_owned()
    }
}

/// What an `AgentPool` asks for that is as its nodegroup is now.
fn pool_spec(now: &Nodegroup) -> Value {
    let settings = now.settings();
    let mut spec = json!({"mode": settings.mode, "count": now.sizes.desired,
        "upgradeSettings": upgrade_settings(now.pace)});
    if let Some(size) = &now.instance_type {
        spec["vmSize"] = json!(size);
    }
    if now.is_spot {
        spec["scaleSetPriority"] = json!("Spot");
    }
    if !settings.labels.is_empty() {
        spec["nodeLabels"] = json!(settings.labels);
    }
    if !settings.taints.is_empty() {
        spec["nodeTaints"] = json!(settings.taints);
    }
    spec
}

/// How nodes are replaced now, in the words of an `AgentPool`.
fn upgrade_settings(pace: Pace) -> Value {
    let at_once = match pace.at_once {
        Share::Nodes(nodes) => json!(nodes),
        Share::Percent(percent) => json!(format!("{percent}%")),
    };
    if pace.is_minimal {
        json!({"maxSurge": 0, "maxUnavailable": at_once})
    } else {
        json!({"maxSurge": at_once, "maxUnavailable": 0})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_nodes_are_replaced_is_taken_over_in_the_words_of_an_agent_pool() {
        for (at_once, is_minimal, asked) in [
            (
                Share::Nodes(1),
                false,
                json!({"maxSurge": 1, "maxUnavailable": 0}),
            ),
            (
                Share::Percent(33),
                false,
                json!({"maxSurge": "33%", "maxUnavailable": 0}),
            ),
            (
                Share::Nodes(2),
                true,
                json!({"maxSurge": 0, "maxUnavailable": 2}),
            ),
        ] {
            let pace = Pace {
                at_once,
                is_minimal,
            };
            assert_eq!(upgrade_settings(pace), asked);
        }
    }

    #[test]
    fn a_nodegroup_whose_name_kubernetes_doesnt_take_gets_one_that_it_does() {
        for (group, is_taken, pool) in [
            ("np1", false, "np1"),
            ("General_Purpose", false, "general-purpose"),
            ("np1", true, "demo-np1"),
        ] {
            assert_eq!(pool_name(group, "demo", is_taken), pool);
        }
    }
}
