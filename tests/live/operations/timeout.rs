//! Belay aborts an operation that takes longer than it may.

use std::sync::Arc;

use belay::api::{AbortPolicy, OperationPhase, OperationType};
use serde_json::json;

use crate::stage::belay::{Belay, World};

pub async fn an_operation_that_takes_longer_than_it_may_is_aborted_by_belay(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay
        .create_cluster_with(json!({
            "operationTimeout": "1m", "provider": {"kwok": {"nodeProvisioningTime": "0s"}},
        }))
        .await;
    let settings = json!({"count": 1, "upgradeSettings": {"drainTimeout": "1s"}});
    belay.create_pool_with("np1", settings).await;
    belay.pool_is_ready("np1").await;
    belay.lock_is_free().await;
    // The second node doesn't come up in time.
    belay.set_provisioning_time("10m").await;
    belay.set_pool("np1", json!({"count": 2})).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let canceled = belay.is_in_phase(&scale, OperationPhase::Canceled).await;
    let cancellation = canceled.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "timed out after 1m");
    assert_eq!(cancellation.requested_by, "belay");
    // The step in progress took longer than a drain may.
    assert_eq!(cancellation.policy, AbortPolicy::Now);
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 1, "the node that never came up is deleted");
    belay.check_history();
}
