//! Nodes disappear or become not Ready: Belay continues, or reports what it waits for.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{OperationPhase, OperationType, ProvisioningState, TargetKind};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::stage::belay::{Belay, World, is_cordoned, is_true, version};

async fn names(belay: &Belay) -> BTreeSet<String> {
    belay
        .nodes()
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect()
}

pub async fn a_deleted_node_is_replaced_by_an_automatic_reconcile(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.lock_is_free().await;
    let deleted = belay.nodes().await[0].name_any();
    belay.kubectl(&["delete", "node", &deleted]);
    let reconcile = belay.operation(OperationType::Reconcile, "np1").await;
    belay.succeeds(&reconcile).await;
    belay.pool_is_ready("np1").await;
    let nodes = names(&belay).await;
    assert!(nodes.len() == 2 && !nodes.contains(&deleted), "{nodes:?}");
    // It is an ordinary operation: after an abort, the pool is on hold.
    belay.set_provisioning_time("1h").await;
    belay.cluster_is_ready().await;
    belay.lock_is_free().await;
    let deleted = belay.nodes().await[0].name_any();
    belay.kubectl(&["delete", "node", &deleted]);
    let second = belay
        .nth_operation(2, OperationType::Reconcile, "np1")
        .await;
    belay.is_in_phase(&second, OperationPhase::InProgress).await;
    belay.abort(&second, "not now").await;
    belay.is_in_phase(&second, OperationPhase::Canceled).await;
    belay
        .eventually("the pool is on hold", || async {
            let status = belay.pool_status("np1").await;
            is_true(&status.conditions, "Stalled")
                && status.provisioning_state == Some(ProvisioningState::Canceled)
        })
        .await;
    assert_eq!(
        belay
            .operations(OperationType::Reconcile, "np1")
            .await
            .len(),
        2
    );
    belay.check_history();
}

pub async fn nodes_deleted_during_an_upgrade_are_replaced(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(3).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay
        .eventually("an old node is drained and a new node exists", || async {
            let nodes = belay.nodes().await;
            let is_new = |node: &Node| version(node) == "v1.36.3";
            nodes.iter().any(is_cordoned) && nodes.iter().any(is_new)
        })
        .await;
    let nodes = belay.nodes().await;
    // The node that is being drained, a node that waits for its drain, and the new node.
    let drained = nodes
        .iter()
        .find(|node| is_cordoned(node))
        .expect("a node that is drained");
    let waiting = nodes
        .iter()
        .find(|node| !is_cordoned(node) && version(node) == "v1.35.7")
        .expect("an old node");
    let new = nodes
        .iter()
        .find(|node| version(node) == "v1.36.3")
        .expect("a new node");
    for node in [drained, waiting, new] {
        belay.kubectl(&["delete", "node", &node.name_any()]);
    }
    belay.set_min_available(0).await;
    belay.succeeds(&upgrade).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    let versions: Vec<_> = belay.nodes().await.iter().map(version).collect();
    assert_eq!(versions, ["v1.36.3"; 3]);
    belay.check_history();
}

pub async fn a_node_that_a_user_cordoned_stays_cordoned_after_an_abort(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    let cordoned = belay.nodes().await[0].name_any();
    belay.kubectl(&["cordon", &cordoned]);
    belay
        .set_pool("np1", json!({"upgradeSettings": {"maxSurge": 2}}))
        .await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay
        .eventually("both old nodes are drained", || async {
            belay
                .nodes()
                .await
                .iter()
                .filter(|node| version(node) == "v1.35.7")
                .all(is_cordoned)
        })
        .await;
    belay.is_blocked(&upgrade).await;
    let taint = "example.com/repair=yes:NoSchedule";
    belay.kubectl(&["taint", "node", &cordoned, taint]);
    belay.abort(&upgrade, "not now").await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
    for node in belay.nodes().await {
        let is_cordoned_by_user = node.name_any() == cordoned;
        assert_eq!(
            is_cordoned(&node),
            is_cordoned_by_user,
            "only the user's cordon remains"
        );
        let taints = node.spec.unwrap_or_default().taints.unwrap_or_default();
        assert_eq!(
            taints.iter().any(|taint| taint.key == "example.com/repair"),
            is_cordoned_by_user
        );
    }
    belay.set_min_available(0).await;
    belay.lock_is_free().await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    belay.check_history();
}

pub async fn an_unready_node_is_replaced_first_and_counts_as_unavailable(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 3).await;
    belay
        .set_pool(
            "np1",
            json!({"upgradeSettings": {"maxSurge": 0, "maxUnavailable": 1}}),
        )
        .await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    let broken = belay.nodes().await[1].name_any();
    belay.break_node(&broken).await;
    belay.set_provisioning_time("1h").await;
    belay
        .set_pool("np1", json!({"kubernetesVersion": "1.34.2"}))
        .await;
    let rollback = belay.operation(OperationType::Rollback, "np1").await;
    belay
        .eventually("the broken node is replaced", || async {
            !names(&belay).await.contains(&broken)
        })
        .await;
    let old = belay
        .nodes()
        .await
        .iter()
        .filter(|node| version(node) == "v1.35.7" && !is_cordoned(node))
        .count();
    assert_eq!(old, 2, "one node may be unavailable, and the new one is");
    belay.abort(&rollback, "enough").await;
    belay.is_in_phase(&rollback, OperationPhase::Canceled).await;
    belay.check_history();
}

pub async fn a_node_that_becomes_unready_blocks_the_operation_but_does_not_fail_it(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(1).await;
    // Long enough for a node to come up and to recover on a busy machine.
    belay
        .set_cluster(json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {"nodeProvisioningTimeout": "90s"}}}))
        .await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    let nodes = belay.nodes().await;
    let new = nodes
        .iter()
        .find(|node| version(node) == "v1.36.3")
        .expect("a new node");
    // The node is now older than the timeout for new nodes.
    belay.wait_until_later(new, 92).await;
    belay.break_node(&new.name_any()).await;
    belay.set_min_available(0).await;
    belay
        .eventually("the operation is blocked by the node", || async {
            let status = belay.status(&upgrade).await;
            assert!(!status.phase.is_finished(), "{status:#?}");
            status
                .blocked
                .is_some_and(|blocked| blocked.reason == "NodeNotReady")
        })
        .await;
    belay.recover_node(&new.name_any()).await;
    belay.succeeds(&upgrade).await;
    belay.check_history();
}

pub async fn a_pod_past_its_grace_period_is_named_with_its_finalizers(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let pods = belay.api::<Pod>();
    let pod = json!({"metadata": {"name": "stays", "finalizers": ["example.com/keep"]},
        "spec": {"nodeSelector": {"belay.dev/namespace": belay.namespace}, "tolerations": [{"operator": "Exists"}], "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "main:1"}]}});
    let pod = serde_json::from_value(pod).expect("a pod");
    pods.create(&PostParams::default(), &pod)
        .await
        .expect("created");
    belay
        .eventually("the pod is running", || async {
            let status = pods.get("stays").await.expect("the pod").status;
            status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
        })
        .await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let blocked = belay.is_blocked(&scale).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "PodTerminating");
    let expected = format!(
        "{}/stays is being deleted and is past its grace period: it is held by finalizers (example.com/keep)",
        belay.namespace
    );
    assert_eq!(blocked.message, expected);
    let without_finalizers = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    pods.patch("stays", &PatchParams::default(), &without_finalizers)
        .await
        .expect("patched");
    belay.succeeds(&scale).await;
    assert!(belay.nodes().await.is_empty());
    belay.check_history();
}
