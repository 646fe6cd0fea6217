//! Checks the rights of the user who creates an Operation. Belay acts with its own rights, so an Operation may only do
//! what its creator may do through the target's spec.

use crate::{
    api::{GROUP, TARGET_KIND_LABEL},
    lifecycle::messages::{FORBIDDEN, refusal},
};

use super::{
    operator::is_operator,
    policy::{OURS, Policy, Refusal, on},
};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "belay-operation-rights",
        description: "Refuses an Operation if its author may not make the same change in the target's spec",
        operations: &[on::CREATE],
        group: OURS,
        resources: &["operations"],
        params: None,
        skips: &[],
        condition: ("is-not-by-belay", format!("!({})", is_operator())),
        variables: vec![
            (
                "resource",
                "object.spec.target.kind == \"AgentPool\" ? \"agentpools\" : \"managedclusters\""
                    .to_owned(),
            ),
            (
                "verb",
                "object.spec.type == \"Delete\" ? \"delete\" : \"update\"".to_owned(),
            ),
            (
                "needs",
                "object.spec.type == \"Scale\" ? \"agentpools/scale or agentpools\" : variables.resource"
                    .to_owned(),
            ),
        ],
        refusals: vec![wrong_label()],
        rights: vec![may_not_change()],
    }
}

/// Other policies use this label to decide which Operations they skip.
fn wrong_label() -> Refusal {
    let label = format!("object.metadata.?labels[?\"{TARGET_KIND_LABEL}\"]");
    Refusal::new(
        FORBIDDEN,
        format!("{label}.orValue(object.spec.target.kind) != object.spec.target.kind"),
        &refusal::NOT_YOURS.cel(&[
            ("what", &format!("\"label {TARGET_KIND_LABEL}\"")),
            ("whom", "\"Belay\""),
        ]),
    )
}

fn may_not_change() -> Refusal {
    let target = format!(
        "authorizer.group(\"{GROUP}\").resource(variables.resource).namespace(request.namespace).name(object.spec.target.name)"
    );
    let by_scale = format!(
        "authorizer.group(\"{GROUP}\").resource(\"agentpools\").subresource(\"scale\").namespace(request.namespace).name(object.spec.target.name).check(\"update\").allowed()"
    );
    let may = format!(
        "{target}.check(variables.verb).allowed() || object.spec.type == \"Scale\" && {by_scale}"
    );
    Refusal::new(
        FORBIDDEN,
        format!("!({may})"),
        &refusal::MAY_NOT_CHANGE.cel(&[
            ("user", "request.userInfo.username"),
            ("type", "object.spec.type"),
            ("kind", "object.spec.target.kind"),
            ("name", "object.spec.target.name"),
            ("verb", "variables.verb"),
            ("resource", "variables.needs"),
            ("namespace", "request.namespace"),
        ]),
    )
}
