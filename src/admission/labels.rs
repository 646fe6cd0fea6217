//! Labels that Belay sets to recognize its own objects. Any user may set them on an object that the user creates, as a
//! restore of a backup does, so the core doesn't trust them. On existing objects, only Belay changes them.

use crate::{
    api::{
        BEING_DELETED_LABEL, CLUSTER_LABEL, FOR_GENERATION_LABEL, OPERATION_UID_LABEL,
        SCALE_REFUSED_LABEL, TARGET_KIND_LABEL,
    },
    lifecycle::messages::{FORBIDDEN, refusal},
};

use super::{
    operator::is_operator,
    policy::{OURS, Policy, Refusal, on},
};

/// The policy.
pub fn policy() -> Policy {
    let of_operations = [
        FOR_GENERATION_LABEL,
        OPERATION_UID_LABEL,
        CLUSTER_LABEL,
        TARGET_KIND_LABEL,
    ]
    .map(|label| format!("\"{label}\""));
    Policy {
        name: "belay-labels",
        description: "Lets only Belay change the labels that Belay relies on",
        operations: &[on::UPDATE],
        group: OURS,
        resources: &["managedclusters", "agentpools", "operations"],
        params: None,
        skips: &[],
        condition: (
            "changes-labels",
            format!(
                "object.metadata.?labels != oldObject.metadata.?labels && !({})",
                is_operator()
            ),
        ),
        variables: vec![
            (
                "ours",
                format!(
                    "{{\"managedclusters\": [\"{BEING_DELETED_LABEL}\"], \"agentpools\": [\"{SCALE_REFUSED_LABEL}\"], \"operations\": [{}]}}[request.resource.resource]",
                    of_operations.join(", ")
                ),
            ),
            (
                "changed",
                "variables.ours.filter(label, object.metadata.?labels[?label] != oldObject.metadata.?labels[?label])".to_owned(),
            ),
        ],
        refusals: vec![Refusal::new(
            FORBIDDEN,
            "size(variables.changed) > 0",
            &refusal::NOT_YOURS.cel(&[
                ("what", "\"label \" + variables.changed[0]"),
                ("whom", "\"Belay\""),
            ]),
        )],
        rights: Vec::new(),
    }
}
