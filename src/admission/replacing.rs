//! With `concurrencyPolicy: Replace`, a change has the operation in flight aborted, so it needs the right to abort.
//! That right is `update` on `operations/abort` in the namespace, not on a name: a change of a cluster may abort the
//! operations of many pools, and the API server limits how many rights may be checked for one request.
//!
//! A user who may delete a cluster or a pool needs no other right, because a deletion also ends the operation in flight
//! on it. But a pool's deletion that replaces its cluster's operation is a change like any other.

use crate::{
    api::{GROUP, SCALE_REFUSED_LABEL},
    lifecycle::messages::{FORBIDDEN, refusal},
};

use super::{
    operator::{is_operator, may_operate},
    policy::{OURS, Params, Policy, Refusal, on},
};

/// The policy for writes to clusters and pools, and for the deletion of pools.
pub fn on_targets() -> Policy {
    // Belay's deletions have no field manager.
    let operates = may_operate();
    // A pool that is deleted with its namespace is covered by the deletion of the namespace. Match conditions can't see
    // the namespace.
    let goes_with_namespace = "has(namespaceObject.metadata.deletionTimestamp)";
    let starts_something = "request.resource.resource == \"agentpools\" || [object.spec.kubernetesVersion, object.spec.powerState, object.spec.concurrencyPolicy] != [oldObject.spec.kubernetesVersion, oldObject.spec.powerState, oldObject.spec.concurrencyPolicy] || object.spec.provider != oldObject.spec.provider";
    Policy {
        name: "belay-replacing",
        description: "Allows a change that aborts an operation (concurrencyPolicy Replace) only to users who may abort",
        operations: &[on::UPDATE, on::DELETE],
        group: OURS,
        resources: &["managedclusters", "agentpools"],
        params: None,
        skips: &[],
        condition: (
            "is-a-change",
            format!(
                "request.operation == \"DELETE\" ? request.resource.resource == \"agentpools\" && !has(oldObject.metadata.deletionTimestamp) && !{operates} : object.spec != oldObject.spec && ({starts_something}) && !({})",
                is_operator()
            ),
        ),
        variables: vec![(
            "replaced",
            format!(
                "request.resource.resource == \"managedclusters\" ? ({}) : request.operation == \"DELETE\" ? ({goes_with_namespace} ? [] : {}) : ({})",
                by_cluster("object", "oldObject"),
                by_deletion("oldObject"),
                by_pool("oldObject")
            ),
        )],
        refusals: Vec::new(),
        rights: vec![may_not()],
    }
}

/// The policy for the scale subresource. Its requests contain only the count, so the policy searches for the pool by
/// its label, among the few pools that have it.
pub fn on_scale() -> Policy {
    Policy {
        name: "belay-replacing-scale",
        description: "Allows only users who may abort to scale an AgentPool if that aborts an operation (concurrencyPolicy Replace)",
        operations: &[on::UPDATE],
        group: OURS,
        resources: &["agentpools/scale"],
        params: Some(Params {
            kind: "AgentPool",
            label: Some(SCALE_REFUSED_LABEL),
        }),
        skips: &[],
        condition: (
            "scales-the-pool",
            format!(
                "params.metadata.name == request.name && object.spec.?replicas.orValue(0) != params.spec.count && !({})",
                is_operator()
            ),
        ),
        variables: vec![("replaced", by_pool("params"))],
        refusals: Vec::new(),
        rights: vec![may_not()],
    }
}

/// The names of the operations that a change of a cluster has aborted: an expression. `wanted` is the object with the
/// new policy.
pub fn by_cluster(wanted: &str, cluster: &str) -> String {
    format!(
        "{wanted}.spec.concurrencyPolicy == \"Replace\" ? {cluster}.?status.?operations.orValue([]).filter(held, held.type != \"Delete\").map(held, held.name) : []"
    )
}

/// The names of the operations that a change of a pool has aborted.
pub fn by_pool(pool: &str) -> String {
    in_flight(
        pool,
        &format!(
            "[{pool}.?status.?cluster.?operation.orValue(\"\"), {pool}.?status.?operation.?name.orValue(\"\")]"
        ),
    )
}

/// The name of the operation that a pool's deletion has aborted: that of its cluster.
pub fn by_deletion(pool: &str) -> String {
    let own = format!("[{pool}.?status.?cluster.?operation.orValue(\"\")]");
    format!(
        "{pool}.?status.?cluster.?deletionTimestamp.hasValue() ? [] : {}",
        in_flight(pool, &own)
    )
}

fn in_flight(pool: &str, names: &str) -> String {
    format!(
        "{pool}.?status.?cluster.?concurrencyPolicy.orValue(\"\") == \"Replace\" && {pool}.?status.?operation.?type.orValue(\"\") != \"Delete\" ? {names}.filter(name, name != \"\") : []"
    )
}

/// The refusal. `variables.replaced` has the names of the operations that would be aborted.
pub fn may_not() -> Refusal {
    let may = format!(
        "authorizer.group(\"{GROUP}\").resource(\"operations\").subresource(\"abort\").namespace(request.namespace).check(\"update\").allowed()"
    );
    Refusal::new(
        FORBIDDEN,
        format!("size(variables.replaced) > 0 && !{may}"),
        &refusal::MAY_NOT_REPLACE.cel(&[
            ("user", "request.userInfo.username"),
            ("operation", "variables.replaced[0]"),
            ("namespace", "request.namespace"),
        ]),
    )
}
