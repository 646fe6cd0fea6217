//! The operations on an AKS cluster.

use std::sync::Arc;

use belay::api::{
    OperationType::{Rollback, Scale, Start, Stop, Update, Upgrade},
    PowerState, TargetKind,
};
use serde_json::json;

use crate::stage::belay::{Belay, World};

use super::stage::{GROUP, NEW, OLD, Stage};

pub async fn an_aks_upgrade_does_the_control_plane_first_and_then_one_pool_at_a_time(
    world: Arc<World>,
) {
    let stage = Stage::set(&world).await;
    stage.belay.set_version(NEW).await;
    let upgrade = stage.belay.operation(Upgrade, "demo").await;
    let status = stage.belay.succeeds(&upgrade).await;
    let steps: Vec<_> = status.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        steps,
        ["control-plane", "agentpool/system", "agentpool/np1"]
    );
    assert!(status.steps.iter().all(|step| step.handle.is_some()));
    assert_eq!(
        stage.changed(),
        ["PUT demo 200", "PUT system 200", "PUT np1 200"]
    );
    assert_eq!(stage.demo("currentKubernetesVersion"), NEW);
    assert_eq!(stage.np1("currentOrchestratorVersion"), NEW);
    stage.is_ready().await;
    // Belay writes properties that it doesn't know back unchanged.
    let changes = stage.changes();
    assert_eq!(changes[0].request["sku"]["tier"], "Free");
    assert_eq!(changes[2].request["properties"]["osDiskSizeGB"], 128);
    let pools = &changes[0].request["properties"]["agentPoolProfiles"];
    assert_eq!(
        pools[0]["orchestratorVersion"], OLD,
        "each pool has its turn"
    );
    stage.belay.check_history();
}

pub async fn a_scale_shows_the_percentage_that_azure_reports(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    stage.takes(60_000, 100);
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    stage
        .belay
        .eventually("shows a percent", || async {
            let status = stage.belay.status(&scale).await;
            let step = status.steps.first();
            step.is_some_and(|step| {
                step.percent_complete.is_some_and(|percent| percent > 0)
                    && step.message == "AKS says Scaling"
            })
        })
        .await;
    // Azure shows the count 5 at once.
    let ready = stage.belay.pool_status("np1").await.ready_count;
    assert_eq!(ready, 3, "two of them come up");
    stage.takes(1, 1);
    stage.belay.succeeds(&scale).await;
    stage.belay.check_history();
}

pub async fn without_the_preview_api_an_operation_shows_no_percentage_but_succeeds(
    world: Arc<World>,
) {
    let stage = Stage::set(&world).await;
    stage.azure.set_preview(false);
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    let status = stage.belay.succeeds(&scale).await;
    assert_eq!(status.steps[0].percent_complete, None);
    assert_eq!(stage.np1("count"), 5);
    stage.belay.rests().await;
    assert_eq!(stage.belay.count_operations().await, 1);
}

pub async fn a_node_pool_keeps_its_count_when_it_is_stopped_and_started(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    belay.set_count("np1", 5).await;
    let scale = belay.operation(Scale, "np1").await;
    belay.succeeds(&scale).await;
    assert_eq!(stage.np1("count"), 5);
    stage.stops_np1().await;
    assert_eq!(stage.np1("count"), 5);
    assert_eq!(belay.pool_status("np1").await.count, 0);
    belay
        .set_pool("np1", json!({"powerState": "Running"}))
        .await;
    let start = belay.operation(Start, "np1").await;
    belay.succeeds(&start).await;
    assert_eq!(stage.np1("powerState")["code"], "Running");
    assert_eq!(stage.changed(), ["PUT np1 200"; 3]);
    stage.is_ready().await;
}

pub async fn a_stopped_pool_that_is_started_and_scaled_in_one_edit_starts_first(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.stops_np1().await;
    belay
        .set_pool("np1", json!({"powerState": "Running", "count": 4}))
        .await;
    let start = belay.operation(Start, "np1").await;
    belay.succeeds(&start).await;
    assert_eq!(stage.np1("count"), 4);
    // Power first, then the count.
    assert_eq!(stage.changed(), ["PUT np1 200"; 3]);
    stage.is_ready().await;
}

