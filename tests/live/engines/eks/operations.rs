//! The operations on an EKS cluster.

use std::sync::Arc;

use belay::api::OperationType::{Rollback, Scale, Start, Stop, Update, Upgrade};
use serde_json::{Value, json};

use crate::stage::belay::World;

use super::stage::{NEW, OLD, Stage};

impl Stage {
    fn set_cluster(&self, spec: &Value) -> Result<String, String> {
        let patch = json!({"spec": spec}).to_string();
        let cluster = ["patch", "managedcluster", "demo", "--type=merge", "-p"];
        self.belay.try_kubectl(&[&cluster[..], &[&patch]].concat())
    }
}

pub async fn an_eks_upgrade_does_the_control_plane_first_and_then_one_nodegroup_at_a_time(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    stage.belay.set_version(NEW).await;
    let upgrade = stage.belay.operation(Upgrade, "demo").await;
    let status = stage.belay.succeeds(&upgrade).await;
    let steps: Vec<_> = status.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps, ["control-plane", "agentpool/np0", "agentpool/np1"]);
    assert!(status.steps.iter().all(|step| step.handle.is_some()));
    let expected = [
        "POST updates 200",
        "POST np0/update-version 200",
        "POST np1/update-version 200",
    ];
    assert_eq!(stage.changes_in_short(), expected);
    assert_eq!(stage.demo()["version"], "1.34");
    assert_eq!(stage.np1()["version"], "1.34");
    let uid = stage.belay.api::<belay::api::Operation>();
    let uid = uid
        .get(&upgrade)
        .await
        .expect("the Operation")
        .metadata
        .uid
        .expect("a uid");
    for change in stage.changes() {
        let token = change.request["clientRequestToken"].as_str();
        assert!(token.is_some_and(|token| token.starts_with(&uid)));
    }
    stage.is_ready().await;
    stage.belay.check_history();
}

pub async fn an_eks_rollback_does_the_nodegroups_first_and_the_control_plane_last(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    stage.is_ready().await;
    belay.set_version(OLD).await;
    let rollback = belay.operation(Rollback, "demo").await;
    let status = belay.succeeds(&rollback).await;
    let steps: Vec<_> = status.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(steps.last(), Some(&"control-plane"));
    assert_eq!(stage.demo()["version"], "1.33");
    assert_eq!(stage.np1()["version"], "1.33");
    let types = stage.changes().into_iter();
    let types: Vec<_> = types
        .map(|change| change.response["update"]["type"].clone())
        .collect();
    assert_eq!(types[5], "VersionRollback");
    stage.is_ready().await;
    belay.check_history();
}

pub async fn a_scale_shows_what_eks_is_doing(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    stage.hold("np1");
    let scale = stage.start_scale().await;
    stage
        .belay
        .eventually("the step says what EKS does", || async {
            let status = stage.belay.status(&scale).await;
            let step = status.steps.first();
            step.is_some_and(|step| step.message == "EKS update in progress: ConfigUpdate")
        })
        .await;
    stage.release("np1");
    stage.belay.succeeds(&scale).await;
    stage.belay.check_history();
}

pub async fn a_nodegroup_keeps_its_minimum_size_when_it_is_stopped_and_started(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    belay.set_count("np1", 12).await;
    let scale = belay.operation(Scale, "np1").await;
    belay.succeeds(&scale).await;
    assert_eq!(stage.sizes(), [1, 12, 12], "the maximum size is raised");
    let stopped = json!({"powerState": "Stopped"});
    belay.set_pool("np1", stopped).await;
    let stop = belay.operation(Stop, "np1").await;
    belay.succeeds(&stop).await;
    assert_eq!(stage.sizes(), [0, 0, 12]);
    assert_eq!(belay.pool_status("np1").await.count, 0);
    stage.is_ready().await;
    let running = json!({"powerState": "Running"});
    belay.set_pool("np1", running).await;
    let start = belay.operation(Start, "np1").await;
    belay.succeeds(&start).await;
    assert_eq!(stage.sizes(), [1, 12, 12]);
    assert_eq!(
        stage.np1()["labels"],
        json!({}),
        "Belay leaves no label behind"
    );
    stage.is_ready().await;
    belay.check_history();
}

