//! Upgrades replace one node after the other and respect PodDisruptionBudgets.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use belay::api::{OperationPhase, OperationType};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;

use crate::stage::belay::{Belay, World, is_cordoned, version};

pub async fn an_upgrade_violates_no_pdb(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(100, 3).await;
    belay.create_workload(6, 5).await;
    let pods = watcher(belay.api::<Pod>(), watcher::Config::default()).default_backoff();
    let violated = Arc::new(AtomicBool::new(false));
    let found = violated.clone();
    let counter = tokio::spawn(async move {
        let mut healthy = std::collections::BTreeSet::new();
        let mut is_complete = false;
        let mut pods = std::pin::pin!(pods);
        while let Some(Ok(event)) = pods.next().await {
            match event {
                watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                    let name = pod.metadata.name.clone().unwrap_or_default();
                    if is_healthy(&pod) {
                        healthy.insert(name);
                    } else {
                        healthy.remove(&name);
                    }
                }
                watcher::Event::Delete(pod) => {
                    healthy.remove(&pod.metadata.name.unwrap_or_default());
                }
                watcher::Event::InitDone => is_complete = true,
                watcher::Event::Init => healthy.clear(),
            }
            if is_complete && healthy.len() < 5 {
                found.store(true, Ordering::Relaxed);
            }
        }
    });
    belay.set_version("1.36.3").await;
    let operation = belay.operation(OperationType::Upgrade, "demo").await;
    belay
        .is_in_phase(&operation, OperationPhase::Succeeded)
        .await;
    counter.abort();
    assert!(
        !violated.load(Ordering::Relaxed),
        "fewer than 5 of 6 pods were healthy"
    );
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    assert_eq!(
        belay
            .cluster()
            .await
            .status
            .and_then(|status| status.kubernetes_version)
            .as_deref(),
        Some("1.36.3")
    );
    belay.check_history();
}

fn is_healthy(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
}

pub async fn an_upgrade_continues_when_its_pdb_is_relaxed(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(50, 2).await;
    belay.create_workload(2, 2).await;
    belay.set_version("1.36.3").await;
    let operation = belay.operation(OperationType::Upgrade, "demo").await;
    let status = belay.is_blocked(&operation).await;
    let blocked = status.blocked.expect("a block");
    assert_eq!(blocked.reason, "PodDisruptionBudget");
    let ns = &belay.namespace;
    assert!(
        blocked
            .message
            .starts_with(&format!("eviction of {ns}/web-")),
        "{}",
        blocked.message
    );
    assert!(
        blocked
            .message
            .ends_with(&format!(" would violate PodDisruptionBudget {ns}/web")),
        "{}",
        blocked.message
    );
    assert!(blocked.since.is_some());
    belay.set_min_available(1).await;
    belay
        .is_in_phase(&operation, OperationPhase::Succeeded)
        .await;
    belay.cluster_is_ready().await;
    belay.check_history();
}

pub async fn a_drain_timeout_fails_the_upgrade_with_the_pdb_as_the_cause(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_workload(1, 1).await;
    let settings = json!({"spec": {"upgradeSettings": {"drainTimeout": "1s"}}});
    let pools: Api<belay::api::AgentPool> = belay.api();
    pools
        .patch("np1", &PatchParams::default(), &Patch::Merge(settings))
        .await
        .expect("patched");
    belay.set_version("1.36.3").await;
    let operation = belay.operation(OperationType::Upgrade, "demo").await;
    let status = belay.is_in_phase(&operation, OperationPhase::Failed).await;
    let error = status.error.expect("an error");
    assert_eq!(
        (error.code.as_str(), error.subcode.as_str()),
        ("PodDrainFailure", "PodDisruptionBudget")
    );
    assert!(
        error.message.contains("would violate PodDisruptionBudget"),
        "{}",
        error.message
    );
    assert!(
        belay.nodes().await.iter().all(|node| !is_cordoned(node)),
        "no node stays cordoned"
    );
    belay.check_history();
}
