//! A fleet that one commit upgrades in waves: Kustomizations that depend on each other.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{Operation, OperationPhase, OperationType};
use kube::ResourceExt as _;

use super::{
    fleet::{Fleet, Flux, phase_of},
    stage::Stage,
};

/// Returns the upgrades, oldest first, and the clusters that they upgrade.
async fn upgrades(fleet: &Fleet) -> (Vec<Operation>, BTreeSet<String>) {
    let upgrades = fleet.operations(OperationType::Upgrade).await;
    let target = |upgrade: &Operation| upgrade.spec.target.name.clone();
    let targets = upgrades.iter().map(target).collect();
    (upgrades, targets)
}

fn only(cluster: &str) -> BTreeSet<String> {
    BTreeSet::from([cluster.to_owned()])
}

/// Whether Flux doesn't begin the second wave because of the first.
fn waits_for_the_first_wave(flux: &Flux) -> bool {
    let ready = flux.condition("Ready");
    ready.is_some_and(|ready| {
        let message = ready["message"].as_str().unwrap_or_default();
        ready["reason"] == "DependencyNotReady" && message.contains("/wave-1'")
    })
}

/// Upgrades all waves by one commit, and waits until a budget blocks the upgrade of the first. Returns the revision and
/// the upgrade.
async fn first_wave_is_blocked(fleet: &Fleet) -> (String, String) {
    fleet.stage.protect(&fleet.namespace, "dev-system");
    let revision = fleet.upgrade_all_waves();
    let in_progress = (OperationType::Upgrade, OperationPhase::InProgress);
    let upgrade = fleet.operation(in_progress.0, in_progress.1).await;
    fleet.is_blocked(&upgrade).await;
    (revision, upgrade)
}

/// Makes Flux look at the second wave some more times. It begins at none of them.
async fn second_wave_is_held_back(fleet: &Fleet) {
    for _ in 0..3 {
        let handled = fleet.reconcile_wave("wave-2").await;
        assert!(waits_for_the_first_wave(&handled), "{handled:#?}");
    }
    assert_eq!(upgrades(fleet).await.1, only("dev"));
}

pub async fn the_second_wave_begins_once_the_first_is_done(stage: Arc<Stage>) {
    let fleet = Fleet::in_waves(&stage).await;
    let (revision, _) = first_wave_is_blocked(&fleet).await;
    second_wave_is_held_back(&fleet).await;

    fleet.kubectl(&["delete", "pdb", "web"]);
    fleet.wave_is_ready_at("wave-2", &revision).await;
    let (upgrades, targets) = upgrades(&fleet).await;
    assert_eq!(targets, ["dev", "eu", "us"].map(str::to_owned).into());
    for upgrade in &upgrades {
        assert_eq!(phase_of(upgrade), OperationPhase::Succeeded);
    }
    let first = upgrades[0].status.clone().expect("a status");
    for later in &upgrades[1..] {
        let began = later.status.clone().expect("a status").start_time;
        assert!(began >= first.end_time, "{}", later.name_any());
    }
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}

pub async fn an_aborted_upgrade_holds_the_next_wave_until_it_is_resumed(stage: Arc<Stage>) {
    let fleet = Fleet::in_waves(&stage).await;
    let (revision, upgrade) = first_wave_is_blocked(&fleet).await;
    fleet.abort(&upgrade).await;
    fleet
        .until_wave("wave-1", "Flux reports a failure", |flux| {
            flux.has_condition("Ready", "False")
                && flux.ready_reason_and_message().0 == "HealthCheckFailed"
        })
        .await;
    second_wave_is_held_back(&fleet).await;

    fleet.kubectl(&["delete", "pdb", "web"]);
    stage.plugin(&fleet.namespace, &["resume", "cluster", "dev"]);
    fleet.wave_is_ready_at("wave-2", &revision).await;
    fleet
        .operation(OperationType::Reconcile, OperationPhase::Succeeded)
        .await;
    let (_, targets) = upgrades(&fleet).await;
    assert_eq!(targets, ["dev", "eu", "us"].map(str::to_owned).into());
    assert_eq!(fleet.versions().await, ["1.36.3"; 6]);
}
