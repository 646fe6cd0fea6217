//! One Application for each cluster, which an `ApplicationSet` syncs in steps.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{OperationPhase, OperationType};

use super::{fleet::Fleet, stage::Stage};

const EXAMPLE: &str = "argocd-applicationset.yaml";
const CLUSTERS: [&str; 3] = ["dev", "eu", "us"];

async fn created(stage: &Arc<Stage>) -> Fleet {
    let fleet = Fleet::start(stage, EXAMPLE);
    for cluster in CLUSTERS {
        fleet.is_healthy(cluster).await;
    }
    assert_eq!(fleet.versions().await, ["1.35.7"; 6]);
    fleet
}

/// Upgrades all waves by one commit, and waits until a budget blocks the upgrade of the first step. Returns the revision
/// and the upgrade.
async fn first_step_is_blocked(fleet: &Fleet) -> (String, String) {
    fleet.stage.protect(&fleet.namespace, "dev-system");
    let revision = fleet.upgrade();
    // Argo CD doesn't compare the commits of steps. So the first step has to see the commit first.
    fleet.refresh("dev");
    let upgrade = fleet.upgrade_is("dev", OperationPhase::InProgress).await;
    for cluster in ["eu", "us"] {
        fleet.refresh(cluster);
        let seen = format!("Argo CD has compared {cluster} with the commit");
        fleet
            .eventually(&seen, || async {
                fleet.application(cluster)["sync"]["revision"] == revision
            })
            .await;
    }
    (revision, upgrade)
}

/// The Applications of the second step are out of sync, and their clusters stay as they are.
async fn second_step_is_held_back(fleet: &Fleet) {
    for cluster in ["eu", "us"] {
        let status = fleet.application(cluster);
        assert_eq!(status["sync"]["status"], "OutOfSync", "{status:#?}");
    }
    fleet.waits_for_step(&["eu", "us"], "2").await;
    assert_eq!(fleet.upgraded().await, BTreeSet::from(["dev".to_owned()]));
}

pub async fn a_step_begins_once_the_step_before_it_is_healthy(stage: Arc<Stage>) {
    let fleet = created(&stage).await;
    let (revision, _) = first_step_is_blocked(&fleet).await;
    second_step_is_held_back(&fleet).await;

    fleet.kubectl(&["delete", "pdb", "web"]);
    for cluster in CLUSTERS {
        fleet.is_done(cluster, &revision).await;
    }
    fleet.every_wave_came_after_the_first().await;
    fleet.one_after_the_other(["eu", "us"]).await;
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}

pub async fn an_aborted_upgrade_holds_the_next_step_until_it_is_resumed(stage: Arc<Stage>) {
    let fleet = created(&stage).await;
    let (revision, upgrade) = first_step_is_blocked(&fleet).await;
    fleet.abort(&upgrade);
    fleet.upgrade_is("dev", OperationPhase::Canceled).await;
    fleet
        .eventually("the first step is Degraded", || async {
            fleet.application("dev")["health"]["status"] == "Degraded"
        })
        .await;
    second_step_is_held_back(&fleet).await;

    fleet.kubectl(&["delete", "pdb", "web"]);
    stage.plugin(&fleet.namespace, &["resume", "cluster", "dev"]);
    for cluster in CLUSTERS {
        fleet.is_done(cluster, &revision).await;
    }
    assert_eq!(fleet.operations(OperationType::Reconcile).await.len(), 1);
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}
