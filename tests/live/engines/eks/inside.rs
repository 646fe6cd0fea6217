//! With a kubeconfig, Belay sees inside the cluster what blocks an EKS update.

use std::sync::Arc;

use belay::api::OperationType::{Scale, Upgrade};
use serde_json::json;

use crate::{engines::inside, stage::belay::World};

use super::stage::{NEW, Stage};

pub async fn with_a_kubeconfig_a_blocked_eks_upgrade_names_the_pod_and_its_budget(
    world: Arc<World>,
) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    inside::give_kubeconfig(belay, "aws", &inside::kubeconfig(belay)).await;
    let label = ("eks.amazonaws.com/nodegroup", "np1");
    inside::create_blocked_drain(belay, label).await;
    stage.hold("np1");
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    inside::is_blocked_by_budget(belay, &upgrade).await;
    // EKS shows no percentage, so Belay counts the nodes with the new version.
    belay
        .eventually("the step shows how many nodes are done", || async {
            let status = belay.status(&upgrade).await;
            let step = status.steps.last().cloned().expect("a step");
            (step.nodes, step.nodes_done) == (Some(3), Some(2))
        })
        .await;
    inside::delete_nodes(belay);
    stage.release("np1");
    let status = belay.succeeds(&upgrade).await;
    assert_eq!(status.blocked, None);
}

pub async fn a_kubeconfig_with_exec_is_not_used_and_the_operation_says_why(world: Arc<World>) {
    let stage = Stage::adopted(&world).await;
    let belay = &stage.belay;
    let user = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws",
        "interactiveMode": "Never"}});
    let kubeconfig = json!({"clusters": [{"name": "c", "cluster": {"server": "https://localhost:1"}}],
        "users": [{"name": "u", "user": user}], "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    inside::give_kubeconfig(belay, "aws", &kubeconfig.to_string()).await;
    stage.hold("np1");
    belay.set_count("np1", 5).await;
    let scale = belay.operation(Scale, "np1").await;
    belay
        .eventually("the step says why Belay sees nothing", || async {
            let status = belay.status(&scale).await;
            let message = status.steps.first().map(|step| step.message.clone());
            message.is_some_and(|message| {
                message.starts_with(
                    "EKS update in progress: ConfigUpdate. Belay can't see what blocks it",
                ) && message.contains("the kubeconfig has exec:")
            })
        })
        .await;
    stage.release("np1");
    belay.succeeds(&scale).await;
}
