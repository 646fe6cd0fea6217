//! Missing data doesn't mean that nothing exists: while the API server is away, or a watch breaks off, no guarded pod
//! and no node is deleted.

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
async fn all(belay: &Belay) -> BTreeSet<String> {
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

/// Creates a cluster whose upgrade hangs on a budget: its drain has begun.
async fn hangs(belay: &Belay) -> (String, BTreeSet<String>) {
    belay.guarded_cluster(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    (upgrade, all(belay).await)
}

pub async fn repeated_api_server_kills_delete_no_protected_pod_and_no_node(_: Arc<World>) {
    let world = World::start().await;
    let belay = Belay::start(&world).await;
    let (upgrade, before) = hangs(&belay).await;
    for _ in 0..10 {
        world.kill_api_server().await;
        // The pause is the outage under test.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        world.start_api_server().await;
        // When the operator has read the budget and the pods again, it reports the block again.
        belay.rests_in_block(&upgrade).await;
        assert_eq!(all(&belay).await, before);
    }
    belay.keep_available(0).await;
    belay.succeeds(&upgrade).await;
    belay.kill_operator();
    belay.check_history();
}

pub async fn a_broken_watch_deletes_no_protected_pod_and_no_node(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    let (upgrade, before) = hangs(&belay).await;
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
            proxy.cut(resource);
            belay.rests_in_block(&upgrade).await;
            assert_eq!(all(&belay).await, before, "{resource}");
        }
    }
    let cordoned = belay.nodes().await.into_iter().filter(is_cordoned);
    assert_eq!(cordoned.count(), 1);
    belay.abort(&upgrade, "enough").await;
    belay.is_canceled(&upgrade).await;
}

impl Belay {
    /// Waits until the operator has reconciled again and the operation is blocked as before. A change that the later
    /// reconcile sees shows that anything to be deleted would be gone by then.
    async fn rests_in_block(&self, operation: &str) {
        let looks = self.log().matches("decided").count();
        self.annotate::<belay::api::ManagedCluster>(
            "demo",
            serde_json::json!({"looked": looks.to_string()}),
        )
        .await;
        self.eventually("looks again", || async {
            self.log().matches("decided").count() > looks
        })
        .await;
        self.is_blocked(operation).await;
    }
}

pub async fn a_drain_notices_that_a_pod_is_gone_without_a_watch(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_workload(1, 1).await;
    let quick = r#"{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}"#;
    belay.kubectl(&["patch", "deployment", "web", "-p", quick]);
    belay.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    belay.is_guarded(1).await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    // From now on the operator sees no change of the node's pods.
    let refused = Fault::Answer(503, status(503, "ServiceUnavailable", "not now"));
    proxy.on(Method::GET, "/pods?&watch=true", "", refused, usize::MAX);
    proxy.cut("pods");
    belay.keep_available(0).await;
    belay.succeeds(&scale).await;
    assert!(!proxy.met().is_empty(), "the watch was refused");
    assert!(belay.nodes().await.is_empty());
}
