//! A change of a version that a spec asks for waits for a maintenance window.

use std::sync::Arc;

use belay::{
    api::{AbortPolicy, OperationPhase, OperationType},
    machinery::clock,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World, is_true, version},
    plugin,
};

/// Returns a window that is always open.
fn open(at_end: &str) -> Value {
    json!([{"start": "00:00", "duration": "24h", "atEnd": at_end}])
}

/// Returns a window that opens in some hours, and when it opens.
fn closed(at_end: &str) -> (Value, Timestamp) {
    let later = clock::now() + jiff::SignedDuration::from_hours(6);
    let later = later.to_string();
    let (date, hour) = (&later[..10], &later[11..13]);
    let opens = format!("{date}T{hour}:00:00Z").parse().expect("a time");
    let start = format!("{hour}:00");
    let window =
        json!([{"start": start, "duration": "1h", "timeZone": "Etc/UTC", "atEnd": at_end}]);
    (window, opens)
}

fn is_old(node: &Node) -> bool {
    version(node) == "v1.35.7"
}

/// Creates a ready cluster with a window, and a pool of these nodes.
async fn ready_with(belay: &Belay, windows: &Value, nodes: usize) {
    let settings = json!({
        "maintenanceWindows": windows,
        "provider": {"kwok": {"nodeProvisioningTime": "0s"}},
    });
    belay.create_cluster_with(settings).await;
    belay.create_pool("np1", nodes).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
}

/// Begins an upgrade in a window that pauses at its end. A budget blocks its first drain. Returns its name.
async fn blocked_in_a_window(belay: &Belay) -> String {
    ready_with(belay, &open("Pause"), 2).await;
    belay.create_workload(2, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    upgrade
}

/// Waits until the cluster is Ready with a reason and with a message that ends so.
async fn is_ready_and_waits(belay: &Belay, end: &str) {
    belay
        .eventually(&format!("the cluster is Ready, and {end}"), || async {
            let cluster = belay.cluster().await;
            let status = cluster.status.unwrap_or_default();
            let mut conditions = status.conditions.iter();
            let ready = conditions.find(|condition| condition.type_ == "Ready");
            status.observed_generation == cluster.metadata.generation
                && ready.is_some_and(|ready| {
                    ready.status == "True"
                        && ready.reason == "WaitsForWindow"
                        && ready.message.ends_with(end)
                })
        })
        .await;
}

pub async fn a_new_version_waits_while_scales_and_people_go_on(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let (windows, opens) = closed("Continue");
    ready_with(&belay, &windows, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let waits = format!("waits for the window that opens at {opens}");
    belay
        .eventually("the Operation says what it waits for", || async {
            let status = belay.status(&upgrade).await;
            status.phase == OperationPhase::Pending
                && status.conditions.iter().any(|condition| {
                    condition.reason == "WaitsForWindow" && condition.message == waits
                })
        })
        .await;
    is_ready_and_waits(&belay, &format!("the change to 1.36.3 {waits}")).await;
    assert!(belay.cluster_status().await.operations.is_empty());
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&scale).await;
    belay.pool_is_ready("np1").await;
    let nodes = belay.nodes().await;
    assert!(nodes.iter().all(|node| version(node) == "v1.35.7"));
    // A new operator reads from the objects what waits.
    belay.kill_operator();
    belay.start_operator();
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    assert_eq!(belay.status(&upgrade).await.phase, OperationPhase::Pending);
    belay.lock_is_free().await;
    belay
        .create_operation_on_cluster("now", "Upgrade", json!({"kubernetesVersion": "1.36.3"}))
        .await;
    belay.succeeds("now").await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceled).await;
    let nodes = belay.nodes().await;
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    belay.check_history();
}

pub async fn the_newest_version_waits_and_begins_when_the_window_opens(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let (windows, _) = closed("Continue");
    ready_with(&belay, &windows, 1).await;
    belay.set_version("1.36.3").await;
    let first = belay.operation(OperationType::Upgrade, "demo").await;
    belay.set_version("1.36.4").await;
    let second = belay.nth_operation(2, OperationType::Upgrade, "demo").await;
    belay.is_in_phase(&first, OperationPhase::Canceled).await;
    belay
        .set_cluster(json!({"maintenanceWindows": open("Continue")}))
        .await;
    belay.succeeds(&second).await;
    belay.cluster_is_ready().await;
    assert_eq!(version(&belay.nodes().await[0]), "v1.36.4");
    belay.check_history();
}

