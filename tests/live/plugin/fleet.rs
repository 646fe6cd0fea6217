//! Commands for many clusters: `abort --all`, `operation list --in-flight` and `wait -f`.

use std::{io::Write as _, sync::Arc};

use belay::api::{OperationPhase, OperationType};
use serde_json::json;

use crate::stage::{
    belay::{Belay, World},
    plugin::{run, text},
};

/// Begins scales of two pools that never come to their end. Returns their names.
async fn two_scales(belay: &Belay) -> Vec<String> {
    belay.create_cluster(0).await;
    for pool in ["np1", "np2"] {
        belay.create_pool(pool, 1).await;
        belay.pool_is_ready(pool).await;
    }
    belay.lock_is_free().await;
    belay.set_provisioning_time("10m").await;
    let mut scales = Vec::new();
    for pool in ["np1", "np2"] {
        belay.set_count(pool, 2).await;
        let scale = belay.operation(OperationType::Scale, pool).await;
        belay.is_in_phase(&scale, OperationPhase::InProgress).await;
        scales.push(scale);
    }
    scales
}

pub async fn abort_all_stops_what_it_lists(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scales = two_scales(&belay).await;
    let listed = run(&belay, &["operation", "list", "--in-flight"]).await;
    let listed = text(&listed.stdout);
    assert_eq!(
        listed.lines().count(),
        3,
        "a title and two lines:\n{listed}"
    );

    let upgrades = run(&belay, &["abort", "--all", "--type", "upgrade", "--yes"]).await;
    assert_eq!(upgrades.status.code(), Some(0));
    assert!(text(&upgrades.stdout).contains("No operation in flight is selected"));
    let others = run(&belay, &["abort", "--all", "-l", "region=eu", "--yes"]).await;
    assert!(text(&others.stdout).contains("No operation in flight is selected"));
    let unasked = run(&belay, &["abort", "--all"]).await;
    assert_eq!(
        unasked.status.code(),
        Some(1),
        "nobody can be asked in a pipe"
    );
    let phase = belay.status(&scales[0]).await.phase;
    assert_eq!(phase, OperationPhase::InProgress);

    belay.kubectl(&["label", "managedcluster", "demo", "region=eu"]);
    let arguments = [
        "abort",
        "--all",
        "-l",
        "region=eu",
        "--type",
        "Scale",
        "--reason",
        "wrong pools",
        "--yes",
        "--wait",
    ];
    let aborted = run(&belay, &arguments).await;
    let shown = text(&aborted.stdout);
    assert_eq!(
        aborted.status.code(),
        Some(0),
        "{shown}{}",
        text(&aborted.stderr)
    );
    assert!(
        shown.contains("Asked 2 Operations to stop, 0 refused."),
        "{shown}"
    );
    for scale in scales {
        assert!(shown.contains(&scale), "{shown}");
        let status = belay.status(&scale).await;
        assert_eq!(status.phase, OperationPhase::Canceled);
        assert_eq!(
            status.cancellation.expect("a cancellation").reason,
            "wrong pools"
        );
    }
    belay.check_history();
}

pub async fn a_refused_abort_does_not_stop_the_other_aborts(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scales = two_scales(&belay).await;
    belay.refuse_changes_of_operation(&scales[1]).await;
    let aborted = run(&belay, &["abort", "--all", "--yes"]).await;
    assert_eq!(aborted.status.code(), Some(1));
    let shown = text(&aborted.stdout);
    assert!(
        shown.contains("Asked 1 Operation to stop, 1 refused."),
        "{shown}"
    );
    assert!(
        text(&aborted.stderr).contains(&scales[1]),
        "{}",
        text(&aborted.stderr)
    );
    belay.is_canceled(&scales[0]).await;
    belay.stop_refusing();
    let phase = belay.status(&scales[1]).await.phase;
    assert_eq!(phase, OperationPhase::InProgress);
}

pub async fn wait_sums_up_what_an_apply_started(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let manifests = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "belay.dev/v1alpha1", "kind": "ManagedCluster", "metadata": {"name": "demo"},
            "spec": {"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}}},
        {"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np1"},
            "spec": {"clusterName": "demo", "count": 2}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}},
    ]});
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(manifests.to_string().as_bytes())
        .expect("written");
    let path = file.path().display().to_string();
    let early = run(&belay, &["wait", "-f", &path]).await;
    assert_eq!(early.status.code(), Some(1));
    assert!(
        text(&early.stderr).contains("there is no"),
        "{}",
        text(&early.stderr)
    );

    belay.kubectl(&["apply", "-f", &path]);
    let waited = run(&belay, &["wait", "-f", &path, "--timeout", "5m"]).await;
    let shown = text(&waited.stdout);
    assert_eq!(
        waited.status.code(),
        Some(0),
        "{shown}{}",
        text(&waited.stderr)
    );
    assert!(shown.contains("2 of 2 objects ended well."), "{shown}");

    // What is on hold has ended too, and not well.
    belay.set_provisioning_time("10m").await;
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_in_phase(&scale, OperationPhase::InProgress).await;
    let short = run(&belay, &["wait", "-f", &path, "--timeout", "1s"]).await;
    assert_eq!(short.status.code(), Some(1));
    let why = text(&short.stderr);
    assert!(
        why.contains("1 object did not end yet: --timeout has passed"),
        "{why}"
    );
    belay.abort(&scale, "not now").await;
    belay.is_canceled(&scale).await;
    let held = run(&belay, &["wait", "-f", &path]).await;
    let shown = text(&held.stdout);
    assert_eq!(held.status.code(), Some(1), "{shown}");
    assert!(shown.contains("OperationCanceled"), "{shown}");
    assert!(shown.contains("1 of 2 objects ended well."), "{shown}");
    belay.check_history();
}
