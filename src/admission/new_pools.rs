//! Pools that come to a cluster. A new pool has no status that could show its cluster, so the cluster is
//! looked for among the parameters.

use crate::lifecycle::messages::{OPERATION_NOT_ALLOWED, refusal};

use super::{
    cel::told_elapsed,
    operator::is_operator,
    policy::{OURS, Params, Policy, Refusal, on},
    pool_changes::skew,
};

/// The policy.
pub fn policy() -> Policy {
    let mut refusals = vec![deletion()];
    refusals.extend(skew("true", "object.metadata.name"));
    Policy {
        name: "belay-new-pools",
        description: "Refuses a new AgentPool that its ManagedCluster can't have",
        operations: &[on::CREATE],
        group: OURS,
        resources: &["agentpools"],
        params: Some(Params::all("ManagedCluster")),
        skips: None,
        condition: (
            "comes-to-the-cluster",
            format!(
                "params.metadata.name == object.spec.clusterName && !({})",
                is_operator()
            ),
        ),
        variables: vec![
            (
                "wanted",
                "object.spec.?kubernetesVersion.orValue(\"\")".to_owned(),
            ),
            // Before there is a control plane, what it will run.
            (
                "controlPlane",
                "params.?status.?kubernetesVersion.orValue(params.spec.kubernetesVersion)"
                    .to_owned(),
            ),
        ],
        refusals,
        rights: Vec::new(),
    }
}

fn deletion() -> Refusal {
    let since = "params.metadata.deletionTimestamp";
    let places = [
        ("state", "\"Creating\""),
        ("name", "object.metadata.name"),
        ("deleted", "params.metadata.name"),
        ("since", since),
    ];
    let now = "timestamp(object.metadata.creationTimestamp)";
    let message =
        refusal::DELETION_WAS_ISSUED.cel(&places) + &told_elapsed(Some(now), since, false);
    Refusal::new(OPERATION_NOT_ALLOWED, format!("has({since})"), &message)
}
