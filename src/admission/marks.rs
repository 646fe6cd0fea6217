//! Labels new objects, so that policies needn't search for other objects. A policy with parameters is evaluated for
//! each object of their kind in the namespace, which costs the API server about 0.1 ms each. A policy that skips an
//! object by a label costs nothing for it.
//!
//! This policy is an option, for namespaces of hundreds of clusters. For some five seconds after an API server starts, or
//! after the definitions are created, the API server answers 503 to requests that a mutating policy would change,
//! because it has no schema for them yet. Before Kubernetes 1.36 there are no such policies.
//!
//! Without this policy, objects have no such labels, and the other policies search everything. Nobody gains anything by
//! setting the labels: `super::rights` and `super::new_pools` refuse wrong ones.

use crate::api::{FOLLOWS_CLUSTER_LABEL, FOR_GENERATION_LABEL, TARGET_KIND_LABEL};

use super::{
    cel::pins_version,
    mutation::Mutation,
    policy::{Skip, on},
};

/// The policy.
pub fn policy() -> Mutation {
    let add = |label: &str, value: &str| {
        format!(
            "JSONPatch{{op: \"add\", path: \"/metadata/labels/\" + jsonpatch.escapeKey(\"{label}\"), value: {value}}}"
        )
    };
    let is_pool = "request.resource.resource == \"agentpools\"";
    let labelled = format!(
        "{is_pool} ? {} : {}",
        add(FOLLOWS_CLUSTER_LABEL, "\"true\""),
        add(TARGET_KIND_LABEL, "object.spec.target.kind")
    );
    let none = "has(object.metadata.labels) ? [] : [JSONPatch{op: \"add\", path: \"/metadata/labels\", value: {}}]";
    Mutation {
        name: "belay-marks",
        description: "Labels new AgentPools that set no version, and labels Operations with the kind of their target, so that the API server doesn't have to search for their clusters",
        operations: &[on::CREATE],
        resources: &["agentpools", "operations"],
        skips: &[Skip::Labelled(FOR_GENERATION_LABEL)],
        condition: (
            "needs-no-search",
            format!("!({is_pool}) || !({})", pins_version()),
        ),
        variables: Vec::new(),
        patch: format!("({none}) + [{labelled}]"),
    }
}