pub async fn a_window_that_closes_pauses_an_upgrade_and_the_next_one_resumes_it(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = blocked_in_a_window(&belay).await;
    let (windows, opens) = closed("Pause");
    belay
        .set_cluster(json!({"maintenanceWindows": windows}))
        .await;
    belay.is_in_phase(&upgrade, OperationPhase::Canceling).await;
    // The drain that has begun is finished.
    belay.set_min_available(1).await;
    let canceled = belay.is_canceled(&upgrade).await;
    let cancellation = canceled.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "paused: the maintenance window closed");
    assert_eq!(cancellation.requested_by, "belay");
    assert_eq!(cancellation.policy, AbortPolicy::AfterStep);
    is_ready_and_waits(
        &belay,
        &format!("and the rest of it waits for the window that opens at {opens}"),
    )
    .await;
    let status = plugin::run(&belay, &["status", "demo"]).await;
    let status = plugin::text(&status.stdout);
    assert!(status.contains("the maintenance window closed"), "{status}");
    assert!(status.contains("resume cluster demo"), "{status}");
    assert_eq!(
        belay
            .nodes()
            .await
            .iter()
            .filter(|node| is_old(node))
            .count(),
        1
    );
    belay
        .set_cluster(json!({"maintenanceWindows": open("Pause")}))
        .await;
    let resumed = belay.nth_operation(2, OperationType::Upgrade, "demo").await;
    belay.succeeds(&resumed).await;
    assert!(!belay.nodes().await.iter().any(is_old));
    belay
        .eventually("an Event says what it goes on with", || async {
            let left = format!("goes on with what Operation {upgrade} left");
            let events = belay.events(&resumed).await;
            events.iter().any(|(_, note)| note.ends_with(&left))
        })
        .await;
    belay.check_history();
}

pub async fn a_persons_pause_lasts_when_the_window_opens_again(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = blocked_in_a_window(&belay).await;
    belay.abort(&upgrade, "paused: lunch").await;
    belay.is_canceled(&upgrade).await;
    for windows in [closed("Pause").0, open("Pause")] {
        belay
            .set_cluster(json!({"maintenanceWindows": windows}))
            .await;
        belay
            .eventually("the cluster is on hold", || async {
                let cluster = belay.cluster().await;
                let status = cluster.status.unwrap_or_default();
                status.observed_generation == cluster.metadata.generation
                    && is_true(&status.conditions, "Stalled")
            })
            .await;
    }
    let upgrades = belay.operations(OperationType::Upgrade, "demo").await;
    assert_eq!(upgrades.len(), 1);
    belay.check_history();
}

pub async fn a_window_of_an_unknown_time_zone_is_reported_and_nothing_begins(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    let windows = json!([{"start": "00:00", "duration": "24h", "timeZone": "Europe/Berln"}]);
    belay
        .set_cluster(json!({"maintenanceWindows": windows, "kubernetesVersion": "1.36.3"}))
        .await;
    belay
        .eventually("the cluster is Stalled", || async {
            let conditions = belay.cluster_status().await.conditions;
            conditions.iter().any(|condition| {
                condition.type_ == "Stalled"
                    && condition.status == "True"
                    && condition.reason == "InvalidMaintenanceWindow"
                    && condition.message.contains("isn't a known time zone")
            })
        })
        .await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.set_count("np1", 2).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&scale).await;
    assert_eq!(belay.status(&upgrade).await.phase, OperationPhase::Pending);
    let nodes = belay.nodes().await;
    assert!(nodes.iter().all(|node| version(node) == "v1.35.7"));
    belay
        .set_cluster(json!({"maintenanceWindows": open("Continue")}))
        .await;
    belay.succeeds(&upgrade).await;
    belay.check_history();
}

pub async fn why_and_plan_name_the_window_and_how_to_go_on_without_it(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let (windows, opens) = closed("Continue");
    ready_with(&belay, &windows, 1).await;
    belay.set_version("1.36.3").await;
    let waits = format!("waits for the window that opens at {opens}");
    is_ready_and_waits(&belay, &waits).await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    for subject in ["demo".to_owned(), format!("operation/{upgrade}")] {
        let why = plugin::run(&belay, &["why", &subject]).await;
        let why = plugin::text(&why.stdout);
        let start = windows[0]["start"].as_str().unwrap_or_default();
        assert!(why.contains(&waits), "{why}");
        assert!(
            why.contains(&format!("every day {start} for 1h (Etc/UTC)")),
            "{why}"
        );
        assert!(
            why.contains("upgrade cluster demo --kubernetes-version 1.36.3"),
            "{why}"
        );
    }
    belay.lock_is_free().await;
    let spec = json!({
        "apiVersion": "belay.dev/v1alpha1", "kind": "ManagedCluster", "metadata": {"name": "demo"},
        "spec": {"kubernetesVersion": "1.36.4", "maintenanceWindows": windows,
            "provider": {"kwok": {"nodeProvisioningTime": "0s"}}},
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), spec.to_string()).expect("written");
    let path = file.path().to_str().expect("a path");
    let plan = plugin::run(&belay, &["plan", "-f", path]).await;
    let plan = plugin::text(&plan.stdout);
    let at = opens.strftime("%Y-%m-%d %H:%M UTC");
    let expected = format!("in the maintenance window that opens at {at}");
    assert!(plan.contains(&expected), "{plan}");
    let list = plugin::run(&belay, &["operation", "list", "--in-flight"]).await;
    let list = plugin::text(&list.stdout);
    assert!(
        list.contains(&upgrade) && list.contains("Pending"),
        "{list}"
    );
}
