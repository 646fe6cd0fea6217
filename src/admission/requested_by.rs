//! Stamps who requests an abort or a force, as the API server knows it. So nobody can name another person.

use crate::api::{ABORT_ANNOTATION, ABORT_REQUESTED_BY_ANNOTATION};

use super::{mutation::Mutation, policy::on};

/// The policy for aborts.
pub fn policy() -> Mutation {
    stamp(
        "belay-abort-requested-by",
        "Records the user who requested an abort, and keeps others from changing that record",
        &["managedclusters", "agentpools", "operations"],
        (
            "asks-for-an-abort",
            ABORT_ANNOTATION,
            ABORT_REQUESTED_BY_ANNOTATION,
        ),
    )
}

/// Returns the policy that writes the user into the annotation `by` if the annotation `request` is set or changed.
pub fn stamp(
    name: &'static str,
    description: &'static str,
    resources: &'static [&'static str],
    (condition, request, by): (&'static str, &str, &str),
) -> Mutation {
    let annotation = |of: &str, name: &str| format!("{of}.metadata.?annotations[?\"{name}\"]");
    let before = |name: &str| {
        format!(
            "oldObject == null ? optional.none() : {}",
            annotation("oldObject", name)
        )
    };
    let has = |name: &str| format!("{}.hasValue()", annotation("object", name));
    let variables = [
        ("request", annotation("object", request)),
        ("requestBefore", before(request)),
        ("by", annotation("object", by)),
        ("byBefore", before(by)),
        // An unchanged request keeps its note. Without a request, there is no note.
        (
            "note",
            "!variables.request.hasValue() ? optional.none() : variables.request == variables.requestBefore ? variables.byBefore : optional.of(request.userInfo.username)".to_owned(),
        ),
    ];
    let path = format!("\"/metadata/annotations/\" + jsonpatch.escapeKey(\"{by}\")");
    let patch = format!(
        "variables.note == variables.by ? [] : variables.note.hasValue() ? [JSONPatch{{op: \"add\", path: {path}, value: variables.note.value()}}] : [JSONPatch{{op: \"remove\", path: {path}}}]"
    );
    Mutation {
        name,
        description,
        operations: &[on::CREATE, on::UPDATE],
        resources,
        skips: &[],
        condition: (condition, format!("{} || {}", has(request), has(by))),
        variables: variables.into(),
        patch,
    }
}
