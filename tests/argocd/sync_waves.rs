//! One Application with all clusters, which Argo CD syncs in waves.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{OperationPhase, OperationType};

use super::{fleet::Fleet, stage::Stage};

const EXAMPLE: &str = "argocd-application.yaml";

async fn created(stage: &Arc<Stage>) -> Fleet {
    let fleet = Fleet::start(stage, EXAMPLE);
    fleet.is_healthy("fleet").await;
    assert_eq!(fleet.versions().await, ["1.35.7"; 6]);
    fleet
}

/// Upgrades all waves by one commit, and waits until a budget blocks the upgrade of the first wave. Returns the revision
/// and the upgrade.
async fn first_wave_is_blocked(fleet: &Fleet) -> (String, String) {
    fleet.stage.protect(&fleet.namespace, "dev-system");
    let revision = fleet.upgrade();
    fleet.refresh("fleet");
    let upgrade = fleet.upgrade_is("dev", OperationPhase::InProgress).await;
    (revision, upgrade)
}

pub async fn the_second_wave_begins_once_the_first_is_done(stage: Arc<Stage>) {
    let fleet = created(&stage).await;
    let (revision, _) = first_wave_is_blocked(&fleet).await;
    let waits = "waiting for healthy state of belay.dev/ManagedCluster/dev";
    fleet
        .eventually("the sync waits for the first wave", || async {
            let sync = &fleet.application("fleet")["operationState"];
            sync["phase"] == "Running"
                && sync["message"]
                    .as_str()
                    .is_some_and(|why| why.contains(waits))
        })
        .await;
    assert_eq!(fleet.upgraded().await, BTreeSet::from(["dev".to_owned()]));

    fleet.kubectl(&["delete", "pdb", "web"]);
    fleet.is_done("fleet", &revision).await;
    fleet.every_wave_came_after_the_first().await;
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}

pub async fn an_aborted_upgrade_holds_the_next_wave_until_it_is_resumed(stage: Arc<Stage>) {
    let fleet = created(&stage).await;
    let (revision, upgrade) = first_wave_is_blocked(&fleet).await;
    fleet.abort(&upgrade);
    fleet.upgrade_is("dev", OperationPhase::Canceled).await;
    // Argo CD tries again and again, and each sync ends at the first wave.
    fleet
        .eventually("the sync has failed and was tried again", || async {
            let sync = &fleet.application("fleet")["operationState"];
            sync["retryCount"].as_u64() >= Some(2)
        })
        .await;
    assert_eq!(fleet.application("fleet")["health"]["status"], "Degraded");
    assert_eq!(fleet.upgraded().await, BTreeSet::from(["dev".to_owned()]));

    fleet.kubectl(&["delete", "pdb", "web"]);
    stage.plugin(&fleet.namespace, &["resume", "cluster", "dev"]);
    fleet.is_done("fleet", &revision).await;
    assert_eq!(fleet.operations(OperationType::Reconcile).await.len(), 1);
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}
