//! The manifests that put an existing Cluster under Belay's operations.

use kube::{Client, ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    api::{ClusterApiProviderSpec, ProviderSpec},
    provider::{
        adopted::{Adopted, Adoption},
        engine::{EngineError, Site},
        requests::Passing,
    },
};

use super::{
    found::{Found, no_cluster},
    kinds::{self, Kind},
    look,
};

/// Returns the manifests for the Cluster of that name.
///
/// # Errors
/// If it can't be read, or has no control plane yet.
pub async fn manifests(client: &Client, namespace: &str, name: &str) -> Result<Adopted, Passing> {
    let adopted = adopted(client, namespace, name).await;
    adopted.map_err(|error| error.as_passing())
}

async fn adopted(client: &Client, namespace: &str, name: &str) -> Result<Adopted, EngineError> {
    let site = Site {
        namespace: namespace.to_owned(),
        cluster: name.to_owned(),
        provider: ProviderSpec {
            cluster_api: Some(ClusterApiProviderSpec {
                cluster_name: name.to_owned(),
                ..ClusterApiProviderSpec::default()
            }),
            ..ProviderSpec::default()
        },
    };
    let found = Found::read(client, &site).await?;
    let found = found.ok_or_else(|| EngineError::Final(no_cluster(&site)))?;
    let seen = look::observation(&found, &site)?;
    let version = seen
        .control_plane
        .map(|control_plane| control_plane.version);
    let adoption = Adoption::begin(client, (namespace, name), version).await;
    let mut adoption = adoption.map_err(|error| super::answers::failed(&error))?;
    for (deployment, object) in found.pools() {
        let wanted = found.wanted(object);
        let spec = json!({"count": wanted.replicas,
            "upgradeSettings": upgrade_settings(&found, object)});
        adoption.add(deployment, wanted.version, spec);
    }
    let mut provider = json!({"clusterName": name});
    if !adoption.names().is_empty() {
        provider["machineDeployments"] = json!(adoption.names());
    }
    Ok(Adopted {
        manifests: adoption.finish(json!({"provider": {"clusterAPI": provider}})),
        left_out: machine_pools(client, namespace, name).await,
    })
}

/// Returns how Machines are replaced now, in the terms of an `AgentPool`.
fn upgrade_settings(found: &Found, deployment: &DynamicObject) -> Value {
    let of = |field: &str, or: u64| {
        let own = format!("/spec/rollout/strategy/rollingUpdate/{field}");
        let value = deployment.data.pointer(&own);
        value.cloned().unwrap_or_else(|| json!(or))
    };
    let mut settings =
        json!({"maxSurge": of("maxSurge", 1), "maxUnavailable": of("maxUnavailable", 0)});
    let timeout = &found.machine_spec_of(deployment)["deletion"]["nodeDrainTimeoutSeconds"];
    if let Some(seconds) = timeout.as_u64().filter(|seconds| *seconds > 0) {
        settings["drainTimeout"] = json!(format!("{seconds}s"));
    }
    let soak = &found.machine_spec_of(deployment)["minReadySeconds"];
    if let Some(seconds) = soak.as_u64().filter(|seconds| *seconds > 0) {
        settings["nodeSoakDuration"] = json!(format!("{seconds}s"));
    }
    settings
}

async fn machine_pools(client: &Client, namespace: &str, name: &str) -> Vec<String> {
    let pools = Kind::MachinePool.api(client, namespace);
    let pools = match pools.list(&kinds::of_cluster(name)).await {
        Ok(pools) => pools.items,
        // Cluster API may be installed without MachinePools.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => {
            return vec![format!(
                "MachinePools: Belay doesn't manage them, and couldn't list them: {error}"
            )];
        }
    };
    let left_out = |pool: DynamicObject| {
        let name = pool.name_any();
        format!(
            "MachinePool {name}: Belay doesn't manage MachinePools; Cluster API continues to manage it"
        )
    };
    pools.into_iter().map(left_out).collect()
}
