//! How a Cluster is created: with one write, from a `ClusterClass`, without workers. The workers are added pool by
//! pool.

use kube::{Client, core::DynamicObject};
use serde_json::json;

use crate::{
    api::OperationError,
    lifecycle::Stage,
    machinery::post_params,
    provider::engine::{Change, EngineError, Site},
};

use super::{
    answers::failed,
    found::no_cluster,
    handle::Handle,
    kinds::{Kind, MADE_FOR},
};

/// Creates the Cluster for a change of its control plane.
///
/// # Errors
/// `ClusterNotFound` if the Cluster should already exist, or if the change isn't that of its control plane.
/// `ClusterExists` if somebody else has created it.
pub async fn make(
    client: &Client,
    site: &Site,
    change: &Change,
    handle: &Handle,
) -> Result<(), EngineError> {
    let Some(mut cluster) = manifest(site, &change.stage) else {
        return Err(EngineError::Final(no_cluster(site)));
    };
    handle.mark(&mut cluster, change);
    let clusters = Kind::Cluster.api(client, &site.namespace);
    match clusters.create(&post_params(), &cluster).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Err(EngineError::Final(exists_already(&cluster)))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Returns the Cluster. None if it should already exist, or if the stage isn't that of its control plane.
fn manifest(site: &Site, stage: &Stage) -> Option<DynamicObject> {
    let Stage::ControlPlane(Some(goal)) = stage else {
        return None;
    };
    let settings = site.provider.cluster_api.as_ref()?;
    let creation = settings.create.as_ref()?;
    let mut topology =
        json!({"classRef": creation.class_ref, "version": format!("v{}", goal.version)});
    if let Some(replicas) = creation.control_plane_replicas {
        topology["controlPlane"] = json!({"replicas": replicas});
    }
    if !creation.variables.is_empty() {
        topology["variables"] = json!(creation.variables);
    }
    let mut cluster = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": {
            "name": settings.cluster_name,
            "namespace": site.namespace,
            "annotations": {MADE_FOR: site.cluster},
        },
        "spec": {"topology": topology},
    });
    if let Some(network) = &creation.cluster_network {
        cluster["spec"]["clusterNetwork"] = network.clone();
    }
    serde_json::from_value(cluster).ok()
}

fn exists_already(cluster: &DynamicObject) -> OperationError {
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    OperationError::new(
        "ClusterExists",
        format!(
            "Cluster {name} already exists, and Belay didn't create it for this ManagedCluster: to manage the existing Cluster, create the ManagedCluster without spec.provider.clusterAPI.create (kubectl belay adopt cluster-api {name} prints the manifest)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{ClusterApiProviderSpec, ProviderSpec},
        lifecycle::ControlPlaneGoal,
    };

    fn site(settings: serde_json::Value) -> Site {
        let settings = serde_json::from_value::<ClusterApiProviderSpec>(settings);
        Site {
            namespace: "fleet".into(),
            cluster: "prod".into(),
            provider: ProviderSpec {
                cluster_api: Some(settings.expect("settings")),
                ..ProviderSpec::default()
            },
        }
    }

    #[test]
    fn a_new_cluster_has_the_settings_that_its_class_needs() {
        let goal = ControlPlaneGoal {
            version: "1.36.0".parse().expect("a version"),
            running: true,
        };
        let change = Change {
            stage: Stage::ControlPlane(Some(goal)),
            token: "uid-0".into(),
        };
        let create = json!({"classRef": {"name": "aws"}, "controlPlaneReplicas": 3, "workerClass": "worker",
            "variables": [{"name": "region", "value": {"zones": ["a", 1]}}],
            "clusterNetwork": {"pods": {"cidrBlocks": ["10.0.0.0/16"]}}});
        let made = manifest(
            &site(json!({"clusterName": "c", "create": create})),
            &change.stage,
        );
        let mut made = made.expect("a Cluster");
        Handle::of(&change).mark(&mut made, &change);
        assert_eq!(
            made.data["spec"],
            json!({"topology": {"classRef": {"name": "aws"}, "version": "v1.36.0", "controlPlane": {"replicas": 3},
                "variables": [{"name": "region", "value": {"zones": ["a", 1]}}]},
                "clusterNetwork": {"pods": {"cidrBlocks": ["10.0.0.0/16"]}}})
        );
        let annotations = made.metadata.annotations.expect("annotations");
        assert_eq!(annotations.get(MADE_FOR).map(String::as_str), Some("prod"));
        assert!(
            annotations.values().any(|value| value == "uid-0"),
            "it carries the change's token"
        );
        assert!(manifest(&site(json!({"clusterName": "c"})), &change.stage).is_none());
    }
}
