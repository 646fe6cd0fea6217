//! How long a node may be not Ready: while it comes up, and later.

use std::time::{Duration, Instant};

use crate::api::OperationError;

/// A node that is coming up, if there is one.
pub(super) struct ComingUp {
    /// Its name, and since when this operator has seen it not Ready. The times in a node's status come from other
    /// clocks, and the wall clock may be set meanwhile.
    pub node: Option<(String, Instant)>,
    /// How long it may take.
    pub timeout: Duration,
}

impl ComingUp {
    /// Waits until the node has taken too long. Waits forever if there is no node.
    pub async fn times_out(&self) {
        let Some((_, since)) = &self.node else {
            return std::future::pending().await;
        };
        tokio::time::sleep(self.timeout.saturating_sub(since.elapsed())).await;
    }

    /// Returns the error of an operation whose node took too long.
    pub fn error(&self) -> OperationError {
        let name = self.node.as_ref().map_or("", |(name, _)| name);
        OperationError::new(
            "NodeProvisioningTimeout",
            format!(
                "node {name} did not become Ready within {:?}: find the cause, or set a longer spec.provider.kwok.nodeProvisioningTimeout on the ManagedCluster, then create an Operation of type Reconcile",
                self.timeout
            ),
        )
    }
}
