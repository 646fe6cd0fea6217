//! Changes of a cluster's spec. Changes that start no operation aren't checked.

use crate::{
    api::TargetKind,
    lifecycle::messages::{INVALID_PARAMETER, OPERATION_NOT_ALLOWED, refusal},
};

use super::{
    cel::{is_too_old, minor, older, rank},
    operator::is_operator,
    policy::{OURS, Policy, Refusal, on},
    power::Target,
};

const IS_VERSION_CHANGE: &str = "object.spec.kubernetesVersion != oldObject.spec.kubernetesVersion";

/// The policy.
pub fn policy() -> Policy {
    let differs =
        format!("{IS_VERSION_CHANGE} || object.spec.powerState != oldObject.spec.powerState");
    let goes_down = format!(
        "{} < {}",
        rank("object.spec.kubernetesVersion"),
        rank("oldObject.spec.kubernetesVersion")
    );
    Policy {
        name: "belay-cluster-changes",
        description: "Refuses a change of a ManagedCluster's version or power state while a conflicting operation is in flight",
        operations: &[on::UPDATE],
        group: OURS,
        resources: &["managedclusters"],
        params: None,
        skips: &[],
        condition: (
            "starts-an-operation",
            format!("({differs}) && !({})", is_operator()),
        ),
        variables: [
            vec![
                ("cluster", "oldObject".to_owned()),
                ("policy", "object.spec.concurrencyPolicy".to_owned()),
                (
                    "isPowerChange",
                    "object.spec.powerState != oldObject.spec.powerState".to_owned(),
                ),
                ("isStart", "object.spec.powerState == \"Running\"".to_owned()),
                (
                    "change",
                    format!(
                        "variables.isPowerChange ? (variables.isStart ? \"Starting\" : \"Stopping\") : {goes_down} ? \"RollingBack\" : \"Upgrading\""
                    ),
                ),
                ("wanted", "object.spec.kubernetesVersion".to_owned()),
                // Before there is a control plane, the version that it was to run.
                (
                    "runs",
                    "oldObject.?status.?kubernetesVersion.orValue(oldObject.spec.kubernetesVersion)"
                        .to_owned(),
                ),
            ],
            variables(),
        ]
        .concat(),
        refusals: [
            vec![deletion(None)],
            lock("variables.policy == \"Forbid\"", "variables.isPowerChange", None),
            one_minor_at_a_time(IS_VERSION_CHANGE),
            vec![pool_left_behind(IS_VERSION_CHANGE)],
        ]
        .into_iter()
        .flatten()
        .collect(),
        rights: Vec::new(),
    }
}

/// The variables that refusals of a change of `variables.cluster` use.
pub fn variables() -> Vec<(&'static str, String)> {
    let of = |path: &str| format!("variables.cluster.?status{path}");
    vec![
        ("lock", of(".?operations.orValue([])")),
        (
            "own",
            "variables.lock.filter(held, held.target.kind == \"ManagedCluster\")".to_owned(),
        ),
        ("state", of(".?provisioningState.orValue(\"Creating\")")),
        ("power", of(".?powerState.?code.orValue(\"Running\")")),
        // The name of each pool, and the older of the version that it should run and the oldest version that its nodes
        // run.
        (
            "oldest",
            format!(
                "{}.map(pool, has(pool.kubernetesVersion) || has(pool.oldestVersion), [pool.name, {}])",
                of(".?agentPools.orValue([])"),
                older(
                    "pool.?kubernetesVersion.orValue(pool.?oldestVersion.orValue(\"\"))",
                    "pool.?oldestVersion.orValue(pool.?kubernetesVersion.orValue(\"\"))"
                )
            ),
        ),
        (
            "behind",
            format!(
                "variables.oldest.filter(pool, {})",
                is_too_old("variables.wanted", "pool[1]")
            ),
        ),
    ]
}

/// Refuses a change of a cluster that is being deleted.
pub fn deletion(now: Option<&str>) -> Refusal {
    let since = "variables.cluster.metadata.deletionTimestamp";
    let name = "variables.cluster.metadata.name";
    let places = [
        ("state", "variables.change"),
        ("name", name),
        ("deleted", name),
        ("since", since),
    ];
    let message = refusal::DELETION_WAS_ISSUED.cel(&places);
    Refusal::new(
        OPERATION_NOT_ALLOWED,
        format!("has({since})"),
        &(message + &super::cel::elapsed_text(now, since, false)),
    )
}

/// Refuses a change, of the power state or another, while an operation is in flight.
pub fn lock(forbids: &str, is_power_change: &str, now: Option<&str>) -> Vec<Refusal> {
    let target = Target {
        kind: TargetKind::ManagedCluster,
        state: "variables.state",
        power: "variables.power",
        since: "variables.own[0].?startTime.orValue(\"\")",
        stopped: "\"\"",
    };
    let own = format!("{forbids} && size(variables.own) > 0");
    vec![
        target.wrong_time(
            &format!("{own} && {is_power_change}"),
            "variables.isStart",
            now,
        ),
        Refusal::new(
            OPERATION_NOT_ALLOWED,
            own,
            &refusal::ANOTHER_OPERATION.cel(&[("operation", "variables.own[0].name")]),
        ),
        Refusal::new(
            OPERATION_NOT_ALLOWED,
            format!("{forbids} && size(variables.lock) > 0"),
            &refusal::ANOTHER_OPERATION_ON_POOL.cel(&[
                ("operation", "variables.lock[0].name"),
                ("pool", "variables.lock[0].target.name"),
            ]),
        ),
    ]
}

/// Refuses a version that would leave a pool too far behind.
pub fn pool_left_behind(is_version_change: &str) -> Refusal {
    Refusal::new(
        INVALID_PARAMETER,
        format!("{is_version_change} && size(variables.behind) > 0"),
        &refusal::POOL_LEFT_BEHIND.cel(&[
            ("name", "variables.cluster.metadata.name"),
            ("version", "variables.wanted"),
            ("pool", "variables.behind[0][0]"),
            ("behind", "variables.behind[0][1]"),
        ]),
    )
}

/// Refuses a version that is more than one minor version away from the control plane's version.
///
/// A rule of the custom resource definition could do this too, but it would answer Invalid. On that answer, Flux and
/// `kubectl apply` delete the cluster and create it again if they may use force.
pub fn one_minor_at_a_time(is_version_change: &str) -> Vec<Refusal> {
    let (wanted, runs) = (minor("variables.wanted"), minor("variables.runs"));
    let major = "variables.runs.split(\".\")[0]";
    let other_major = format!("{major} != variables.wanted.split(\".\")[0]");
    let next = format!("{major} + \".\" + string({runs} + 1)");
    let last = format!("{major} + \".\" + string({runs} - 1)");
    vec![
        Refusal::new(
            INVALID_PARAMETER,
            format!("{is_version_change} && ({other_major} || {wanted} - {runs} > 1)"),
            &refusal::ONE_MINOR_UP.cel(&[("version", "variables.runs"), ("next", &next)]),
        ),
        Refusal::new(
            INVALID_PARAMETER,
            format!("{is_version_change} && {runs} - {wanted} > 1"),
            &refusal::ONE_MINOR_BACK.cel(&[("version", "variables.runs"), ("last", &last)]),
        ),
    ]
}