pub async fn labels_and_taints_of_a_nodegroup_are_updated_and_labels_of_others_stay(
    world: Arc<World>,
) {
    let stage = Stage::not_adopted(&world, false).await;
    let own = json!({"labels": {"node.kubernetes.io/own": "x"}});
    stage.aws.set_nodegroup("demo", "np1", &own);
    stage.adopt_and_wait().await;
    let taint = json!([{"key": "team", "value": "gold", "effect": "NoSchedule"}]);
    let settings = json!({"nodeLabels": {"team": "gold"}, "nodeTaints": taint, "mode": "System"});
    stage.belay.set_pool("np1", settings).await;
    let update = stage.belay.operation(Update, "np1").await;
    stage.belay.succeeds(&update).await;
    let labels = json!({"team": "gold", "node.kubernetes.io/own": "x", "belay.dev/mode": "System"});
    assert_eq!(stage.np1()["labels"], labels);
    let taint = json!([{"key": "team", "value": "gold", "effect": "NO_SCHEDULE"}]);
    assert_eq!(stage.np1()["taints"], taint);
    stage.is_ready().await;
}

pub async fn an_upgrade_first_writes_the_upgrade_settings_to_the_nodegroup(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let upgrades = json!({"upgradeSettings": {"maxSurge": 0, "maxUnavailable": 2}});
    stage.belay.set_pool("np1", upgrades).await;
    stage.belay.set_version(NEW).await;
    let upgrade = stage.belay.operation(Upgrade, "demo").await;
    stage.belay.succeeds(&upgrade).await;
    let config = &stage.np1()["updateConfig"];
    assert_eq!(
        *config,
        json!({"maxUnavailable": 2, "updateStrategy": "MINIMAL"})
    );
    let last_two = ["POST np1/update-config 200", "POST np1/update-version 200"];
    assert!(
        stage
            .changes_in_short()
            .ends_with(&last_two.map(Into::into))
    );
    stage.is_ready().await;
}

pub async fn a_failed_eks_update_shows_the_error_of_eks(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let message = "Reached max retries while trying to evict pods from nodes in node group np1";
    stage.aws.fail_next("np1", "PodEvictionFailure", message);
    stage.belay.set_count("np1", 5).await;
    let scale = stage.belay.operation(Scale, "np1").await;
    let error = stage.belay.fails(&scale).await;
    assert_eq!(error.code, "PodEvictionFailure");
    assert!(error.message.starts_with(message), "{}", error.message);
}

pub async fn operations_that_eks_does_not_support_are_refused(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let patch = stage.set_cluster(&json!({"kubernetesVersion": "1.34.2"}));
    let refused = patch.expect_err("EKS has no patch versions");
    assert!(refused.contains("write 0 for it"), "{refused}");
    let pool = json!({"kubernetesVersion": "1.32.2"});
    stage.belay.set_pool("np1", pool).await;
    let rollback = stage.belay.operation(Rollback, "np1").await;
    let error = stage.belay.fails(&rollback).await;
    assert_eq!(error.code, "OperationNotSupported");
    stage
        .belay
        .set_pool("np1", json!({"kubernetesVersion": null}))
        .await;
    // The hold because of the version must end first. Until then, admission refuses other changes.
    stage
        .belay
        .eventually("admission allows another change", || async {
            let stopped = json!({"powerState": "Stopped"});
            stage.set_cluster(&stopped).is_ok()
        })
        .await;
    let stop = stage.belay.operation(Stop, "demo").await;
    let error = stage.belay.fails(&stop).await;
    assert_eq!(error.code, "OperationNotSupported");
    assert!(
        error
            .message
            .contains("EKS can't stop or start a control plane"),
        "{}",
        error.message
    );
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
}

pub async fn nodes_of_a_degraded_nodegroup_are_not_ready(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let issue = json!({"code": "AsgInstanceLaunchFailures", "message": "no capacity", "resourceIds": ["asg"]});
    let degraded = json!({"status": "DEGRADED", "health": {"issues": [issue]}});
    stage.aws.set_nodegroup("demo", "np1", &degraded);
    let belay = &stage.belay;
    belay
        .eventually("the status counts no node as Ready", || async {
            belay.pool_status("np1").await.ready_count == 0
        })
        .await;
    let healthy = json!({"status": "ACTIVE", "health": {"issues": []}});
    stage.aws.set_nodegroup("demo", "np1", &healthy);
    belay
        .eventually("the status counts all nodes as Ready", || async {
            belay.pool_status("np1").await.ready_count == 3
        })
        .await;
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
}
