//! `kubectl belay pause` and `resume`: an upgrade stops after its step, the pool can be scaled, and the upgrade goes on.

use std::sync::Arc;

use belay::api::{AbortPolicy, OperationPhase, OperationType};

use crate::stage::{
    belay::{Belay, World, version},
    plugin::{run, text},
};

pub async fn a_paused_upgrade_can_be_resumed_after_a_scale(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(3, 3).await;
    let pause = ["pause", "cluster", "demo", "--reason", "lunch", "--yes"];
    let paused = run(&belay, &pause).await;
    assert_eq!(paused.status.code(), Some(0), "{}", text(&paused.stderr));
    let asked = format!("Asked Operation {operation} to pause");
    assert!(
        text(&paused.stdout).contains(&asked),
        "{}",
        text(&paused.stdout)
    );
    belay
        .is_in_phase(&operation, OperationPhase::Canceling)
        .await;
    // The drain that has begun goes on.
    belay.set_min_available(2).await;
    let canceled = belay.is_canceled(&operation).await;
    let cancellation = canceled.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "paused: lunch");
    assert_eq!(cancellation.policy, AbortPolicy::AfterStep);
    belay.lock_is_free().await;
    let status = text(&run(&belay, &["status", "demo"]).await.stdout);
    assert!(status.contains("ManagedCluster demo: Paused"), "{status}");
    assert!(
        status.contains("ago: lunch. Upgrade of ManagedCluster demo to 1.36.3, at "),
        "{status}"
    );
    assert!(status.contains("steps left"), "{status}");
    assert!(
        status.contains("kubectl belay resume cluster demo"),
        "{status}"
    );

    // Only the version is on hold: a scale replaces no node, and works meanwhile.
    belay.set_count("np1", 4).await;
    belay
        .eventually("has 4 nodes", || async { belay.nodes().await.len() == 4 })
        .await;
    assert!(
        belay
            .nodes()
            .await
            .iter()
            .any(|node| version(node) == "v1.35.7")
    );

    belay.lock_is_free().await;
    belay.set_min_available(0).await;
    let resumed = run(&belay, &["resume", "operation", &operation]).await;
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    assert!(
        belay
            .nodes()
            .await
            .iter()
            .all(|node| version(node) == "v1.36.3")
    );
    belay
        .nth_operation(1, OperationType::Reconcile, "demo")
        .await;
    belay.cluster_is_ready().await;
    belay.check_history();
}

pub async fn a_resume_without_a_hold_is_refused(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade_of(2, 2).await;
    let early = run(&belay, &["resume", "operation", &operation]).await;
    assert_eq!(early.status.code(), Some(1));
    let why = format!("Operation {operation} has not stopped yet: it is InProgress");
    assert!(
        text(&early.stderr).contains(&why),
        "{}",
        text(&early.stderr)
    );
    belay.set_min_available(0).await;
    belay.succeeds(&operation).await;
    belay.lock_is_free().await;
    for (kind, name, why) in [
        (
            "cluster",
            "demo",
            "nothing is on hold on ManagedCluster demo",
        ),
        ("pool", "np1", "nothing is on hold on AgentPool np1"),
        (
            "operation",
            operation.as_str(),
            "holds nothing on ManagedCluster demo",
        ),
    ] {
        let late = run(&belay, &["resume", kind, name]).await;
        assert_eq!(late.status.code(), Some(1));
        assert!(text(&late.stderr).contains(why), "{}", text(&late.stderr));
    }
    let late = run(&belay, &["pause", "cluster", "demo", "--yes"]).await;
    assert_eq!(late.status.code(), Some(1));
    belay.check_history();
}
