//! Operations that people create. The core decides what the policies can't know: what a target that is about to change
//! needs, and what its nodes run. The search for a target costs more if there are many targets. So Operations that
//! Belay creates have a label, and policies skip them. Nobody else gains anything with that label: the core runs such
//! an Operation only if it would create the same one itself. People's Operations have a label with the kind of their
//! target (`super::marks`), so policies search only that kind.

use crate::{
    api::{FOR_GENERATION_LABEL, TARGET_KIND_LABEL, TargetKind},
    lifecycle::messages::{INVALID_PARAMETER, OPERATION_NOT_ALLOWED, refusal},
};

use super::{
    cel::{is_settled, rank},
    cluster_changes,
    policy::{OURS, Params, Policy, Refusal, Skip, on},
    pool_changes,
    power::Target,
    replacing,
};

const NOW: &str = "variables.now";
const IS_POWER_CHANGE: &str = "variables.type in [\"Start\", \"Stop\"]";
const IS_VERSION_CHANGE: &str = "variables.wanted != \"\" && variables.runs != \"\"";
/// A deletion waits for its turn with every policy, and two requests for it are one deletion.
const FORBIDS: &str = "variables.policy == \"Forbid\" && variables.type != \"Delete\"";

/// The policy for Operations on clusters.
pub fn on_clusters() -> Policy {
    let cluster = "variables.cluster";
    let mut variables = variables("cluster");
    variables.extend([
        (
            "policy",
            "variables.cluster.spec.concurrencyPolicy".to_owned(),
        ),
        (
            "runs",
            "variables.cluster.?status.?kubernetesVersion.orValue(\"\")".to_owned(),
        ),
        ("isSettled", is_settled(cluster)),
    ]);
    variables.extend(cluster_changes::variables());
    // A cluster's deletion also ends what is in flight.
    variables.push((
        "replaced",
        format!(
            "variables.type == \"Delete\" ? [] : ({})",
            replacing::by_cluster("params", "params")
        ),
    ));
    let target = Target {
        kind: TargetKind::ManagedCluster,
        state: "variables.state",
        power: "variables.power",
        since: "variables.lastSince",
        stopped: "variables.stopped",
    };
    variables.extend(last_operation("variables.cluster"));
    let mut refusals = vec![unless_deleting(cluster_changes::deletion(Some(NOW)))];
    refusals.extend(cluster_changes::lock(FORBIDS, IS_POWER_CHANGE, Some(NOW)));
    refusals.push(exists_already("variables.runs != \"\"", "ManagedCluster"));
    refusals.extend(versions("ManagedCluster"));
    refusals.extend(cluster_changes::one_minor_at_a_time(IS_VERSION_CHANGE));
    refusals.push(cluster_changes::pool_left_behind(IS_VERSION_CHANGE));
    refusals.extend(power(&target));
    Policy {
        name: "belay-operations-on-clusters",
        description: "Refuses an Operation on a ManagedCluster if it can't be done now",
        operations: &[on::CREATE],
        group: OURS,
        resources: &["operations"],
        params: Some(Params::all("ManagedCluster")),
        skips: &[
            Skip::Labelled(FOR_GENERATION_LABEL),
            Skip::Value(TARGET_KIND_LABEL, "AgentPool"),
        ],
        condition: ("on-the-cluster", condition("ManagedCluster")),
        variables,
        refusals,
        rights: vec![replacing::may_not()],
    }
}

/// The policy for Operations on pools.
pub fn on_pools() -> Policy {
    let mut variables = variables("pool");
    variables.extend(pool_changes::variables());
    variables.push((
        "replaced",
        format!(
            "variables.type == \"Delete\" ? ({}) : ({})",
            replacing::by_deletion("params"),
            replacing::by_pool("params")
        ),
    ));
    variables.extend([
        (
            "runs",
            "[variables.pool.?status.?versions.orValue([])].map(all, size(all) > 0 ? all[size(all) - 1].kubernetesVersion : \"\")[0]".to_owned(),
        ),
        ("isSettled", is_settled("variables.pool")),
        (
            "clusterPower",
            "variables.pool.?status.?cluster.?powerState.?code.orValue(\"Running\")".to_owned(),
        ),
        (
            "clusterState",
            "variables.pool.?status.?cluster.?provisioningState.orValue(\"Creating\")".to_owned(),
        ),
        (
            "count",
            "variables.clusterPower == \"Running\" && variables.pool.spec.powerState == \"Running\" ? variables.pool.spec.count : 0".to_owned(),
        ),
    ]);
    variables.extend(last_operation("variables.pool"));
    let mut refusals: Vec<_> = pool_changes::deletions(Some(NOW))
        .into_iter()
        .map(unless_deleting)
        .collect();
    refusals.extend(pool_changes::lock(FORBIDS, IS_POWER_CHANGE, Some(NOW)));
    refusals.push(exists_already(
        "variables.hasLast && variables.isSettled",
        "AgentPool",
    ));
    refusals.extend(versions("AgentPool"));
    refusals.extend(pool_changes::skew(
        "variables.wanted != \"\"",
        "variables.pool.metadata.name",
    ));
    refusals.push(Refusal::new(
        OPERATION_NOT_ALLOWED,
        "variables.type == \"Scale\" && variables.isSettled && object.spec.count == variables.count",
        &refusal::HAS_NODES_ALREADY.cel(&[
            ("name", "variables.pool.metadata.name"),
            ("count", "string(variables.count)"),
        ]),
    ));
    let cluster = Target {
        kind: TargetKind::ManagedCluster,
        state: "variables.clusterState",
        power: "variables.clusterPower",
        since: "\"\"",
        stopped: "\"\"",
    };
    let is_off = |type_: &str| {
        format!("variables.type == \"{type_}\" && variables.clusterPower == \"Stopped\"")
    };
    refusals.push(cluster.wrong_time(&is_off("Start"), "true", None));
    refusals.push(cluster.not_running(&is_off("Stop"), None));
    refusals.extend(power(&Target {
        kind: TargetKind::AgentPool,
        state: "variables.state",
        power: "variables.power",
        since: "variables.lastSince",
        stopped: "variables.stopped",
    }));
    Policy {
        name: "belay-operations-on-pools",
        description: "Refuses an Operation on an AgentPool if it can't be done now",
        operations: &[on::CREATE],
        group: OURS,
        resources: &["operations"],
        params: Some(Params::all("AgentPool")),
        skips: &[
            Skip::Labelled(FOR_GENERATION_LABEL),
            Skip::Value(TARGET_KIND_LABEL, "ManagedCluster"),
        ],
        condition: ("on-the-pool", condition("AgentPool")),
        variables,
        refusals,
        rights: vec![replacing::may_not()],
    }
}

