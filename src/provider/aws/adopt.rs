//! The manifests that put an existing EKS cluster under Belay's operations.

use kube::Client;
use serde_json::{Value, json};

use crate::{
    api::{AwsNodegroup, AwsProviderSpec, ProviderSpec},
    provider::{
        adopted::{Adopted, Adoption, credentials::Person},
        engine::{EngineError, Site},
        nodes::passing,
        requests::Failure,
    },
};

use super::{
    eks::Eks,
    engine::missing,
    resource::{Nodegroup, Pace, Share},
    settings::Settings,
};

/// Returns the manifests for an EKS cluster, in a namespace. `name` is the `ManagedCluster`'s.
///
/// # Errors
/// If it can't be read.
pub async fn manifests(
    client: &Client,
    settings: &Settings,
    (namespace, name): (&str, &str),
    spec: &AwsProviderSpec,
) -> anyhow::Result<Adopted> {
    let eks = Eks::new(client.clone(), settings, Person::User)?;
    let adopted = adopted(client, &eks, (namespace, name), spec).await;
    Ok(adopted.map_err(|error| error.as_passing())?)
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
    let adoption = Adoption::begin(client, (namespace, name), control_plane.version).await;
    let mut adoption = adoption.map_err(|error| Failure::Passing(passing(&error)))?;
    for group in eks.nodegroups(&site).await? {
        if let Some(now) = eks.nodegroup(&site, &group).await? {
            adoption.add(&group, now.version, pool_spec(&now));
        }
    }
    let named = |name: &String| AwsNodegroup {
        name: Some(name.clone()),
        ..AwsNodegroup::default()
    };
    let names = adoption.names().iter();
    let provider = AwsProviderSpec {
        nodegroups: names
            .map(|(pool, name)| (pool.clone(), named(name)))
            .collect(),
        ..spec.clone()
    };
    Ok(Adopted {
        manifests: adoption.finish(json!({"provider": {"aws": provider}})),
        left_out: Vec::new(),
    })
}

/// Returns the spec of an `AgentPool` that asks for its nodegroup as it is now.
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

/// Returns how nodes are replaced now, in the terms of an `AgentPool`.
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
    fn the_update_config_of_a_nodegroup_is_converted_to_upgrade_settings() {
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
}
