//! Changes that users or programs make directly at EKS, with aws, eksctl or in the console, while Belay manages the
//! cluster.

use std::sync::Arc;

use belay::api::{
    BEGUN_BY_ANNOTATION, Operation,
    OperationType::{Scale, Upgrade},
};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::belay::{World, is_true};

use super::stage::{NEW, Stage};

fn size(desired: i32) -> Value {
    json!({"scalingConfig": {"minSize": 1, "maxSize": 10, "desiredSize": desired}})
}

pub async fn a_scale_started_with_the_aws_cli_holds_the_lock_and_is_followed_to_its_end(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("np1");
    stage.send_as_other_user("demo/node-groups/np1/update-config", &size(9));
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
    stage.release("np1");
    belay.succeeds(&scale).await;
    belay.lock_is_free().await;
    belay.is_idle().await;
    assert_eq!(stage.sizes()[1], 9);
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
    assert_eq!(
        belay.pool("np1").await.spec.count,
        3,
        "Belay doesn't change the spec"
    );
    belay.check_history();
}

pub async fn an_upgrade_made_with_eksctl_is_followed_and_not_reverted(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.set_durations(2500, 100);
    stage.send_as_other_user("demo/updates", &json!({"version": "1.34"}));
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    belay.lock_is_free().await;
    belay.is_idle().await;
    assert_eq!(stage.demo()["version"], "1.34");
    assert_eq!(
        stage.np1()["version"],
        "1.33",
        "Belay doesn't upgrade the nodegroup without a request"
    );
    assert_eq!(stage.changes_in_short(), Vec::<String>::new());
}

pub async fn an_operation_that_eks_refuses_during_another_one_is_blocked_and_done_later(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    stage.hold("demo");
    belay.kill_operator();
    belay.set_count("np1", 5).await;
    stage.send_as_other_user("demo/updates", &json!({"version": "1.34"}));
    // Belay cannot find the update by its id.
    stage.aws.forget_updates();
    stage.start_operator(super::stage::Identity::None, "");
    let scale = belay.operation(Scale, "np1").await;
    let blocked = belay.is_blocked(&scale).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "ResourceInUseException");
    stage.release("demo");
    belay.succeeds(&scale).await;
    assert_eq!(stage.sizes()[1], 5);
}

pub async fn belay_does_not_scale_a_nodegroup_that_the_cluster_autoscaler_scales(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    let tags = json!({"tags": {"k8s.io/cluster-autoscaler/enabled": "true"},
        "scalingConfig": {"minSize": 1, "maxSize": 9, "desiredSize": 4}});
    stage.aws.set_nodegroup("demo", "np1", &tags);
    belay
        .eventually("the pool's condition Autoscaled is True", || async {
            is_true(&belay.pool_status("np1").await.conditions, "Autoscaled")
        })
        .await;
    let scale = ["scale", "agentpool/np1", "--replicas=5"];
    let refused = belay.try_kubectl(&scale).expect_err("it is refused");
    assert!(
        refused.contains("the cluster autoscaler, by the tags"),
        "{refused}"
    );
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    assert_eq!(stage.sizes(), [1, 4, 9]);
}
