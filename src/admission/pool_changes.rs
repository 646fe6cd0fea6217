//! Changes of a pool's spec. The pool's status contains what these changes depend on in the cluster, so the policy
//! needn't search for a cluster.

use crate::{
    api::TargetKind,
    lifecycle::messages::{INVALID_PARAMETER, OPERATION_NOT_ALLOWED, refusal},
};

use super::{
    cel::{elapsed_text, is_too_old, rank},
    operator::is_operator,
    policy::{OURS, Policy, Refusal, on},
    power::Target,
};

/// The policy.
pub fn policy() -> Policy {
    let version = |of: &str| format!("{of}.spec.?kubernetesVersion.orValue(\"\")");
    let (new, old) = (version("object"), version("oldObject"));
    let is_version_change = format!("{new} != {old}");
    let goes_down = format!(
        "{new} != \"\" && {old} != \"\" && {} < {}",
        rank("object.spec.kubernetesVersion"),
        rank("oldObject.spec.kubernetesVersion")
    );
    Policy {
        name: "belay-pool-changes",
        description: "Refuses a change of an AgentPool's spec while a conflicting operation is in flight",
        operations: &[on::UPDATE],
        group: OURS,
        resources: &["agentpools"],
        params: None,
        skips: &[],
        condition: (
            "starts-an-operation",
            format!("object.spec != oldObject.spec && !({})", is_operator()),
        ),
        variables: [
            vec![
                ("pool", "oldObject".to_owned()),
                (
                    "isPowerChange",
                    "object.spec.powerState != oldObject.spec.powerState".to_owned(),
                ),
                ("isStart", "object.spec.powerState == \"Running\"".to_owned()),
                ("isVersionChange", is_version_change.clone()),
                (
                    "change",
                    format!(
                        "variables.isPowerChange ? (variables.isStart ? \"Starting\" : \"Stopping\") : {goes_down} ? \"RollingBack\" : variables.isVersionChange ? \"Upgrading\" : object.spec.count != oldObject.spec.count ? \"Scaling\" : \"Updating\""
                    ),
                ),
                ("wanted", new),
            ],
            variables(),
        ]
        .concat(),
        refusals: [
            deletions(None),
            lock(FORBIDS, "variables.isPowerChange", None),
            skew("variables.isVersionChange", "variables.pool.metadata.name"),
        ]
        .into_iter()
        .flatten()
        .collect(),
        rights: Vec::new(),
    }
}

const FORBIDS: &str = "variables.policy == \"Forbid\"";

/// The variables that refusals of a change of `variables.pool` use.
pub fn variables() -> Vec<(&'static str, String)> {
    let of = |path: &str| format!("variables.pool.?status{path}");
    vec![
        (
            "policy",
            of(".?cluster.?concurrencyPolicy.orValue(\"Forbid\")"),
        ),
        ("clusterOperation", of(".?cluster.?operation.orValue(\"\")")),
        // The operation in flight on the pool may be its cluster's.
        (
            "poolOperation",
            format!(
                "variables.clusterOperation == \"\" ? {} : \"\"",
                of(".?operation.?name.orValue(\"\")")
            ),
        ),
        ("since", of(".?operation.?startTime.orValue(\"\")")),
        ("state", of(".?provisioningState.orValue(\"Creating\")")),
        ("power", of(".?powerState.?code.orValue(\"Running\")")),
        (
            "controlPlane",
            of(".?cluster.?kubernetesVersion.orValue(\"\")"),
        ),
    ]
}

/// Refuses a change of a pool that is being deleted, or whose cluster is.
pub fn deletions(now: Option<&str>) -> Vec<Refusal> {
    let refused = |since: &str, is_so: String, deleted: &str| {
        let places = [
            ("state", "variables.change"),
            ("name", "variables.pool.metadata.name"),
            ("deleted", deleted),
            ("since", since),
        ];
        let message = refusal::DELETION_WAS_ISSUED.cel(&places);
        let message = message + &elapsed_text(now, since, false);
        Refusal::new(OPERATION_NOT_ALLOWED, is_so, &message)
    };
    let (own, cluster) = (
        "variables.pool.metadata.deletionTimestamp",
        "variables.pool.status.cluster.deletionTimestamp",
    );
    let cluster_goes =
        "variables.pool.?status.?cluster.?deletionTimestamp.orValue(\"\") != \"\"".to_owned();
    vec![
        refused(cluster, cluster_goes, "variables.pool.spec.clusterName"),
        refused(own, format!("has({own})"), "variables.pool.metadata.name"),
    ]
}

/// Refuses a change, of the power state or another, while an operation is in flight.
pub fn lock(forbids: &str, is_power_change: &str, now: Option<&str>) -> Vec<Refusal> {
    let target = Target {
        kind: TargetKind::AgentPool,
        state: "variables.state",
        power: "variables.power",
        since: "variables.since",
        stopped: "\"\"",
    };
    let own = format!("{forbids} && variables.poolOperation != \"\"");
    vec![
        Refusal::new(
            OPERATION_NOT_ALLOWED,
            format!("{forbids} && variables.clusterOperation != \"\""),
            &refusal::ANOTHER_OPERATION.cel(&[("operation", "variables.clusterOperation")]),
        ),
        target.wrong_time(
            &format!("{own} && {is_power_change}"),
            "variables.isStart",
            now,
        ),
        Refusal::new(
            OPERATION_NOT_ALLOWED,
            own,
            &refusal::ANOTHER_AGENTPOOL_OPERATION.cel(&[("operation", "variables.poolOperation")]),
        ),
    ]
}

/// Refuses a version that is newer than the control plane's version, or too far behind it.
pub fn skew(is_version_change: &str, name: &str) -> Vec<Refusal> {
    let is_asked = format!(
        "{is_version_change} && variables.wanted != \"\" && variables.controlPlane != \"\""
    );
    let is_newer = format!(
        "{is_asked} && {} > {}",
        rank("variables.wanted"),
        rank("variables.controlPlane")
    );
    let is_older = format!(
        "{is_asked} && {}",
        is_too_old("variables.controlPlane", "variables.wanted")
    );
    let places = [("name", name), ("version", "variables.controlPlane")];
    vec![
        Refusal::new(
            INVALID_PARAMETER,
            is_newer,
            &refusal::POOL_TOO_NEW.cel(&places),
        ),
        Refusal::new(
            INVALID_PARAMETER,
            is_older,
            &refusal::POOL_TOO_OLD.cel(&places),
        ),
    ]
}