pub async fn an_aks_cluster_stops_and_starts_as_a_whole(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    belay.set_cluster(json!({"powerState": "Stopped"})).await;
    let stop = belay.operation(Stop, "demo").await;
    belay.succeeds(&stop).await;
    assert_eq!(stage.demo("powerState")["code"], "Stopped");
    let status = belay.pool_status("np1").await;
    assert_eq!(
        status.power_state.map(|power| power.code),
        Some(PowerState::Stopped)
    );
    belay.set_cluster(json!({"powerState": "Running"})).await;
    let start = belay.operation(Start, "demo").await;
    belay.succeeds(&start).await;
    assert_eq!(
        stage.changed(),
        ["POST demo/stop 202", "POST demo/start 202"]
    );
    stage.is_ready().await;
}

pub async fn labels_and_taints_of_a_node_pool_are_updated_and_azures_own_labels_stay(
    world: Arc<World>,
) {
    let stage = Stage::unadopted(&world).await;
    let own = json!({"nodeLabels": {"node.kubernetes.io/azures": "own"}});
    stage
        .azure
        .somebody_changes(GROUP, "demo", Some("np1"), &own);
    stage.is_in_state("np1", "Succeeded").await;
    stage.is_operated().await;
    let taint = json!([{"key": "team", "value": "gold", "effect": "NoSchedule"}]);
    let settings = json!({"nodeLabels": {"team": "gold"}, "nodeTaints": taint});
    stage.belay.set_pool("np1", settings).await;
    let update = stage.belay.operation(Update, "np1").await;
    stage.belay.succeeds(&update).await;
    let labels = json!({"team": "gold", "node.kubernetes.io/azures": "own"});
    assert_eq!(stage.np1("nodeLabels"), labels);
    assert_eq!(stage.np1("nodeTaints"), json!(["team=gold:NoSchedule"]));
    stage.is_ready().await;
}

pub async fn a_failed_aks_operation_shows_the_error_of_aks(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let words = "Pod default/web-1 has budget web";
    stage.azure.fail_next("np1", "PodDrainFailure", words);
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    let error = stage.belay.fails(&scale).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("PodDrainFailure", words)
    );
    // A failed operation is completed when somebody asks for it again.
    reconciles(&stage.belay, "np1").await;
    assert_eq!(stage.np1("provisioningState"), "Succeeded");
    stage.is_ready().await;
}

pub async fn a_failed_aks_control_plane_is_repaired_only_by_a_reconcile(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.azure.fail_next("demo", "InternalError", "try again");
    stage.hold("demo");
    let changes = json!({"disableLocalAccounts": true});
    stage.azure.somebody_changes(GROUP, "demo", None, &changes);
    let others = belay.operation(Update, "demo").await;
    stage.release("demo");
    assert_eq!(belay.fails(&others).await.code, "InternalError");
    belay.lock_is_free().await;
    belay.rests().await;
    assert_eq!(stage.changed(), Vec::<String>::new(), "nobody asked for it");
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "again")
        .await;
    let status = belay.succeeds("again").await;
    assert_eq!(status.steps[0].name, "control-plane");
    assert_eq!(stage.demo("provisioningState"), "Succeeded");
    assert_eq!(stage.changed(), ["PUT demo 200"]);
    stage.is_ready().await;
}

pub async fn a_rollback_of_an_aks_control_plane_is_not_supported(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    stage.belay.set_version("1.32.9").await;
    let rollback = stage.belay.operation(Rollback, "demo").await;
    let error = stage.belay.fails(&rollback).await;
    assert_eq!(error.code, "OperationNotSupported");
    assert!(
        error.message.contains("AKS takes no control plane back"),
        "{}",
        error.message
    );
    assert_eq!(stage.changed(), Vec::<String>::new());
}

async fn reconciles(belay: &Belay, pool: &str) {
    belay.reconcile(TargetKind::AgentPool, pool, "again").await;
    belay.succeeds("again").await;
}
