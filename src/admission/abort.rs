//! Who may abort, and what. And what people may not say of themselves or of Belay.

use crate::{
    api::{
        ABORT_ANNOTATION, ABORT_POLICY_ANNOTATION, ABORT_REQUESTED_BY_ANNOTATION,
        FOR_GENERATION_LABEL, GROUP,
    },
    lifecycle::messages::{FORBIDDEN, OPERATION_NOT_ALLOWED, refusal},
};

use super::{
    operator::is_operator,
    policy::{Policy, Refusal, on},
};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "belay-aborts",
        description: "Lets only those abort who may update the subresource abort, and only what is in flight",
        operations: &[on::CREATE, on::UPDATE, on::DELETE],
        resources: &["managedclusters", "agentpools", "operations"],
        params: None,
        skips: None,
        condition: (
            "annotates-or-deletes",
            format!(
                "request.operation == \"DELETE\" ? request.resource.resource == \"operations\" : {} || {}",
                changes("annotations"),
                changes("labels")
            ),
        ),
        variables: variables(),
        refusals: vec![has_ended(), nothing_in_flight(), forged()],
        rights: vec![may_not_abort(), not_by_belay()],
    }
}

fn changes(kind: &str) -> String {
    format!(
        "object.metadata.?{kind} != (oldObject == null ? optional.none() : oldObject.metadata.?{kind})"
    )
}

/// An annotation or a label before and after, as text that tells absent from empty.
fn both(kind: &str, name: &str) -> (String, String) {
    let note = |of: &str| format!("{of}.metadata.?{kind}[?\"{name}\"]");
    let tell = "optMap(value, \"=\" + value).orValue(\"\")";
    let after = format!(
        "request.operation == \"DELETE\" ? \"\" : {}.{tell}",
        note("object")
    );
    let before = format!("oldObject == null ? \"\" : {}.{tell}", note("oldObject"));
    (before, after)
}

fn variables() -> Vec<(&'static str, String)> {
    let (abort_before, abort) = both("annotations", ABORT_ANNOTATION);
    let (how_before, how) = both("annotations", ABORT_POLICY_ANNOTATION);
    let (by_before, by) = both("annotations", ABORT_REQUESTED_BY_ANNOTATION);
    let (generation_before, generation) = both("labels", FOR_GENERATION_LABEL);
    let status = |path: &str, or: &str| format!("oldObject.?status{path}.orValue({or})");
    vec![
        ("resource", "request.resource.resource".to_owned()),
        (
            "kind",
            "variables.resource == \"agentpools\" ? \"AgentPool\" : \"ManagedCluster\"".to_owned(),
        ),
        ("abort", abort),
        ("abortBefore", abort_before),
        ("how", how),
        ("howBefore", how_before),
        ("by", by),
        ("byBefore", by_before),
        ("generation", generation),
        ("generationBefore", generation_before),
        (
            "isNew",
            "variables.abort != \"\" && variables.abort != variables.abortBefore".to_owned(),
        ),
        (
            "asks",
            "variables.isNew || variables.abort != \"\" && variables.how != variables.howBefore"
                .to_owned(),
        ),
        (
            "phase",
            format!(
                "variables.resource == \"operations\" && oldObject != null ? {} : \"Pending\"",
                status(".?phase", "\"Pending\"")
            ),
        ),
        (
            "hasEnded",
            "variables.phase in [\"Succeeded\", \"Failed\", \"Canceled\"]".to_owned(),
        ),
        // An operation that is deleted while it goes on is aborted. What goes with its cluster or its
        // namespace goes by their deletion.
        (
            "deletesOperation",
            "request.operation == \"DELETE\" && !variables.hasEnded && !has(oldObject.metadata.deletionTimestamp) && !has(namespaceObject.metadata.deletionTimestamp)".to_owned(),
        ),
        (
            "lock",
            status(".?operations", "[]"),
        ),
        // Where changes wait, one may wait for this target while another's operation is in flight.
        (
            "isInFlight",
            format!(
                "variables.resource == \"managedclusters\" ? variables.lock.exists(held, held.target.kind == \"ManagedCluster\" || object.spec.concurrencyPolicy != \"Forbid\") : {} != \"\" && ({} == \"\" || {} != \"Forbid\")",
                status(".?operation.?name", "\"\""),
                status(".?cluster.?operation", "\"\""),
                status(".?cluster.?concurrencyPolicy", "\"Forbid\""),
            ),
        ),
    ]
}

fn may_not_abort() -> Refusal {
    let may = format!(
        "authorizer.group(\"{GROUP}\").resource(variables.resource).subresource(\"abort\").namespace(request.namespace).name(request.name).check(\"update\").allowed()"
    );
    Refusal::new(
        FORBIDDEN,
        format!("(variables.asks || variables.deletesOperation) && !{may}"),
        &refusal::MAY_NOT_ABORT.cel(&[
            ("user", "request.userInfo.username"),
            ("resource", "variables.resource"),
            ("namespace", "request.namespace"),
        ]),
    )
}

/// An Operation that says that Belay made it from a spec isn't checked like a person's.
fn not_by_belay() -> Refusal {
    Refusal::new(
        FORBIDDEN,
        format!(
            "variables.generation != variables.generationBefore && request.operation != \"DELETE\" && !({})",
            is_operator()
        ),
        &refusal::NOT_YOURS.cel(&[
            ("what", &format!("\"label {FOR_GENERATION_LABEL}\"")),
            ("whom", "\"Belay\""),
        ]),
    )
}

/// Where the API server stamps who asks (`requested_by`), this never applies.
fn forged() -> Refusal {
    Refusal::new(
        FORBIDDEN,
        "variables.by != \"\" && variables.by != \"=\" + request.userInfo.username && (variables.by != variables.byBefore || variables.isNew)",
        &refusal::NOT_YOURS.cel(&[
            (
                "what",
                &format!("\"annotation {ABORT_REQUESTED_BY_ANNOTATION}\""),
            ),
            ("whom", "\"the API server\""),
        ]),
    )
}

fn has_ended() -> Refusal {
    Refusal::new(
        OPERATION_NOT_ALLOWED,
        "variables.isNew && variables.hasEnded",
        &refusal::HAS_ENDED.cel(&[
            ("name", "oldObject.metadata.name"),
            ("phase", "variables.phase"),
        ]),
    )
}

/// A target that is created with the annotation isn't aborted by it.
fn nothing_in_flight() -> Refusal {
    Refusal::new(
        OPERATION_NOT_ALLOWED,
        "variables.isNew && oldObject != null && variables.resource != \"operations\" && !variables.isInFlight",
        &refusal::NOTHING_IN_FLIGHT.cel(&[
            ("kind", "variables.kind"),
            ("name", "oldObject.metadata.name"),
        ]),
    )
}
