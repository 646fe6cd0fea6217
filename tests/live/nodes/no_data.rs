//! Missing data doesn't mean that nothing exists: while the API server is down, or after a watch breaks, Belay deletes
//! no protected pod and no node.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::http::Method;
use belay::api::OperationType;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::stage::{
    belay::{Belay, World, is_cordoned},
    proxy::{Fault, status},
};

/// Returns the uids of the nodes and of the workload's pods.
async fn uids(belay: &Belay) -> BTreeSet<String> {
    let pods = Api::<Pod>::namespaced(belay.client.clone(), &belay.namespace);
    let pods = pods.list(&ListParams::default().labels("app=web")).await;
    let of_pods = pods
        .expect("pods")
        .items
        .into_iter()
        .filter_map(|pod| pod.uid());
    let nodes = belay.nodes().await.into_iter();
    of_pods.chain(nodes.filter_map(|node| node.uid())).collect()
}

/// Creates a cluster whose upgrade is blocked by a budget. Returns the upgrade's name, and the uids.
async fn blocked_upgrade_and_uids(belay: &Belay) -> (String, BTreeSet<String>) {
    belay.cluster_with_blocked_drains(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    (upgrade, uids(belay).await)
}

pub async fn repeated_api_server_kills_delete_no_protected_pod_and_no_node(_: Arc<World>) {
    let world = World::start().await;
    let belay = Belay::start(&world).await;
    let (upgrade, before) = blocked_upgrade_and_uids(&belay).await;
    for _ in 0..10 {
        world.kill_api_server().await;
        // The pause is the outage under test.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        world.start_api_server().await;
        // The operator reports the block again when it has read the budget and the pods again.
        belay.stays_blocked(&upgrade).await;
        assert_eq!(uids(&belay).await, before);
    }
    belay.set_min_available(0).await;
    belay.succeeds(&upgrade).await;
    belay.kill_operator();
    belay.check_history();
}

pub async fn a_broken_watch_deletes_no_protected_pod_and_no_node(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    let (upgrade, before) = blocked_upgrade_and_uids(&belay).await;
    for resource in [
        "pods",
        "nodes",
        "poddisruptionbudgets",
        "operations",
        "agentpools",
        "managedclusters",
        "kwokcontrolplanes",
    ] {
        for _ in 0..3 {
            proxy.cut_watches(resource);
            belay.stays_blocked(&upgrade).await;
            assert_eq!(uids(&belay).await, before, "{resource}");
        }
    }
    let cordoned = belay.nodes().await.into_iter().filter(is_cordoned);
    assert_eq!(cordoned.count(), 1);
    belay.abort(&upgrade, "enough").await;
    belay.is_canceled(&upgrade).await;
}

impl Belay {
    /// Waits until the operator has reconciled again, and the operation is blocked as before. After this reconcile, a
    /// wrong deletion would be visible.
    async fn stays_blocked(&self, operation: &str) {
        let reconciles = self.log().matches("decided").count();
        self.annotate::<belay::api::ManagedCluster>(
            "demo",
            serde_json::json!({"reconciles": reconciles.to_string()}),
        )
        .await;
        self.eventually("the operator has reconciled again", || async {
            self.log().matches("decided").count() > reconciles
        })
        .await;
        self.is_blocked(operation).await;
    }
}

pub async fn a_drain_notices_that_a_pod_is_gone_without_a_watch(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_workload(1, 1).await;
    let short_grace_period =
        r#"{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}"#;
    belay.kubectl(&["patch", "deployment", "web", "-p", short_grace_period]);
    belay.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    belay.workload_is_healthy(1).await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    // From now on, the operator sees no change of the node's pods.
    let refused = Fault::Answer(503, status(503, "ServiceUnavailable", "not now"));
    proxy.add_fault(Method::GET, "/pods?&watch=true", "", refused, usize::MAX);
    proxy.cut_watches("pods");
    belay.set_min_available(0).await;
    belay.succeeds(&scale).await;
    assert!(
        !proxy.faulted_requests().is_empty(),
        "the watch was refused"
    );
    assert!(belay.nodes().await.is_empty());
}
