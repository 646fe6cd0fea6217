//! One at a time. An operation on a cluster excludes every other on it and on its pools; one on a pool
//! excludes those on its cluster and on itself. The list `status.operations` of the cluster is the lock.

use crate::api::{OperationInFlight, OperationTarget, TargetKind};

/// Whether two operations may not run side by side.
pub fn excludes(a: &OperationTarget, b: &OperationTarget) -> bool {
    let whole = |target: &OperationTarget| target.kind == TargetKind::ManagedCluster;
    whole(a) || whole(b) || a.name == b.name
}

/// The first holder of the lock that excludes an operation on `target`.
pub(super) fn conflict<'a>(
    lock: &'a [OperationInFlight],
    target: &OperationTarget,
) -> Option<&'a OperationInFlight> {
    lock.iter().find(|held| excludes(&held.target, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_excludes_all_and_a_pool_itself() {
        let cluster = OperationTarget {
            kind: TargetKind::ManagedCluster,
            name: "demo".into(),
        };
        let pool = |name: &str| OperationTarget {
            kind: TargetKind::AgentPool,
            name: name.into(),
        };
        for (a, b, excluded) in [
            (cluster.clone(), cluster.clone(), true),
            (cluster.clone(), pool("np1"), true),
            (pool("np1"), cluster.clone(), true),
            (pool("np1"), pool("np1"), true),
            (pool("np1"), pool("np2"), false),
            // A pool may have its cluster's name.
            (pool("demo"), pool("np1"), false),
        ] {
            assert_eq!(excludes(&a, &b), excluded, "{a:?} and {b:?}");
        }
    }
}
