//! A cluster that has System pools keeps at least one as long as it exists. The status of each pool contains their
//! number. If two of them are lost at the same instant, each still counts the other, and the core keeps one.

use crate::lifecycle::messages::{OPERATION_NOT_ALLOWED, refusal};

use super::policy::{OURS, Policy, Refusal, on};

/// The policy.
pub fn policy() -> Policy {
    let goes = "request.operation == \"DELETE\" ? !has(oldObject.metadata.deletionTimestamp) : object.spec.mode != \"System\"";
    Policy {
        name: "belay-system-pools",
        description: "Refuses to delete the last System AgentPool of a ManagedCluster, or to make it a User pool",
        operations: &[on::UPDATE, on::DELETE],
        group: OURS,
        resources: &["agentpools"],
        params: None,
        skips: &[],
        condition: (
            "loses-a-system-pool",
            format!("oldObject.spec.mode == \"System\" && ({goes})"),
        ),
        variables: Vec::new(),
        refusals: vec![last_system_pool()],
        rights: Vec::new(),
    }
}

/// The last System pool may be deleted together with its cluster or its namespace.
fn last_system_pool() -> Refusal {
    let lives = "oldObject.?status.?cluster.hasValue() && !has(oldObject.status.cluster.deletionTimestamp) && !has(namespaceObject.metadata.deletionTimestamp)";
    Refusal::new(
        OPERATION_NOT_ALLOWED,
        format!("{lives} && oldObject.status.cluster.systemPools <= 1"),
        &refusal::LAST_SYSTEM_POOL.cel(&[
            ("name", "oldObject.metadata.name"),
            ("cluster", "oldObject.spec.clusterName"),
        ]),
    )
}
