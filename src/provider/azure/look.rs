//! The observed state of a cluster, from one look at it.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::{AzureProviderSpec, OperationSpec, OperationTarget, OperationType, TargetKind},
    lifecycle::{BegunByOthers, ControlPlaneView, NodeView, Observation},
    provider::{adopted::handle::Handle, engine::Site},
};

use super::resource::Properties;

/// Returns the node pools of a cluster, each with its name in Azure.
pub fn node_pools(cluster: &Value) -> impl Iterator<Item = (&str, Properties<'_>)> {
    let profiles = cluster["properties"]["agentPoolProfiles"].as_array();
    let profiles = profiles.into_iter().flatten();
    profiles.filter_map(|profile| Some((profile["name"].as_str()?, Properties(profile))))
}

/// Returns the observed state of a cluster.
pub fn observation(cluster: &Value, settings: &AzureProviderSpec) -> Observation {
    let control_plane = Properties(&cluster["properties"]);
    let mut seen = Observation {
        control_plane: control_plane.version().map(|version| ControlPlaneView {
            version,
            running: control_plane.is_on(),
            changing_to: None,
        }),
        is_unsettled: control_plane.state() == "Failed",
        ..Observation::default()
    };
    for (name, node_pool) in node_pools(cluster) {
        let pool = settings.pool_of(name).to_owned();
        let is_on = control_plane.is_on() && node_pool.is_on();
        let count = if is_on { node_pool.count() } else { 0 };
        seen.kept.insert(pool.clone(), count);
        if !is_on {
            seen.off.insert(pool.clone());
        }
        if let Some((least, most)) = node_pool.autoscaled() {
            let by = format!("the cluster autoscaler of AKS ({least} to {most} nodes)");
            seen.scaled_by_others.insert(pool.clone(), by);
        }
        seen.nodes.insert(pool, nodes(name, node_pool, count));
    }
    seen
}

/// Returns the nodes of a node pool. Azure shows how many nodes it has, but not their names.
fn nodes(name: &str, node_pool: Properties<'_>, count: usize) -> Vec<NodeView> {
    let Some(version) = node_pool.version() else {
        return Vec::new();
    };
    let node = |number: usize| NodeView {
        name: format!("{name}-{number}"),
        version,
        ready: node_pool.state() != "Failed",
        ready_since: None,
        cordoned: false,
        joining: false,
        deleting: false,
        settings: node_pool.node_settings(),
        drained_by: None,
        made_by: None,
        undrainable: None,
        quarantined: false,
        created: Timestamp::UNIX_EPOCH,
    };
    (0..count).map(node).collect()
}

/// A resource on which an operation is running.
pub struct Moving<'a> {
    /// The name of the node pool in Azure. None for the cluster.
    pub node_pool: Option<&'a str>,
    now: Properties<'a>,
}

/// Returns the resources on which an operation is running: only the cluster if one is running there, because it
/// includes all node pools. Otherwise the node pools.
pub fn moving(cluster: &Value) -> Vec<Moving<'_>> {
    let whole = Properties(&cluster["properties"]);
    if whole.is_moving() {
        return vec![Moving {
            node_pool: None,
            now: whole,
        }];
    }
    let moving = node_pools(cluster).filter(|(_, node_pool)| node_pool.is_moving());
    let moving = moving.map(|(name, now)| Moving {
        node_pool: Some(name),
        now,
    });
    moving.collect()
}

