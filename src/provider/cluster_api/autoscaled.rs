//! Which `MachineDeployments` are scaled by something other than Belay. Belay never writes their replicas.

use kube::core::DynamicObject;

use super::{
    found::{Found, Place},
    kinds,
};

/// The cluster autoscaler scales a `MachineDeployment` that has both of these annotations.
/// Source: Cluster API's book, "Using the Cluster Autoscaler", "Enabling Autoscaling".
const BOUNDS: [&str; 2] = [
    "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size",
    "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size",
];

/// Returns what scales a `MachineDeployment`. None if Belay does.
pub fn scaled_by(found: &Found, deployment: &DynamicObject) -> Option<String> {
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let bounds = BOUNDS.map(|bound| kinds::annotation(deployment, bound));
    if let [Some(least), Some(most)] = bounds {
        return Some(format!(
            "the cluster autoscaler ({least} to {most} nodes, by the annotations of MachineDeployment {name})"
        ));
    }
    // Without replicas, Cluster API assumes that somebody else decides the number.
    let is_open = found.spec_of(deployment)["replicas"].is_null();
    let is_of_topology = matches!(found.place(deployment), Place::Topology(_));
    (is_open && is_of_topology).then(|| {
        format!(
            "something other than Belay (the topology of Cluster {} sets no replicas for MachineDeployment {name})",
            found.spec.cluster_name
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::{
        api::{ClusterApiProviderSpec, ProviderSpec},
        provider::{
            cluster_api::{kinds::TOPOLOGY_NAME, objects::Objects},
            engine::Site,
        },
    };

    use super::*;

    fn object(kind: &str, metadata: &Value, spec: &Value) -> Arc<DynamicObject> {
        let object = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": kind,
            "metadata": metadata, "spec": spec});
        Arc::new(serde_json::from_value(object).expect("an object"))
    }

    /// Returns a Cluster whose topology has the pool `md-0` with these replicas, and the pool's `MachineDeployment`.
    fn found(replicas: &Value, annotations: &Value) -> Found {
        let entry = json!({"class": "worker", "name": "md-0", "replicas": replicas});
        let topology = json!({"topology": {"version": "v1.36.0",
            "workers": {"machineDeployments": [entry]}}});
        let named = json!({"name": "demo-md-0-x", "labels": {TOPOLOGY_NAME: "md-0"},
            "annotations": annotations});
        let spec = ClusterApiProviderSpec {
            cluster_name: "demo".into(),
            ..ClusterApiProviderSpec::default()
        };
        let site = Site {
            namespace: "team".into(),
            cluster: "demo".into(),
            provider: ProviderSpec {
                cluster_api: Some(spec),
                ..ProviderSpec::default()
            },
        };
        let objects = Objects {
            cluster: Some(object("Cluster", &json!({"name": "demo"}), &topology)),
            deployments: vec![object("MachineDeployment", &named, &json!({"replicas": 3}))],
            ..Objects::default()
        };
        Found::of(&site, objects).expect("a Cluster")
    }

    #[test]
    fn a_machine_deployment_with_bounds_or_without_replicas_is_scaled_by_others() {
        let [min, max] = BOUNDS;
        for (replicas, annotations, by) in [
            (json!(3), json!({}), None),
            (json!(3), json!({min: "1"}), None),
            (
                json!(3),
                json!({min: "1", max: "5"}),
                Some(
                    "the cluster autoscaler (1 to 5 nodes, by the annotations of MachineDeployment demo-md-0-x)",
                ),
            ),
            (
                Value::Null,
                json!({}),
                Some(
                    "something other than Belay (the topology of Cluster demo sets no replicas for MachineDeployment demo-md-0-x)",
                ),
            ),
        ] {
            let found = found(&replicas, &annotations);
            let deployment = found.deployment("md-0").expect("it is there");
            let scaled_by = scaled_by(&found, deployment);
            assert_eq!(scaled_by.as_deref(), by, "{replicas} {annotations}");
        }
    }
}
