//! Scaling of pools.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType, StepAction};

use crate::stage::belay::{Belay, World};

pub async fn a_pool_scales_up_and_down_with_kubectl_scale(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(50, 1).await;
    belay.kubectl(&["scale", "agentpool", "np1", "--replicas=4"]);
    let up = belay.operation(OperationType::Scale, "np1").await;
    let status = belay.is_in_phase(&up, OperationPhase::Succeeded).await;
    assert_eq!(status.steps.len(), 3);
    assert!(
        status
            .steps
            .iter()
            .all(|step| step.action == StepAction::Create)
    );
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 4);
    belay.kubectl(&["scale", "agentpool", "np1", "--replicas=2"]);
    belay
        .eventually("there are two nodes", || async {
            belay.nodes().await.len() == 2
        })
        .await;
    belay.pool_is_ready("np1").await;
    let scaled = belay.operations(OperationType::Scale, "np1").await;
    assert_eq!(scaled.len(), 2, "each change has one operation");
    let status = belay.pool("np1").await.status.expect("a status");
    assert_eq!((status.count, status.ready_count), (2, 2));
    belay.check_history();
}
