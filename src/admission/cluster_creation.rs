//! Refuses changes of how Belay creates a Cluster of Cluster API, because these settings are used only once. The schema
//! can't do this, because it doesn't know the values of a Cluster's variables.

use crate::lifecycle::messages::{INVALID_PARAMETER, refusal};

use super::policy::{OURS, Policy, Refusal, on};

/// The policy.
pub fn policy() -> Policy {
    let of = |object: &str| format!("{object}.spec.provider.?clusterAPI.?create");
    Policy {
        name: "belay-cluster-creation",
        description: "Refuses a change of spec.provider.clusterAPI.create",
        operations: &[on::UPDATE],
        group: OURS,
        resources: &["managedclusters"],
        params: None,
        skips: &[],
        condition: (
            "is-of-cluster-api",
            format!(
                "{}.hasValue() || {}.hasValue()",
                of("object"),
                of("oldObject")
            ),
        ),
        variables: Vec::new(),
        refusals: vec![Refusal::new(
            INVALID_PARAMETER,
            format!("{} != {}", of("object"), of("oldObject")),
            &refusal::CREATION_IS_OVER
                .cel(&[("cluster", "oldObject.spec.provider.clusterAPI.clusterName")]),
        )],
        rights: Vec::new(),
    }
}
