//! Changes that others make at AKS, with az or in the console, while Belay operates the cluster.

use std::sync::Arc;

use belay::api::{
    BEGUN_BY_ANNOTATION, Operation,
    OperationType::{Scale, Upgrade},
};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::belay::{World, is_true};

use super::stage::{GROUP, NEW, Stage};

impl Stage {
    fn somebody_changes(&self, pool: Option<&str>, changes: &Value) {
        self.azure.somebody_changes(GROUP, "demo", pool, changes);
    }
}

pub async fn a_scale_started_with_az_holds_the_lock_and_can_be_aborted(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    stage.somebody_changes(Some("np1"), &json!({"count": 9}));
    let scale = belay.operation(Scale, "np1").await;
    let followed = belay.api::<Operation>().get(&scale).await.expect("it");
    assert!(followed.annotations().contains_key(BEGUN_BY_ANNOTATION));
    assert_eq!(followed.spec.count, Some(9));
    belay
        .eventually("has it in the lock", || async {
            let lock = belay.cluster_status().await.operations;
            lock.iter().any(|held| held.name == scale)
        })
        .await;
    belay.abort(&scale, "not that many").await;
    belay.is_canceled(&scale).await;
    assert_eq!(stage.changed(), ["POST np1/abort 202"]);
    assert_eq!(stage.np1("provisioningState"), "Canceled");
    belay.check_history();
}

pub async fn changes_made_with_az_are_followed_and_not_reverted(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.takes(1500, 100);
    stage.somebody_changes(None, &json!({"kubernetesVersion": NEW}));
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    belay.lock_is_free().await;
    // AKS calls it an upgrade.
    let both = json!({"count": 7, "orchestratorVersion": NEW});
    stage.somebody_changes(Some("np1"), &both);
    let upgrade = belay.operation(Upgrade, "np1").await;
    belay.succeeds(&upgrade).await;
    belay.lock_is_free().await;
    belay.rests().await;
    assert_eq!(stage.np1("count"), 7);
    assert_eq!(stage.demo("currentKubernetesVersion"), NEW);
    assert_eq!(stage.changed(), Vec::<String>::new());
    assert_eq!(
        belay.pool("np1").await.spec.count,
        3,
        "the spec is a person's"
    );
}

pub async fn an_operation_that_azure_refuses_during_another_one_is_blocked_and_done_later(
    world: Arc<World>,
) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    stage.azure.set_preview(false);
    stage.hold("demo");
    stage.somebody_changes(None, &json!({"kubernetesVersion": NEW}));
    stage.is_in_state("demo", "Upgrading").await;
    belay.set_count("np1", 5).await;
    let scale = belay.operation(Scale, "np1").await;
    let blocked = belay.is_blocked(&scale).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "OperationNotAllowed");
    assert!(
        blocked
            .message
            .contains("Another operation (demo - Upgrading) is in progress"),
        "{}",
        blocked.message
    );
    stage.release("demo");
    belay.succeeds(&scale).await;
    assert_eq!(stage.np1("count"), 5);
}

pub async fn belay_does_not_scale_a_pool_that_the_aks_autoscaler_scales(world: Arc<World>) {
    let stage = Stage::set(&world).await;
    let belay = &stage.belay;
    let autoscaler = json!({"enableAutoScaling": true, "minCount": 1, "maxCount": 9});
    stage.somebody_changes(Some("np1"), &autoscaler);
    belay
        .eventually("shows who scales the pool", || async {
            is_true(&belay.pool_status("np1").await.conditions, "Autoscaled")
        })
        .await;
    stage.is_in_state("np1", "Succeeded").await;
    belay.lock_is_free().await;
    let scale = ["scale", "agentpool/np1", "--replicas=4"];
    let refused = belay.try_kubectl(&scale).expect_err("it is refused");
    let by = "the cluster autoscaler of AKS (1 to 9 nodes)";
    assert!(refused.contains(by), "{refused}");
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    assert_eq!(stage.np1("count"), 3);
    stage.stops_np1().await;
}
