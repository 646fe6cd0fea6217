//! How long a node may take to be Ready, and be not Ready again.

use std::time::{Duration, Instant};

use crate::api::OperationError;

/// A node that is coming up, if there is one.
pub(super) struct ComingUp {
    /// Its name, and since when this operator has seen it not Ready. The times in a node's status are of other
    /// clocks, and the calendar's clock may be set meanwhile.
    pub node: Option<(String, Instant)>,
    /// How long it may take.
    pub timeout: Duration,
}

impl ComingUp {
    /// Waits until the node has taken too long; for ever where there is none.
    pub async fn times_out(&self) {
        let Some((_, since)) = &self.node else {
            return std::future::pending().await;
        };
        tokio::time::sleep(self.timeout.saturating_sub(since.elapsed())).await;
    }

    /// The error of an operation whose node took too long.
    pub fn error(&self) -> OperationError {
        let name = self.node.as_ref().map_or("", |(name, _)| name);
        OperationError::new(
            "NodeProvisioningTimeout",
            format!(
                "node {name} was not Ready in {:?}; look for the cause, or set a longer spec.provider.kwok.nodeProvisioningTimeout on the ManagedCluster, then create an Operation of type Reconcile",
                self.timeout
            ),
        )
    }
}
