//! Who may force an Operation, and how a force must be written. Also prevents people from forging who asked for it.

use crate::{
    api::{FORCE_ANNOTATION, FORCE_REQUESTED_BY_ANNOTATION, GROUP, OPERATION_UID_LABEL},
    lifecycle::messages::{
        FORBIDDEN, INVALID_PARAMETER, OPERATION_NOT_ALLOWED, force, refusal::NOT_YOURS,
    },
};

use super::{
    mutation::Mutation,
    policy::{OURS, Policy, Refusal, on},
};

/// A time as in RFC 3339. The API server's own check of the format also refuses days that don't exist, and accepts small
/// letters, which CEL can't read as a time.
const RFC_3339: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// The policy.
pub fn policy() -> Policy {
    let changed = |name: &str| {
        format!(
            "object.metadata.?annotations[?\"{name}\"] != (oldObject == null ? optional.none() : oldObject.metadata.?annotations[?\"{name}\"])"
        )
    };
    Policy {
        name: "belay-forces",
        description: "Allows only users with the verb update on operations/force to have pods deleted that a PodDisruptionBudget protects, and at most for 24 hours",
        operations: &[on::CREATE, on::UPDATE],
        group: OURS,
        resources: &["operations"],
        params: None,
        skips: &[],
        condition: (
            "changes-the-force",
            format!(
                "{} || {}",
                changed(FORCE_ANNOTATION),
                changed(FORCE_REQUESTED_BY_ANNOTATION)
            ),
        ),
        variables: variables(),
        refusals: vec![no_time(), has_ended(), is_over(), too_long(), forged()],
        rights: vec![may_not_force()],
    }
}

fn variables() -> Vec<(&'static str, String)> {
    let value = |of: &str, name: &str| {
        format!(
            "{of}.metadata.?annotations[?\"{name}\"].optMap(value, \"=\" + value).orValue(\"\")"
        )
    };
    let both = |name: &str| {
        let before = format!("oldObject == null ? \"\" : {}", value("oldObject", name));
        (before, value("object", name))
    };
    // The sign distinguishes absent from empty.
    let (force_before, force) = both(FORCE_ANNOTATION);
    let (by_before, by) = both(FORCE_REQUESTED_BY_ANNOTATION);
    vec![
        ("force", force),
        ("forceBefore", force_before),
        ("by", by),
        ("byBefore", by_before),
        ("name", "object.metadata.?name.orValue(\"\")".to_owned()),
        (
            "isNew",
            "variables.force != \"\" && variables.force != variables.forceBefore".to_owned(),
        ),
        (
            "written",
            "variables.force == \"\" ? \"\" : variables.force.substring(1)".to_owned(),
        ),
        (
            "isTime",
            format!(
                "variables.written.matches(\"{RFC_3339}\") && !format.datetime().validate(variables.written).hasValue()"
            ),
        ),
        (
            "phase",
            "oldObject == null ? \"Pending\" : oldObject.?status.?phase.orValue(\"Pending\")".to_owned(),
        ),
        // A request has no clock. But the API server has just noted its time among the times of the object's fields.
        (
            "times",
            "(oldObject == null ? [string(object.metadata.creationTimestamp)] : []) + object.metadata.?managedFields.orValue([]).filter(entry, has(entry.time)).map(entry, string(entry.time))".to_owned(),
        ),
    ]
}

fn may_not_force() -> Refusal {
    let may = format!(
        "authorizer.group(\"{GROUP}\").resource(\"operations\").subresource(\"force\").namespace(request.namespace).name(variables.name).check(\"update\").allowed()"
    );
    Refusal::new(
        FORBIDDEN,
        format!("variables.isNew && !{may}"),
        &force::MAY_NOT_FORCE.cel(&[
            ("user", "request.userInfo.username"),
            ("namespace", "request.namespace"),
        ]),
    )
}

fn no_time() -> Refusal {
    Refusal::new(
        INVALID_PARAMETER,
        "variables.isNew && !variables.isTime",
        &force::NO_TIME.cel(&places()),
    )
}

fn has_ended() -> Refusal {
    Refusal::new(
        OPERATION_NOT_ALLOWED,
        "variables.isNew && variables.phase in [\"Succeeded\", \"Failed\", \"Canceled\"]",
        &force::HAS_ENDED.cel(&[("name", "variables.name"), ("phase", "variables.phase")]),
    )
}

/// Refuses a time that has passed. Without a clock, the core reports it. A backup may restore an Operation that was
/// forced: Belay doesn't run that copy.
fn is_over() -> Refusal {
    let is_copy = format!(
        "oldObject == null && object.metadata.?labels[?\"{OPERATION_UID_LABEL}\"].hasValue()"
    );
    Refusal::new(
        INVALID_PARAMETER,
        format!(
            "variables.isNew && !({is_copy}) && variables.times.exists(time, timestamp(variables.written) <= timestamp(time))"
        ),
        &force::IS_OVER.cel(&places()),
    )
}

/// Refuses a time that is too far ahead. Without a clock, the core shortens it.
fn too_long() -> Refusal {
    // A minute more, because the clocks of people differ.
    let latest = format!("duration(\"{}h1m\")", force::LONGEST_HOURS);
    Refusal::new(
        INVALID_PARAMETER,
        format!(
            "variables.isNew && variables.times.size() > 0 && !variables.times.exists(time, timestamp(variables.written) <= timestamp(time) + {latest})"
        ),
        &force::TOO_LONG.cel(&[
            ("annotation", &format!("\"{FORCE_ANNOTATION}\"")),
            ("written", "variables.written"),
            ("hours", &format!("\"{}\"", force::LONGEST_HOURS)),
        ]),
    )
}

fn places() -> Vec<(&'static str, &'static str)> {
    const ANNOTATION: &str = "\"belay.dev/force-until\"";
    vec![
        ("annotation", ANNOTATION),
        ("written", "variables.written"),
        ("name", "variables.name"),
    ]
}

/// This never applies if the API server stamps who asks (`requested_by`).
fn forged() -> Refusal {
    Refusal::new(
        FORBIDDEN,
        "variables.by != \"\" && variables.by != \"=\" + request.userInfo.username && (variables.by != variables.byBefore || variables.isNew)",
        &NOT_YOURS.cel(&[
            (
                "what",
                &format!("\"annotation {FORCE_REQUESTED_BY_ANNOTATION}\""),
            ),
            ("whom", "\"the API server\""),
        ]),
    )
}

/// The policy that stamps who asks for a force.
pub fn requested_by() -> Mutation {
    super::requested_by::stamp(
        "belay-force-requested-by",
        "Records the user who forced an operation, and keeps others from changing that record",
        &["operations"],
        (
            "asks-for-a-force",
            FORCE_ANNOTATION,
            FORCE_REQUESTED_BY_ANNOTATION,
        ),
    )
}
