//! The policy for Nodes. A role can't name nodes that come and go, so Belay's role covers all nodes. This policy
//! limits Belay's account to nodes that carry Belay's labels. Only Belay may change these labels, and the
//! annotations that say which work on a node isn't done. Everybody else may do everything else with a node.

use crate::{
    api::{CLUSTER_LABEL, GROUP, NAMESPACE_LABEL, NODE_MARKS},
    lifecycle::messages::{FORBIDDEN, refusal},
};

use super::{
    operator::{OPERATE, has_our_field_manager, may_do_everything, may_operate_nodes},
    policy::{CORE, Policy, Refusal, on},
};

/// The policy.
pub fn policy() -> Policy {
    let marks = NODE_MARKS.map(|mark| format!("\"{mark}\"")).join(", ");
    let is_of_belay = format!(
        "[\"{CLUSTER_LABEL}\", \"{NAMESPACE_LABEL}\"].all(label, variables.before[?label].orValue(\"\") != \"\" && (request.operation != \"UPDATE\" || variables.after[?label] == variables.before[?label]))"
    );
    let operates_there = format!(
        "authorizer.group(\"{GROUP}\").resource(\"managedclusters\").namespace(variables.before[\"{NAMESPACE_LABEL}\"]).check(\"{OPERATE}\").allowed()"
    );
    Policy {
        name: "belay-nodes",
        description: "Lets Belay's account write only Belay's nodes, and lets only Belay write its labels and annotations of nodes",
        operations: &[on::CREATE, on::UPDATE, on::DELETE],
        group: CORE,
        resources: &["nodes", "nodes/status"],
        params: None,
        skips: &[],
        // Kubelets report often. As long as they don't change the metadata, the policy looks up nothing for them.
        condition: (
            "changes-metadata-or-is-by-belay",
            format!(
                "request.operation != \"DELETE\" && (oldObject == null || object.metadata.?labels != oldObject.metadata.?labels || object.metadata.?annotations != oldObject.metadata.?annotations) || !(\"system:nodes\" in request.userInfo.?groups.orValue([])) && {} && !{}",
                may_operate_nodes(),
                may_do_everything()
            ),
        ),
        variables: vec![
            ("node", "oldObject == null ? object : oldObject".to_owned()),
            (
                "before",
                "variables.node.metadata.?labels.orValue({})".to_owned(),
            ),
            (
                "after",
                "object == null ? {} : object.metadata.?labels.orValue({})".to_owned(),
            ),
            ("isOfBelay", is_of_belay),
            (
                "labels",
                "object == null ? [] : (oldObject == null ? variables.after.map(label, label) : (variables.after.map(label, label) + variables.before.map(label, label)).filter(label, variables.after[?label] != variables.before[?label])).filter(label, label.startsWith(\"belay.dev/\"))".to_owned(),
            ),
            (
                "annotations",
                format!("object == null ? [] : [{marks}].filter(mark, object.metadata.?annotations[?mark] != (oldObject == null ? optional.none() : oldObject.metadata.?annotations[?mark]))"),
            ),
            (
                "changed",
                "variables.labels.map(label, \"label \" + label) + variables.annotations.map(mark, \"annotation \" + mark)".to_owned(),
            ),
        ],
        refusals: Vec::new(),
        rights: vec![
            not_of_belay(format!(
                "!variables.isOfBelay && {} && !{}",
                may_operate_nodes(),
                may_do_everything()
            )),
            not_of_belay(format!(
                "variables.isOfBelay && {} && !{operates_there}",
                may_operate_nodes()
            )),
            Refusal::new(
                FORBIDDEN,
                format!(
                    "size(variables.changed) > 0 && !({} && {})",
                    has_our_field_manager(),
                    may_operate_nodes()
                ),
                &refusal::NOT_YOURS.cel(&[
                    ("what", "variables.changed[0]"),
                    ("whom", "\"Belay\""),
                ]),
            ),
        ],
    }
}

/// There are two refusals of this kind, because the API server limits how many rights one expression may check.
fn not_of_belay(when: String) -> Refusal {
    Refusal::new(
        FORBIDDEN,
        when,
        &refusal::NOT_A_NODE_OF_BELAY.cel(&[
            ("user", "request.userInfo.username"),
            ("node", "variables.node.metadata.?name.orValue(\"\")"),
        ]),
    )
}