impl Moving<'_> {
    /// Returns the running operation as somebody else's Operation. None if no Operation can follow it: if a node pool
    /// is being created or deleted, or if the operation is already stopping.
    pub fn begun(
        &self,
        cluster: &Value,
        site: &Site,
        settings: &AzureProviderSpec,
        operation: String,
    ) -> Option<BegunByOthers> {
        let Self { node_pool, now } = *self;
        let type_ = match now.state() {
            "Upgrading" => OperationType::Upgrade,
            "Scaling" => OperationType::Scale,
            "Starting" => OperationType::Start,
            "Stopping" => OperationType::Stop,
            "Updating" | "UpgradingNodeImageVersion" => OperationType::Update,
            _ => return None,
        };
        let target = match node_pool {
            None => OperationTarget {
                kind: TargetKind::ManagedCluster,
                name: site.cluster.clone(),
            },
            Some(name) => OperationTarget {
                kind: TargetKind::AgentPool,
                name: settings.pool_of(name).to_owned(),
            },
        };
        let handle = Handle {
            node_pool: node_pool.map(ToOwned::to_owned),
            operation,
        };
        let by = cluster["systemData"]["lastModifiedBy"].as_str();
        let is_upgrade = type_ == OperationType::Upgrade;
        let version = now.wanted_version().filter(|_| is_upgrade);
        Some(BegunByOthers {
            handle: handle.to_string(),
            spec: OperationSpec {
                target,
                kubernetes_version: version.map(|version| version.to_string()),
                count: (type_ == OperationType::Scale)
                    .then(|| i32::try_from(now.count()).ok())
                    .flatten(),
                type_,
                timeout: None,
            },
            by: by.unwrap_or("somebody in Azure").to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::ProviderSpec;

    use super::*;

    fn cluster() -> Value {
        json!({"systemData": {"lastModifiedBy": "ada@example.com"}, "properties": {
        "provisioningState": "Succeeded", "powerState": {"code": "Running"},
        "currentKubernetesVersion": "1.34.1", "agentPoolProfiles": [
            {"name": "system", "count": 2, "mode": "System", "currentOrchestratorVersion": "1.34.1",
                "provisioningState": "Succeeded", "powerState": {"code": "Running"}},
            {"name": "off", "count": 3, "mode": "User", "currentOrchestratorVersion": "1.34.1",
                "provisioningState": "Succeeded", "powerState": {"code": "Stopped"}},
            {"name": "busy", "count": 5, "mode": "User", "currentOrchestratorVersion": "1.33.4",
                "provisioningState": "Scaling", "powerState": {"code": "Running"},
                "enableAutoScaling": true, "minCount": 1, "maxCount": 9},
        ]}})
    }

    #[test]
    fn a_stopped_pool_has_no_nodes() {
        let seen = observation(&cluster(), &AzureProviderSpec::default());
        let counts: Vec<_> = seen
            .nodes
            .iter()
            .map(|(pool, nodes)| (pool.as_str(), nodes.len()))
            .collect();
        assert_eq!(counts, [("busy", 5), ("off", 0), ("system", 2)]);
        assert_eq!(seen.kept["off"], 0);
        assert!(seen.off.iter().eq(["off"]));
        let by = &seen.scaled_by_others["busy"];
        assert_eq!(by, "the cluster autoscaler of AKS (1 to 9 nodes)");
    }

    #[test]
    fn an_operation_of_azure_is_shown_as_an_operation_of_belay() {
        let (mut cluster, settings) = (cluster(), AzureProviderSpec::default());
        let site = Site {
            namespace: "team".into(),
            cluster: "demo".into(),
            provider: ProviderSpec::default(),
        };
        let begun = |cluster: &Value, operation: &str| {
            let [moving] = &moving(cluster)[..] else {
                panic!("one is moving")
            };
            let node_pool = moving.node_pool.map(ToOwned::to_owned);
            let begun = moving.begun(cluster, &site, &settings, operation.into());
            (node_pool, begun.expect("an Operation"))
        };
        let (node_pool, scale) = begun(&cluster, "0a");
        assert_eq!(node_pool.as_deref(), Some("busy"));
        assert_eq!(scale.handle, "nodepool/busy/0a");
        assert_eq!(
            (scale.spec.type_, scale.spec.count),
            (OperationType::Scale, Some(5))
        );
        assert_eq!(scale.by, "ada@example.com");
        cluster["properties"]["provisioningState"] = json!("Upgrading");
        cluster["properties"]["kubernetesVersion"] = json!("1.35.0");
        let (node_pool, upgrade) = begun(&cluster, "0b");
        assert_eq!(node_pool, None);
        assert_eq!(upgrade.handle, "cluster/0b");
        assert_eq!(upgrade.spec.kubernetes_version.as_deref(), Some("1.35.0"));
        assert_eq!(upgrade.spec.target.name, "demo");
    }
}
