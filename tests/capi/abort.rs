//! Aborts of changes at Cluster API.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{
    CancellationStatus, OperationPhase,
    OperationType::{Scale, Upgrade},
    TargetKind,
};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    belay::Belay,
    machines::is_ready,
    stage::{NEW, OLD, Stage, api, deployment, machines_of, names, versions},
};

/// Waits until a pool has a Ready Machine of the new version and another Machine of the old version.
async fn is_half_upgraded(belay: &Belay, pool: &str) {
    belay
        .eventually("one Machine is upgraded and another one isn't", || async {
            let machines = machines_of(belay, Some(pool)).await;
            let is_new =
                |machine: &&DynamicObject| machine.data["spec"]["version"] == format!("v{NEW}");
            let new: Vec<_> = machines.iter().filter(is_new).collect();
            !new.is_empty()
                && new.len() < machines.len()
                && new.iter().any(|machine| is_ready(machine))
        })
        .await;
}

pub async fn an_aborted_upgrade_creates_and_deletes_no_more_machines(stage: Arc<Stage>) {
    let belay = stage.adopted(4).await;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    is_half_upgraded(&belay, "md-0").await;
    belay.abort(&upgrade, "not today").await;
    let status = belay.is_canceled(&upgrade).await;
    assert!(
        belay
            .phases(&upgrade)
            .await
            .contains(&OperationPhase::Canceling)
    );
    assert!(status.percent_complete < 100);
    let machines = machines_of(&belay, Some("md-0")).await;
    assert!(
        machines
            .iter()
            .all(|machine| machine.metadata.deletion_timestamp.is_none())
    );
    assert_eq!(
        machines.len(),
        4,
        "the number of Machines is the same as before"
    );
    let (before, second) = (names(&machines), machines_of(&belay, Some("md-1")).await);
    // Cluster API reconciles the Cluster again, and must change nothing.
    let touched = ["annotate", "cluster.cluster.x-k8s.io/demo", "touched=yes"];
    belay.kubectl(&touched);
    let observed = || async {
        let deployment = deployment(&belay, "md-0").await;
        deployment.data["status"]["observedGeneration"].as_i64() == deployment.metadata.generation
    };
    belay
        .eventually("Cluster API has observed the MachineDeployment", observed)
        .await;
    assert_eq!(names(&machines_of(&belay, Some("md-0")).await), before);
    assert_eq!(
        names(&machines_of(&belay, Some("md-1")).await),
        names(&second)
    );

    // The next operation removes the settings of the abort.
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    let machines = machines_of(&belay, None).await;
    assert_eq!(versions(&machines), vec![NEW; 9]);
    let strategy = &deployment(&belay, "md-0").await.data["spec"]["rollout"]["strategy"];
    assert_eq!(strategy["type"], "RollingUpdate");
}

pub async fn an_abort_of_a_scale_is_refused_once_all_machines_are_requested(stage: Arc<Stage>) {
    let belay = stage.adopted(1).await;
    belay.set_count("md-0", 12).await;
    let scale = belay.operation(Scale, "md-0").await;
    belay
        .eventually("Cluster API creates Machines", || async {
            machines_of(&belay, Some("md-0")).await.len() > 1
        })
        .await;
    belay.abort(&scale, "too many").await;
    let status = belay.succeeds(&scale).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.status, CancellationStatus::Failed);
    let why = "has already begun to create or delete all Machines";
    assert!(cancellation.reason.contains(why), "{cancellation:?}");
    assert_eq!(machines_of(&belay, Some("md-0")).await.len(), 12);
}

pub async fn a_scale_after_an_aborted_upgrade_replaces_no_machine(stage: Arc<Stage>) {
    let belay = stage.adopted(3).await;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    is_half_upgraded(&belay, "md-0").await;
    belay.abort(&upgrade, "not today").await;
    belay.is_canceled(&upgrade).await;
    belay.lock_is_free().await;
    let before: BTreeSet<_> = names(&machines_of(&belay, Some("md-0")).await)
        .into_iter()
        .collect();
    belay.set_count("md-0", 6).await;
    let scale = belay.operation(Scale, "md-0").await;
    belay.succeeds(&scale).await;
    let machines = machines_of(&belay, Some("md-0")).await;
    let after: BTreeSet<_> = names(&machines).into_iter().collect();
    assert!(
        machines.len() >= 6 && after.is_superset(&before),
        "{before:?}, then {after:?}"
    );
    assert!(versions(&machines).contains(&OLD.to_owned()));
}

/// Writes an annotation of an object repeatedly, like controllers that write its status.
fn keep_writing(belay: &Belay, kind: &str, name: String) -> JoinHandle<()> {
    let objects = api(belay, kind);
    tokio::spawn(async move {
        for number in 0.. {
            let annotations = json!({"others": format!("{number}")});
            let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
            let written = objects.patch(&name, &PatchParams::default(), &patch).await;
            written.expect("written");
        }
    })
}

pub async fn an_abort_works_while_others_keep_writing_the_same_objects(stage: Arc<Stage>) {
    let belay = stage.adopted(4).await;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    is_half_upgraded(&belay, "md-0").await;
    let deployment = deployment(&belay, "md-0").await.name_any();
    let others = [
        keep_writing(&belay, "MachineDeployment", deployment),
        keep_writing(&belay, "Cluster", "demo".into()),
    ];
    belay.abort(&upgrade, "not today").await;
    belay.is_canceled(&upgrade).await;
    let machines = machines_of(&belay, Some("md-0")).await;
    for others in others {
        others.abort();
    }
    assert_eq!(
        machines.len(),
        4,
        "the number of Machines is the same as before"
    );
    assert!(
        versions(&machines).contains(&OLD.to_owned()),
        "the roll-out must not complete: {:?}",
        versions(&machines)
    );
}
