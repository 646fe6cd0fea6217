//! The CRDs are deleted during an operation, and applied again.

use std::sync::Arc;

use belay::api::OperationType;
use serde_json::json;

use super::{
    belay::{Belay, World, is_cordoned, version},
    guard::Guard,
};

const KINDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

/// Returns the names of Belay's kinds that exist.
fn kinds(world: &World) -> Vec<String> {
    let all = world.kubectl(&["get", "crd", "-o", "name"]);
    let ours = all.lines().filter(|name| name.ends_with(".belay.dev"));
    ours.map(str::to_owned).collect()
}

/// Deletes the kinds, and waits until they are gone.
async fn delete_kinds(belay: &Belay) {
    belay.kubectl(&["delete", "-f", KINDS, "--wait=false"]);
    let is_gone = || async { kinds(&belay.world).is_empty() };
    eventually(belay, "Belay's kinds are gone", is_gone).await;
}

/// Does the same as [`Belay::eventually`], for times when kubectl cannot list the objects.
async fn eventually<F: Future<Output = bool>>(belay: &Belay, what: &str, is_true: impl Fn() -> F) {
    let ended = tokio::time::timeout(super::belay::PATIENCE, belay.eventually(what, is_true)).await;
    assert!(
        ended.is_ok(),
        "this did not become true: {what}\n{}",
        belay.log()
    );
}

/// Applies the kinds, and then the same cluster and pool again.
async fn apply_all(belay: &Belay) {
    belay.world.apply_kinds();
    let kwok = json!({"kwok": {"nodeProvisioningTime": "0s"}});
    let spec = json!({"kubernetesVersion": "1.36.3", "provider": kwok});
    belay
        .create_object::<belay::api::ManagedCluster>("demo", spec)
        .await;
    let spec = json!({"clusterName": "demo", "count": 2});
    belay
        .create_object::<belay::api::AgentPool>("np1", spec)
        .await;
}

/// Starts an upgrade that a budget blocks. Returns a guard that watches it.
async fn blocked_upgrade(belay: &Belay) -> Guard {
    belay.cluster_with_blocked_drains(2).await;
    belay.lock_is_free().await;
    let guard = Guard::watch(belay, 2, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    guard
}

/// Deleting a kind deletes all its objects: each cluster is deleted as usual, and then the kinds are deleted.
pub async fn deleting_the_crds_deletes_their_clusters_and_the_operator_works_after_their_return(
    _: Arc<World>,
) {
    let world = World::start().await;
    let belay = Belay::start(&world).await;
    blocked_upgrade(&belay).await;
    delete_kinds(&belay).await;
    assert!(
        belay.nodes().await.is_empty(),
        "the deleted cluster leaves no node behind"
    );
    apply_all(&belay).await;
    belay.pool_is_ready("np1").await;
    belay.cluster_is_ready().await;
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    let creates = belay.operations(OperationType::Create, "np1").await;
    assert_eq!(creates.len(), 1);
    // The same operator still works.
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&scale).await;
    assert_eq!(belay.nodes().await.len(), 3);
    belay.kill_operator();
}

/// The kinds are removed by force while no operator runs. The nodes stay, and later belong to a cluster of the same
/// name.
pub async fn nodes_survive_a_forced_removal_of_the_crds_and_rejoin_their_cluster(_: Arc<World>) {
    let world = World::start().await;
    let belay = Belay::start(&world).await;
    let guard = blocked_upgrade(&belay).await;
    belay.kill_operator();
    belay.kubectl(&["delete", "-f", KINDS, "--wait=false"]);
    for kind in ["operations", "agentpools", "managedclusters"] {
        let Ok(names) = belay.try_kubectl(&["get", kind, "-o", "name"]) else {
            continue;
        };
        for name in names.lines() {
            let no_finalizers = r#"{"metadata":{"finalizers":null}}"#;
            let patched = belay.try_kubectl(&["patch", name, "--type=merge", "-p", no_finalizers]);
            assert!(patched.is_ok() || patched.is_err_and(|why| why.contains("NotFound")));
        }
    }
    eventually(&belay, "Belay's kinds are gone", || async {
        kinds(&world).is_empty()
    })
    .await;
    let before = belay.nodes().await;
    assert_eq!(before.len(), 3, "missing kinds delete no node");
    // An operator that finds no kinds waits for them.
    belay.start_operator();
    eventually(
        &belay,
        "the operator reports that the kinds are missing",
        || async { belay.log().matches("404 page not found").count() > 4 },
    )
    .await;
    guard.check(2, 2, 3);
    apply_all(&belay).await;
    belay.set_min_available(1).await;
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 2, "no node is duplicated");
    assert!(
        nodes
            .iter()
            .all(|node| version(node) == "v1.36.3" && !is_cordoned(node))
    );
    guard.check(1, 2, 4);
    belay.kill_operator();
}
