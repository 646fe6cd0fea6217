//! Failures: an operation that cannot succeed fails with a code and advice. Belay waits for temporary problems.

use std::{sync::Arc, time::Duration};

use belay::api::{OperationType, ProvisioningState, StepPhase, TargetKind};
use serde_json::json;

use crate::stage::belay::{Belay, World, is_cordoned, is_true, version};

/// Waits until a pool reports that it is on hold because its operation failed with this code.
async fn is_on_hold(belay: &Belay, pool: &str, code: &str) {
    belay
        .eventually("the pool is on hold", || async {
            let status = belay.pool_status(pool).await;
            let is_stalled = status.conditions.iter().any(|condition| {
                condition.type_ == "Stalled"
                    && condition.status == "True"
                    && condition.reason == "OperationFailed"
                    && condition.message.contains(code)
            });
            is_stalled && status.provisioning_state == Some(ProvisioningState::Failed)
        })
        .await;
}

pub async fn an_operation_fails_if_a_new_node_never_becomes_ready(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(0).await;
    belay.cluster_is_ready().await;
    belay
        .set_cluster(json!({"provider": {"kwok": {"nodeProvisioningTime": "1h", "nodeProvisioningTimeout": "1s"}}}))
        .await;
    belay.create_pool("np1", 2).await;
    let create = belay.operation(OperationType::Create, "np1").await;
    let error = belay.fails(&create).await;
    assert_eq!(error.code, "NodeProvisioningTimeout");
    let steps = belay.status(&create).await.steps;
    let failed = steps.iter().find(|step| {
        let name = step.name.trim_start_matches("node/");
        let expected = format!("node {name} did not become Ready within 1s: ");
        error.message.starts_with(&expected)
    });
    let failed = failed.expect("the message names a node");
    assert_eq!(failed.phase, StepPhase::Failed);
    assert!(
        error
            .message
            .ends_with("then create an Operation of type Reconcile"),
        "{}",
        error.message
    );
    assert!(belay.nodes().await.is_empty(), "no unfinished node is left");
    is_on_hold(&belay, "np1", "NodeProvisioningTimeout").await;
    belay
        .set_cluster(json!({"provider": {"kwok": {"nodeProvisioningTime": "0s", "nodeProvisioningTimeout": "15m"}}}))
        .await;
    // Belay takes the edit of the provider's settings as the fix, and continues.
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 2);
    belay.check_history();
}

pub async fn an_operation_that_exceeds_a_quota_fails_and_names_it(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay
        .create_cluster_with(
            json!({"provider": {"kwok": {"nodeProvisioningTime": "0s", "maxNodes": 2}}}),
        )
        .await;
    belay.create_pool("np1", 1).await;
    belay.pool_is_ready("np1").await;
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let error = belay.fails(&scale).await;
    assert_eq!(error.code, "QuotaExceeded");
    assert_eq!(
        error.message,
        "ManagedCluster demo has 2 nodes and may have at most 2: lower a pool's count or maxSurge, or raise spec.provider.kwok.maxNodes, then create an Operation of type Reconcile"
    );
    is_on_hold(&belay, "np1", "QuotaExceeded").await;
    assert!(belay.nodes().await.len() <= 2);
    belay
        .set_cluster(json!({"provider": {"kwok": {"maxNodes": 3}}}))
        .await;
    // Belay takes the edit of the provider's settings as the fix, and continues.
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 3);
    belay.check_history();
}

pub async fn an_upgrade_that_failed_in_a_drain_continues_only_by_a_reconcile(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    let upgrade = belay.upgrade_with(json!({"drainTimeout": "1s"})).await;
    let error = belay.fails(&upgrade).await;
    assert_eq!(
        (error.code.as_str(), error.subcode.as_str()),
        ("PodDrainFailure", "PodDisruptionBudget")
    );
    let detail = error.details.first().expect("the blocking pod");
    assert!(
        detail
            .target
            .starts_with(&format!("pod/{}/web-", belay.namespace)),
        "{detail:?}"
    );
    assert_eq!(detail.code, "PodDisruptionBudget");
    belay
        .eventually("the cluster is on hold", || async {
            let status = belay.cluster_status().await;
            is_true(&status.conditions, "Stalled") && status.operations.is_empty()
        })
        .await;
    assert!(belay.nodes().await.iter().all(|node| !is_cordoned(node)));
    // The change that makes the upgrade possible happens while no operator runs. The next operator must start only the
    // requested Operation.
    belay.kill_operator();
    belay.set_min_available(0).await;
    belay
        .set_pool("np1", json!({"upgradeSettings": {"drainTimeout": "30m"}}))
        .await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.start_operator();
    belay.succeeds("continue").await;
    let upgrades = belay.operations(OperationType::Upgrade, "demo").await;
    assert_eq!(
        upgrades.len(),
        1,
        "Belay doesn't start it again without a request"
    );
    let versions: Vec<_> = belay.nodes().await.iter().map(version).collect();
    assert_eq!(versions, ["v1.36.3"; 2]);
    belay.check_history();
}

pub async fn an_api_server_outage_fails_no_operation(_: Arc<World>) {
    // The test has its own control plane, because the other tests need theirs.
    let world = World::start().await;
    let belay = Belay::start(&world).await;
    belay.ready_cluster(300, 3).await;
    belay.create_workload(3, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay
        .eventually("one node runs the new version", || async {
            belay
                .nodes()
                .await
                .iter()
                .any(|node| version(node) == "v1.36.3")
        })
        .await;
    world.kill_api_server().await;
    // The pause is the outage under test.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.start_api_server().await;
    belay
        .eventually("a second node runs the new version", || async {
            belay
                .nodes()
                .await
                .iter()
                .filter(|node| version(node) == "v1.36.3")
                .count()
                > 1
        })
        .await;
    world.pause_api_server().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.resume_api_server().await;
    let status = belay.succeeds(&upgrade).await;
    assert_eq!(status.error, None);
    belay.cluster_is_ready().await;
    belay.pool_is_ready("np1").await;
    belay.kill_operator();
    belay.check_history();
}
