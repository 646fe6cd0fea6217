//! Changes that users or programs make directly at AKS, with az or in the console, while Belay manages the cluster.

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
    fn change_as_other_user(&self, pool: Option<&str>, changes: &Value) {
        self.azure.somebody_changes(GROUP, "demo", pool, changes);
    }
}

pub async fn a_scale_started_with_az_holds_the_lock_and_can_be_aborted(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    stage.change_as_other_user(Some("np1"), &json!({"count": 9}));
    let scale = belay.operation(Scale, "np1").await;
    let followed = belay
        .api::<Operation>()
        .get(&scale)
        .await
        .expect("the Operation");
    assert!(followed.annotations().contains_key(BEGUN_BY_ANNOTATION));
    assert_eq!(followed.spec.count, Some(9));
    belay
        .eventually("the lock contains the Scale", || async {
            let lock = belay.cluster_status().await.operations;
            lock.iter().any(|held| held.name == scale)
        })
        .await;
    belay.abort(&scale, "not that many").await;
    belay.is_canceled(&scale).await;
    assert_eq!(stage.changes_in_short(), ["POST np1/abort 202"]);
    assert_eq!(stage.np1("provisioningState"), "Canceled");
    belay.check_history();
}

pub async fn changes_made_with_az_are_followed_and_not_reverted(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.set_durations(1500, 100);
    stage.change_as_other_user(None, &json!({"kubernetesVersion": NEW}));
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    belay.lock_is_free().await;
    // AKS reports this change as an upgrade.
    let both = json!({"count": 7, "orchestratorVersion": NEW});
    stage.change_as_other_user(Some("np1"), &both);
    let upgrade = belay.operation(Upgrade, "np1").await;
    belay.succeeds(&upgrade).await;
    belay.lock_is_free().await;
    belay.is_idle().await;
    assert_eq!(stage.np1("count"), 7);
    assert_eq!(stage.demo("currentKubernetesVersion"), NEW);
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
    assert_eq!(
        belay.pool("np1").await.spec.count,
        3,
        "Belay doesn't change the spec"
    );
}

pub async fn an_operation_that_azure_refuses_during_another_one_is_blocked_and_done_later(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.azure.set_preview(false);
    stage.hold("demo");
    stage.change_as_other_user(None, &json!({"kubernetesVersion": NEW}));
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
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    let autoscaler = json!({"enableAutoScaling": true, "minCount": 1, "maxCount": 9});
    stage.change_as_other_user(Some("np1"), &autoscaler);
    belay
        .eventually("the pool's condition Autoscaled is True", || async {
            is_true(&belay.pool_status("np1").await.conditions, "Autoscaled")
        })
        .await;
    stage.is_in_state("np1", "Succeeded").await;
    belay.lock_is_free().await;
    let scale = ["scale", "agentpool/np1", "--replicas=4"];
    let refused = belay.try_kubectl(&scale).expect_err("it is refused");
    let autoscaler = "the cluster autoscaler of AKS (1 to 9 nodes)";
    assert!(refused.contains(autoscaler), "{refused}");
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    assert_eq!(stage.np1("count"), 3);
    stage.stop_np1().await;
}
