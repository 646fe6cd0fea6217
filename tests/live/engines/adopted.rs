//! Helpers for adopted clusters in any cloud.

use belay::api::{AgentPool, Operation};
use kube::{ResourceExt as _, api::ListParams};

use crate::stage::belay::{Belay, is_true};

impl Belay {
    /// Waits until the cluster and these pools are Ready.
    pub async fn all_are_ready(&self, pools: &[impl AsRef<str>]) {
        for pool in pools {
            self.pool_is_ready(pool.as_ref()).await;
        }
        self.eventually("the cluster is Ready", || async {
            let status = self.cluster_status().await;
            is_true(&status.conditions, "Ready") && status.operations.is_empty()
        })
        .await;
    }

    /// Waits until the cluster's condition Ready has this status and its message contains this text.
    pub async fn ready_condition_says(&self, status: &str, part: &str) {
        self.eventually(
            &format!("the condition Ready is {status} with the message {part:?}"),
            || async {
                let conditions = self.cluster_status().await.conditions;
                let mut ready = conditions
                    .iter()
                    .filter(|condition| condition.type_ == "Ready");
                ready.any(|ready| ready.status == status && ready.message.contains(part))
            },
        )
        .await;
    }

    /// Returns the number of Operations in the namespace.
    pub async fn count_operations(&self) -> usize {
        let all = self.api::<Operation>().list(&ListParams::default()).await;
        all.expect("listed").items.len()
    }

    /// Returns the names of the pools in the namespace.
    pub async fn pool_names(&self) -> Vec<String> {
        let pools = self.api::<AgentPool>().list(&ListParams::default()).await;
        let pools = pools.expect("listed");
        pools.iter().map(AgentPool::name_any).collect()
    }
}
