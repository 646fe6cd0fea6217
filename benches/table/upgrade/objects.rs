//! Nodes that kwok simulates, and pods on them.

use belay::api::CLUSTER_LABEL;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{BARE, BELAY, CLUSTER, POOLS, SCRIPT, VERSIONS};
use crate::stage::{Stage, until};

/// The label with the owner of a node that isn't Belay's.
const FLEET: &str = "fleet";

/// Creates the nodes of a fleet's pools with the first version, and waits until they are Ready.
pub async fn make_nodes(stage: &Stage, fleet: &str, nodes: usize) -> anyhow::Result<()> {
    let all = (0..POOLS).flat_map(|pool| (1..=nodes).map(move |number| (pool, number)));
    let items: Vec<_> = all
        .map(|(pool, number)| node(fleet, &name(fleet, pool, VERSIONS[0], number), VERSIONS[0]))
        .collect();
    stage.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
    let ready = Api::<Node>::all(stage.client.clone());
    until("Ready", async || {
        let ours = ListParams::default().labels(&format!("{FLEET}={fleet}"));
        let all = ready.list(&ours).await?.items;
        Ok(all.iter().all(is_ready))
    })
    .await
}

/// Returns the name of such a node.
pub fn name(fleet: &str, pool: usize, version: &str, number: usize) -> String {
    format!("{fleet}-p{pool}-{version}-{number}")
}

/// Whether a node is Ready.
pub fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|it| it.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}

/// Returns a node that kwok simulates, as the provider kwok creates it.
pub fn node(fleet: &str, name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {FLEET: fleet, "version": version, "kubernetes.io/hostname": name},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
    })
}

/// Runs a pod on each node of all fleets.
pub fn make_pods(stage: &Stage, nodes: usize) -> anyhow::Result<()> {
    let of = |fleet: &str| json!({FLEET: fleet});
    for (fleet, on) in [
        (BELAY, json!({CLUSTER_LABEL: CLUSTER})),
        (SCRIPT, of(SCRIPT)),
        (BARE, of(BARE)),
    ] {
        stage.apply(&deployment(fleet, &on, nodes * POOLS))?;
    }
    Ok(())
}

fn deployment(name: &str, on: &Value, replicas: usize) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": BELAY},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": on,
                    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
                    "containers": [{"name": "it", "image": "it"}],
                },
            },
        },
    })
}

/// Waits until all pods run.
pub async fn pods_run(stage: &Stage) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(stage.client.clone(), BELAY);
    until("with all pods", async || {
        let all = deployments.list(&ListParams::default()).await?.items;
        Ok(all.iter().all(|deployment| {
            let ready = deployment.status.as_ref().and_then(|it| it.ready_replicas);
            ready == deployment.spec.replicas
        }))
    })
    .await
}
