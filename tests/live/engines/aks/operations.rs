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
    let stage = Stage::adopted(&world).await;
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
        stage.changes_in_short(),
        ["PUT demo 200", "PUT system 200", "PUT np1 200"]
    );
    assert_eq!(stage.demo("currentKubernetesVersion"), NEW);
    assert_eq!(stage.np1("currentOrchestratorVersion"), NEW);
    stage.is_ready().await;
    // Belay writes unknown properties back unchanged.
    let changes = stage.changes();
    assert_eq!(changes[0].request["sku"]["tier"], "Free");
    assert_eq!(changes[2].request["properties"]["osDiskSizeGB"], 128);
    let pools = &changes[0].request["properties"]["agentPoolProfiles"];
    assert_eq!(
        pools[0]["orchestratorVersion"], OLD,
        "the request for the control plane upgrades no pool"
    );
    stage.belay.check_history();
}

pub async fn a_scale_shows_the_percentage_that_azure_reports(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.set_durations(60_000, 100);
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    stage
        .belay
        .eventually("the Operation shows a percentage", || async {
            let status = stage.belay.status(&scale).await;
            let step = status.steps.first();
            step.is_some_and(|step| {
                step.percent_complete.is_some_and(|percent| percent > 0)
                    && step.message == "AKS reports Scaling"
            })
        })
        .await;
    // Azure shows the count 5 at once.
    let ready = stage.belay.pool_status("np1").await.ready_count;
    assert_eq!(ready, 3, "two nodes are not Ready yet");
    stage.set_durations(1, 1);
    stage.belay.succeeds(&scale).await;
    stage.belay.check_history();
}

pub async fn without_the_preview_api_an_operation_shows_no_percentage_but_succeeds(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    stage.azure.set_preview(false);
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    let status = stage.belay.succeeds(&scale).await;
    assert_eq!(status.steps[0].percent_complete, None);
    assert_eq!(stage.np1("count"), 5);
    stage.belay.is_idle().await;
    assert_eq!(stage.belay.count_operations().await, 1);
}

pub async fn a_node_pool_keeps_its_count_when_it_is_stopped_and_started(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    belay.set_count("np1", 5).await;
    let scale = belay.operation(Scale, "np1").await;
    belay.succeeds(&scale).await;
    assert_eq!(stage.np1("count"), 5);
    stage.stop_np1().await;
    assert_eq!(stage.np1("count"), 5);
    assert_eq!(belay.pool_status("np1").await.count, 0);
    belay
        .set_pool("np1", json!({"powerState": "Running"}))
        .await;
    let start = belay.operation(Start, "np1").await;
    belay.succeeds(&start).await;
    assert_eq!(stage.np1("powerState")["code"], "Running");
    assert_eq!(stage.changes_in_short(), ["PUT np1 200"; 3]);
    stage.is_ready().await;
}

pub async fn a_stopped_pool_that_is_started_and_scaled_in_one_edit_starts_first(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.stop_np1().await;
    belay
        .set_pool("np1", json!({"powerState": "Running", "count": 4}))
        .await;
    let start = belay.operation(Start, "np1").await;
    belay.succeeds(&start).await;
    assert_eq!(stage.np1("count"), 4);
    // Belay changes the power state first, and then the count.
    assert_eq!(stage.changes_in_short(), ["PUT np1 200"; 3]);
    stage.is_ready().await;
}

pub async fn an_aks_cluster_stops_and_starts_as_a_whole(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
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
        stage.changes_in_short(),
        ["POST demo/stop 202", "POST demo/start 202"]
    );
    stage.is_ready().await;
}

pub async fn labels_and_taints_of_a_node_pool_are_updated_and_azures_own_labels_stay(
    world: Arc<World>,
) {
    let stage = Stage::not_adopted(&world).await;
    let own = json!({"nodeLabels": {"node.kubernetes.io/azures": "own"}});
    stage
        .azure
        .somebody_changes(GROUP, "demo", Some("np1"), &own);
    stage.is_in_state("np1", "Succeeded").await;
    stage.adopt_and_wait().await;
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
    let stage = Stage::adopted(&world).await;
    let message = "Pod default/web-1 has budget web";
    stage.azure.fail_next("np1", "PodDrainFailure", message);
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    let error = stage.belay.fails(&scale).await;
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("PodDrainFailure", message)
    );
    // A Reconcile completes the failed operation.
    reconcile_pool(&stage.belay, "np1").await;
    assert_eq!(stage.np1("provisioningState"), "Succeeded");
    stage.is_ready().await;
}

pub async fn a_failed_aks_control_plane_is_repaired_only_by_a_reconcile(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.azure.fail_next("demo", "InternalError", "try again");
    stage.hold("demo");
    let changes = json!({"disableLocalAccounts": true});
    stage.azure.somebody_changes(GROUP, "demo", None, &changes);
    let by_others = belay.operation(Update, "demo").await;
    stage.release("demo");
    assert_eq!(belay.fails(&by_others).await.code, "InternalError");
    belay.lock_is_free().await;
    belay.is_idle().await;
    assert_eq!(
        stage.changes_in_short(),
        Vec::<String>::new(),
        "Belay doesn't repair it without a request"
    );
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "retry")
        .await;
    let status = belay.succeeds("retry").await;
    assert_eq!(status.steps[0].name, "control-plane");
    assert_eq!(stage.demo("provisioningState"), "Succeeded");
    assert_eq!(stage.changes_in_short(), ["PUT demo 200"]);
    stage.is_ready().await;
}

pub async fn a_rollback_of_an_aks_control_plane_is_not_supported(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.belay.set_version("1.32.9").await;
    let rollback = stage.belay.operation(Rollback, "demo").await;
    let error = stage.belay.fails(&rollback).await;
    assert_eq!(error.code, "OperationNotSupported");
    assert!(
        error
            .message
            .contains("AKS can't roll back a control plane"),
        "{}",
        error.message
    );
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
}

async fn reconcile_pool(belay: &Belay, pool: &str) {
    belay.reconcile(TargetKind::AgentPool, pool, "retry").await;
    belay.succeeds("retry").await;
}
