//! Clusters of Cluster API that both Flux and Belay change, as docs/cluster-api.md describes.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{Operation, OperationPhase, OperationType};
use kube::api::ListParams;

use super::{drift::changed_by_reconcile, fleet::Fleet, machines::is_ready, stage::Stage};

/// Makes Flux create the Cluster and never change it.
const CREATED_ONCE: &str =
    "name: demo\n  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}\n";

async fn wait_for_machines(fleet: &Fleet, count: usize) {
    fleet
        .eventually("all Machines are ready", || async {
            let machines = fleet.of_cluster_api("Machine").await;
            machines.len() == count && machines.iter().all(is_ready)
        })
        .await;
}

async fn version(fleet: &Fleet) -> String {
    let clusters = fleet.of_cluster_api("Cluster").await;
    let version = &clusters[0].data["spec"]["topology"]["version"];
    version.as_str().expect("a version").to_owned()
}

pub async fn an_adopted_cluster_is_upgraded_from_git_and_flux_reverts_nothing(stage: Arc<Stage>) {
    let _cluster_api = stage.start_cluster_api().await;
    let fleet = Fleet::with(&stage, "cluster-api", &["class.yaml"]).await;
    let cluster =
        std::fs::read_to_string("examples/cluster-api/cluster.yaml").expect("the example");
    let cluster = cluster.replace("name: demo\n", CREATED_ONCE);
    let cluster = cluster.replace("replicas: 3", "replicas: 1");
    let revision = fleet.add("cluster.yaml", &cluster);
    fleet.is_ready_at(&revision).await;
    wait_for_machines(&fleet, 3).await;

    let adopted = stage.plugin(&fleet.namespace, &["adopt", "cluster-api", "demo"]);
    let revision = fleet.add("belay.yaml", &adopted);
    fleet.is_ready_at(&revision).await;
    let operations = fleet.api::<Operation>().list(&ListParams::default()).await;
    assert!(operations.expect("operations").items.is_empty());

    let revision = fleet.change("belay.yaml", "1.35.0", "1.36.0");
    fleet.is_ready_at(&revision).await;
    let upgrade = (OperationType::Upgrade, OperationPhase::Succeeded);
    fleet.operation(upgrade.0, upgrade.1).await;
    assert_eq!(version(&fleet).await, "v1.36.0");

    // Git still has the old version for the Cluster itself.
    let skipped = format!("Cluster/{}/demo skipped", fleet.namespace);
    let changed = changed_by_reconcile(&fleet).await;
    assert_eq!(changed, BTreeSet::from([skipped]));
    assert_eq!(version(&fleet).await, "v1.36.0");
    fleet.operation(upgrade.0, upgrade.1).await;
}