fn condition(kind: &str) -> String {
    format!(
        "params.metadata.name == object.spec.target.name && object.spec.target.kind == \"{kind}\""
    )
}

fn variables(target: &'static str) -> Vec<(&'static str, String)> {
    let states = [
        ("Create", "Creating"),
        ("Upgrade", "Upgrading"),
        ("Rollback", "RollingBack"),
        ("Scale", "Scaling"),
        ("Start", "Starting"),
        ("Stop", "Stopping"),
    ];
    let states = states.map(|(type_, state)| format!("\"{type_}\": \"{state}\""));
    vec![
        (target, "params".to_owned()),
        ("type", "object.spec.type".to_owned()),
        ("isStart", "variables.type == \"Start\"".to_owned()),
        (
            "change",
            format!(
                "{{{}}}[?variables.type].orValue(\"Updating\")",
                states.join(", ")
            ),
        ),
        (
            "wanted",
            "object.spec.?kubernetesVersion.orValue(\"\")".to_owned(),
        ),
        (
            "now",
            "timestamp(object.metadata.creationTimestamp)".to_owned(),
        ),
    ]
}

/// When a target's last operation began. If it was a stop, this is also when the target was stopped.
fn last_operation(target: &str) -> Vec<(&'static str, String)> {
    let last = format!("{target}.?status.?lastOperation");
    vec![
        ("hasLast", format!("{last}.hasValue()")),
        ("lastSince", format!("{last}.?startTime.orValue(\"\")")),
        (
            "stopped",
            format!("{last}.?type.orValue(\"\") == \"Stop\" ? variables.lastSince : \"\""),
        ),
    ]
}

/// For a target that is being deleted, people may ask for its deletion, and ask again after a failed deletion.
fn unless_deleting(refusal: Refusal) -> Refusal {
    Refusal {
        when: format!(
            "!(variables.type in [\"Delete\", \"Reconcile\"]) && {}",
            refusal.when
        ),
        ..refusal
    }
}

fn exists_already(exists: &str, kind: &str) -> Refusal {
    Refusal::new(
        OPERATION_NOT_ALLOWED,
        format!("variables.type == \"Create\" && {exists}"),
        &refusal::EXISTS_ALREADY.cel(&[
            ("kind", &format!("\"{kind}\"")),
            ("name", "params.metadata.name"),
        ]),
    )
}

/// Refuses the version that the target already runs, and a version in the wrong direction.
fn versions(kind: &str) -> Vec<Refusal> {
    let kind = format!("\"{kind}\"");
    let places = [
        ("kind", kind.as_str()),
        ("name", "params.metadata.name"),
        ("version", "variables.runs"),
        ("wanted", "variables.wanted"),
    ];
    let (wanted, runs) = (rank("variables.wanted"), rank("variables.runs"));
    vec![
        Refusal::new(
            OPERATION_NOT_ALLOWED,
            format!(
                "{IS_VERSION_CHANGE} && variables.wanted == variables.runs && variables.isSettled"
            ),
            &refusal::RUNS_ALREADY.cel(&places),
        ),
        Refusal::new(
            INVALID_PARAMETER,
            format!("{IS_VERSION_CHANGE} && variables.type == \"Upgrade\" && {wanted} < {runs}"),
            &refusal::RUNS_NEWER.cel(&places),
        ),
        Refusal::new(
            INVALID_PARAMETER,
            format!("{IS_VERSION_CHANGE} && variables.type == \"Rollback\" && {wanted} > {runs}"),
            &refusal::RUNS_OLDER.cel(&places),
        ),
    ]
}

/// Refuses a start of a running target, and a stop of a stopped target.
fn power(target: &Target<'_>) -> Vec<Refusal> {
    let is_so = |type_: &str, state: &str| {
        format!(
            "variables.isSettled && variables.type == \"{type_}\" && variables.power == \"{state}\""
        )
    };
    vec![
        target.wrong_time(&is_so("Start", "Running"), "true", Some(NOW)),
        target.not_running(&is_so("Stop", "Stopped"), Some(NOW)),
    ]
}
