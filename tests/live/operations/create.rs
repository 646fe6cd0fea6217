//! The creation of clusters and pools.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType, PowerState, ProvisioningState, TargetKind};

use axum::http::Method;
use serde_json::json;

use crate::stage::{
    belay::{Belay, KUBECTL_PATIENCE, World, is_true, version},
    proxy::{Fault, status},
};

pub async fn an_applied_cluster_and_its_pools_come_up(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.kubectl(&[
        "apply",
        "-f",
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart"),
    ]);
    belay.pool_is_ready("demo-np1").await;
    belay.pool_is_ready("demo-system").await;
    // A pool is Ready a little before the lock is free.
    belay.lock_is_free().await;
    let status = belay.cluster().await.status.expect("a status");
    assert_eq!(
        status.provisioning_state,
        Some(ProvisioningState::Succeeded)
    );
    assert_eq!(status.kubernetes_version.as_deref(), Some("1.35.7"));
    assert_eq!(
        status.power_state.map(|state| state.code),
        Some(PowerState::Running)
    );
    for (target, kind) in [("demo", "mc"), ("demo-np1", "ap"), ("demo-system", "ap")] {
        let name = belay.operation(OperationType::Create, target).await;
        let phases = belay.phases(&name).await;
        assert!(
            phases.ends_with(&[
                OperationPhase::Pending,
                OperationPhase::InProgress,
                OperationPhase::Succeeded
            ]),
            "{name}: {phases:?}"
        );
        let status = belay.status(&name).await;
        assert_eq!(status.percent_complete, 100);
        assert!(status.start_time.is_some() && status.end_time >= status.start_time);
        belay.kubectl(&[
            "wait",
            "--for=condition=Ready",
            &format!("{kind}/{target}"),
            KUBECTL_PATIENCE,
        ]);
        belay.kubectl(&[
            "wait",
            "--for=condition=Succeeded",
            &format!("op/{name}"),
            KUBECTL_PATIENCE,
        ]);
        let has_events = || async {
            let events = belay.events(target).await;
            ["OperationStarted", "OperationSucceeded"]
                .iter()
                .all(|reason| events.iter().any(|(of_event, _)| of_event == reason))
        };
        belay
            .eventually("the target has Events about its operation", has_events)
            .await;
    }
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 5);
    assert!(nodes.iter().all(|node| version(node) == "v1.35.7"));
    let pool = belay.pool("demo-np1").await.status.expect("a status");
    assert_eq!((pool.count, pool.ready_count), (3, 3));
    assert!(is_true(&pool.conditions, "Ready") && !is_true(&pool.conditions, "Stalled"));
    belay.check_history();
}

pub async fn a_pool_without_a_cluster_is_stalled_until_the_cluster_exists(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.create_pool("np1", 1).await;
    belay
        .eventually("np1 reports that its cluster is missing", || async {
            let conditions = belay
                .pool("np1")
                .await
                .status
                .unwrap_or_default()
                .conditions;
            conditions.iter().any(|condition| {
                condition.type_ == "Stalled"
                    && condition.status == "True"
                    && condition.reason == "ClusterNotFound"
                    && condition
                        .message
                        .starts_with("ManagedCluster demo does not exist")
            })
        })
        .await;
    belay.create_cluster(0).await;
    belay.pool_is_ready("np1").await;
    belay.check_history();
}

pub async fn a_pool_that_pins_a_newer_version_gets_the_version_of_its_control_plane(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    // Without its cluster, nothing can compare the versions.
    belay
        .create_pool_with("np1", json!({"count": 1, "kubernetesVersion": "1.36.3"}))
        .await;
    belay.create_cluster(0).await;
    belay
        .eventually("says that the control plane is older", || async {
            let status = belay.pool("np1").await.status.unwrap_or_default();
            status.conditions.iter().any(|condition| {
                condition.type_ == "Stalled"
                    && condition.status == "True"
                    && condition.reason == "NewerThanControlPlane"
                    && condition.message == "AgentPool np1 can't be newer than its control plane, which runs 1.35.7: upgrade the ManagedCluster first"
            })
        })
        .await;
    let runs = || async {
        let nodes = belay.nodes().await;
        nodes.iter().map(version).collect::<Vec<_>>()
    };
    assert_eq!(runs().await, ["v1.35.7"]);
    belay.set_version("1.36.3").await;
    belay.pool_is_ready("np1").await;
    assert_eq!(runs().await, ["v1.36.3"]);
    belay.check_history();
}

pub async fn an_operation_on_a_missing_pool_fails_and_names_it(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay
        .reconcile(TargetKind::AgentPool, "nowhere", "lost")
        .await;
    let status = belay.is_in_phase("lost", OperationPhase::Failed).await;
    let error = status.error.expect("an error");
    assert_eq!(error.code, "NotFound");
    assert!(
        error
            .message
            .starts_with("AgentPool nowhere does not exist"),
        "{}",
        error.message
    );
    belay.kubectl(&["delete", "op", "lost", KUBECTL_PATIENCE]);
}

pub async fn an_operation_on_a_pool_without_a_cluster_fails_and_names_the_cluster(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.create_pool("np1", 1).await;
    belay
        .reconcile(TargetKind::AgentPool, "np1", "too-early")
        .await;
    let error = belay.fails("too-early").await;
    assert_eq!(error.code, "NotFound");
    let why = "ManagedCluster demo of AgentPool np1 does not exist";
    assert!(error.message.starts_with(why), "{}", error.message);
    belay.create_cluster(0).await;
    belay.pool_is_ready("np1").await;
    belay.check_history();
}

pub async fn an_operation_on_a_cluster_whose_deletion_is_not_yet_seen_fails(world: Arc<World>) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 1).await;
    // From now on, the operator sees no change of the cluster.
    let refused = Fault::Answer(503, status(503, "ServiceUnavailable", "not now"));
    proxy.add_fault(Method::GET, "/managedclusters?", "", refused, usize::MAX);
    proxy.cut_watches("managedclusters");
    let patch = ["patch", "managedcluster", "demo", "--type=merge"];
    let without_finalizers = ["-p", r#"{"metadata": {"finalizers": null}}"#];
    belay.kubectl(&[&patch[..], &without_finalizers[..]].concat());
    belay.kubectl(&["delete", "managedcluster", "demo", KUBECTL_PATIENCE]);
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "too-late")
        .await;
    belay
        .eventually("the operator sees the Operation", || async {
            belay.log().contains("too-late")
        })
        .await;
    proxy.remove_faults();
    let error = belay.fails("too-late").await;
    assert_eq!(error.code, "NotFound");
}

pub async fn an_operation_on_a_missing_pool_fails_even_if_the_first_status_write_is_refused(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let create = belay.operation(OperationType::Create, "np1").await;
    belay.refuse_changes_of_operations(&create).await;
    belay
        .create_operation_on_pool("on-nothing", "np9", "Scale", json!({"count": 2}))
        .await;
    belay
        .eventually("the operator's first status write fails", || async {
            belay
                .log()
                .contains("failed to check an object that has no cluster")
        })
        .await;
    belay.stop_refusing();
    let error = belay.fails("on-nothing").await;
    assert_eq!(error.code, "NotFound");
}
