//! New pools of a cluster. A new pool has no status that could show its cluster, so the policies search for the cluster
//! among their parameters. They search only clusters that are being deleted and, for a pool that pins a version, all
//! clusters. A pool that pins none follows its cluster's version, and has a label that says so (`super::marks`).

use crate::{
    api::{BEING_DELETED_LABEL, FOLLOWS_CLUSTER_LABEL},
    lifecycle::messages::{FORBIDDEN, OPERATION_NOT_ALLOWED, refusal},
};

use super::{
    cel::{elapsed_text, pins_version},
    operator::is_operator,
    policy::{OURS, Params, Policy, Refusal, Skip, on},
    pool_changes::skew,
};

/// The policy for clusters that are being deleted.
pub fn of_deleted_clusters() -> Policy {
    Policy {
        name: "belay-new-pools",
        description: "Refuses a new AgentPool of a ManagedCluster that is being deleted",
        operations: &[on::CREATE],
        group: OURS,
        resources: &["agentpools"],
        params: Some(Params {
            kind: "ManagedCluster",
            label: Some(BEING_DELETED_LABEL),
        }),
        skips: &[],
        condition: ("comes-to-the-cluster", comes_to_the_cluster()),
        variables: Vec::new(),
        refusals: vec![deletion()],
        rights: Vec::new(),
    }
}

/// The policy for pools that pin a version.
pub fn of_a_version() -> Policy {
    Policy {
        name: "belay-new-pools-version",
        description: "Refuses a new AgentPool with a version that doesn't fit its ManagedCluster",
        operations: &[on::CREATE],
        group: OURS,
        resources: &["agentpools"],
        params: Some(Params::all("ManagedCluster")),
        skips: &[Skip::Labelled(FOLLOWS_CLUSTER_LABEL)],
        condition: (
            "comes-to-the-cluster",
            format!("{} && {}", pins_version(), comes_to_the_cluster()),
        ),
        variables: vec![
            (
                "wanted",
                "object.spec.?kubernetesVersion.orValue(\"\")".to_owned(),
            ),
            // Before there is a control plane, the version that it will run.
            (
                "controlPlane",
                "params.?status.?kubernetesVersion.orValue(params.spec.kubernetesVersion)"
                    .to_owned(),
            ),
        ],
        refusals: skew("true", "object.metadata.name"),
        rights: Vec::new(),
    }
}

/// The policy for pools that claim by their label that they pin no version.
pub fn of_a_wrong_label() -> Policy {
    let is_wrong = format!(
        "object.metadata.?labels[?\"{FOLLOWS_CLUSTER_LABEL}\"].hasValue() && {}",
        pins_version()
    );
    Policy {
        name: "belay-new-pools-label",
        description: "Refuses a new AgentPool that sets a version, but has the label of pools that set none",
        operations: &[on::CREATE],
        group: OURS,
        resources: &["agentpools"],
        params: None,
        skips: &[],
        condition: ("has-the-wrong-label", is_wrong),
        variables: Vec::new(),
        refusals: vec![Refusal::new(
            FORBIDDEN,
            "true",
            &refusal::NOT_YOURS.cel(&[
                ("what", &format!("\"label {FOLLOWS_CLUSTER_LABEL}\"")),
                ("whom", "\"Belay\""),
            ]),
        )],
        rights: Vec::new(),
    }
}

fn comes_to_the_cluster() -> String {
    format!(
        "params.metadata.name == object.spec.clusterName && !({})",
        is_operator()
    )
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
        refusal::DELETION_WAS_ISSUED.cel(&places) + &elapsed_text(Some(now), since, false);
    Refusal::new(OPERATION_NOT_ALLOWED, format!("has({since})"), &message)
}
