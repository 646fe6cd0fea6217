//! Who may abort what, and how an abort must be written. Also prevents people from forging who requested an abort.

use crate::{
    api::{
        ABORT_ANNOTATION, ABORT_POLICY_AFTER_STEP, ABORT_POLICY_ANNOTATION, ABORT_POLICY_NOW,
        ABORT_REQUESTED_BY_ANNOTATION, GROUP, LONGEST_TEXT,
    },
    lifecycle::messages::{FORBIDDEN, INVALID_PARAMETER, OPERATION_NOT_ALLOWED, refusal},
};

use super::{
    operator::is_operator,
    policy::{OURS, Policy, Refusal, on},
};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "belay-aborts",
        description: "Allows an abort only to users with the verb update on the subresource abort, and only of an operation in flight",
        operations: &[on::CREATE, on::UPDATE, on::DELETE],
        group: OURS,
        resources: &["managedclusters", "agentpools", "operations"],
        params: None,
        skips: &[],
        condition: (
            "annotates-or-deletes",
            format!(
                "request.operation == \"DELETE\" ? request.resource.resource == \"operations\" : {} || {}",
                changes("annotations"),
                changes("ownerReferences")
            ),
        ),
        variables: variables(),
        refusals: vec![
            too_long(),
            unknown_policy(),
            has_ended(),
            nothing_in_flight(),
            forged(),
        ],
        rights: vec![may_not_abort()],
    }
}

fn changes(kind: &str) -> String {
    format!(
        "object.metadata.?{kind} != (oldObject == null ? optional.none() : oldObject.metadata.?{kind})"
    )
}

/// Returns an annotation before and after the request, as text that distinguishes absent from empty.
fn both(name: &str) -> (String, String) {
    let note = |of: &str| format!("{of}.metadata.?annotations[?\"{name}\"]");
    let sign = "optMap(value, \"=\" + value).orValue(\"\")";
    let after = format!(
        "request.operation == \"DELETE\" ? \"\" : {}.{sign}",
        note("object")
    );
    let before = format!("oldObject == null ? \"\" : {}.{sign}", note("oldObject"));
    (before, after)
}

fn variables() -> Vec<(&'static str, String)> {
    let (abort_before, abort) = both(ABORT_ANNOTATION);
    let (how_before, how) = both(ABORT_POLICY_ANNOTATION);
    let (by_before, by) = both(ABORT_REQUESTED_BY_ANNOTATION);
    let status = |path: &str, or: &str| format!("oldObject.?status{path}.orValue({or})");
    vec![
        ("resource", "request.resource.resource".to_owned()),
        // The request has no name for a deletion of a collection, or for a creation with generateName.
        (
            "name",
            "object == null ? oldObject.metadata.name : object.metadata.?name.orValue(\"\")".to_owned(),
        ),
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
        // The deletion of an unfinished Operation aborts it. An Operation that is deleted together with its cluster or
        // namespace is covered by their deletion.
        (
            "deletesOperation",
            "request.operation == \"DELETE\" && !variables.hasEnded && !has(oldObject.metadata.deletionTimestamp) && !has(namespaceObject.metadata.deletionTimestamp)".to_owned(),
        ),
        // If someone sets an owner that doesn't exist, the garbage collector deletes the Operation.
        (
            "changesOwner",
            "variables.resource == \"operations\" && oldObject != null && object != null && !variables.hasEnded && object.metadata.?ownerReferences != oldObject.metadata.?ownerReferences".to_owned(),
        ),
        (
            "lock",
            status(".?operations", "[]"),
        ),
        // If changes wait, one may wait for this target while an operation on another target is in flight.
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
        "authorizer.group(\"{GROUP}\").resource(variables.resource).subresource(\"abort\").namespace(request.namespace).name(variables.name).check(\"update\").allowed()"
    );
    Refusal::new(
        FORBIDDEN,
        format!(
            "(variables.asks || variables.deletesOperation || variables.changesOwner && !({})) && !{may}",
            is_operator()
        ),
        &refusal::MAY_NOT_ABORT.cel(&[
            ("user", "request.userInfo.username"),
            ("resource", "variables.resource"),
            ("namespace", "request.namespace"),
        ]),
    )
}

/// This never applies if the API server stamps who requests the abort (`requested_by`).
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

/// The reason is copied into statuses and conditions, which have no room for a long text.
fn too_long() -> Refusal {
    // The size includes the sign that distinguishes absent from empty.
    let size = "size(variables.abort)";
    Refusal::new(
        INVALID_PARAMETER,
        format!("variables.isNew && {size} > {}", LONGEST_TEXT + 1),
        &refusal::REASON_TOO_LONG.cel(&[
            ("annotation", &format!("\"{ABORT_ANNOTATION}\"")),
            ("size", &format!("string({size} - 1)")),
            ("most", &format!("\"{LONGEST_TEXT}\"")),
        ]),
    )
}

fn unknown_policy() -> Refusal {
    Refusal::new(
        INVALID_PARAMETER,
        format!(
            "variables.how != variables.howBefore && !(variables.how in [\"\", \"={ABORT_POLICY_NOW}\", \"={ABORT_POLICY_AFTER_STEP}\"])"
        ),
        &refusal::NO_ABORT_POLICY.cel(&[
            ("annotation", &format!("\"{ABORT_POLICY_ANNOTATION}\"")),
            ("written", "variables.how.substring(1)"),
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

/// If a target is created with the annotation, this doesn't abort anything, so it isn't refused.
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
