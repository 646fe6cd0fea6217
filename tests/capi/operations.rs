//! Operations on Clusters of Cluster API.

use std::sync::Arc;

use belay::api::OperationType::{Scale, Start, Stop, Upgrade};
use serde_json::json;

use crate::stage::{NEW, OLD, Stage, deployment, machines_of, versions};

pub async fn an_upgrade_does_the_control_plane_first_and_then_one_pool_at_a_time(
    stage: Arc<Stage>,
) {
    let belay = stage.adopted(2).await;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay
        .eventually("the upgrade of the first pool has started", || async {
            let steps = belay.status(&upgrade).await.steps;
            steps.len() == 3 && steps[1].handle.is_some()
        })
        .await;
    let second = versions(&machines_of(&belay, Some("md-1")).await);
    let status = belay.succeeds(&upgrade).await;
    assert_eq!(
        second,
        [OLD, OLD],
        "the pools are upgraded one after the other"
    );
    let names: Vec<_> = status.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["control-plane", "agentpool/md-0", "agentpool/md-1"]);
    let machines = machines_of(&belay, None).await;
    assert_eq!(versions(&machines), vec![NEW; 5]);
    belay.cluster_is_ready().await;
    let status = belay.cluster_status().await;
    assert_eq!(status.kubernetes_version.as_deref(), Some(NEW));
}

pub async fn a_pool_scales_stops_and_starts(stage: Arc<Stage>) {
    let belay = stage.adopted(1).await;
    let has = |machines: usize| {
        let belay = belay.clone();
        async move {
            let machines_now = machines_of(&belay, Some("md-0")).await;
            let replicas = &deployment(&belay, "md-0").await.data["spec"]["replicas"];
            assert_eq!((machines_now.len(), replicas), (machines, &json!(machines)));
        }
    };
    belay.set_count("md-0", 3).await;
    let scale = belay.operation(Scale, "md-0").await;
    belay.succeeds(&scale).await;
    let seen = belay.statuses(&scale).await;
    let mut started = seen
        .iter()
        .filter(|seen| seen.steps.iter().any(|step| step.handle.is_some()));
    let first = started
        .next()
        .expect("a status after the start")
        .percent_complete;
    assert!(first < 99, "{first} percent before a Machine was created");
    has(3).await;
    belay.pool_is_ready("md-0").await;
    belay
        .set_pool("md-0", json!({"powerState": "Stopped"}))
        .await;
    let stop = belay.operation(Stop, "md-0").await;
    belay.succeeds(&stop).await;
    has(0).await;
    belay.pool_is_ready("md-0").await;
    belay
        .set_pool("md-0", json!({"powerState": "Running"}))
        .await;
    let start = belay.operation(Start, "md-0").await;
    belay.succeeds(&start).await;
    has(3).await;
}
