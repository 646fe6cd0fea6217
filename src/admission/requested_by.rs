//! Stamps who requests an abort, as the API server knows it. So nobody can name another person.

use crate::api::{ABORT_ANNOTATION, ABORT_REQUESTED_BY_ANNOTATION};

use super::{mutation::Mutation, policy::on};

/// The policy.
pub fn policy() -> Mutation {
    let annotation = |of: &str, name: &str| format!("{of}.metadata.?annotations[?\"{name}\"]");
    let before = |name: &str| {
        format!(
            "oldObject == null ? optional.none() : {}",
            annotation("oldObject", name)
        )
    };
    let has = |name: &str| format!("{}.hasValue()", annotation("object", name));
    let variables = [
        ("abort", annotation("object", ABORT_ANNOTATION)),
        ("abortBefore", before(ABORT_ANNOTATION)),
        ("by", annotation("object", ABORT_REQUESTED_BY_ANNOTATION)),
        ("byBefore", before(ABORT_REQUESTED_BY_ANNOTATION)),
        // An unchanged request keeps its note. Without a request, there is no note.
        (
            "note",
            "!variables.abort.hasValue() ? optional.none() : variables.abort == variables.abortBefore ? variables.byBefore : optional.of(request.userInfo.username)".to_owned(),
        ),
    ];
    let path = format!(
        "\"/metadata/annotations/\" + jsonpatch.escapeKey(\"{ABORT_REQUESTED_BY_ANNOTATION}\")"
    );
    let patch = format!(
        "variables.note == variables.by ? [] : variables.note.hasValue() ? [JSONPatch{{op: \"add\", path: {path}, value: variables.note.value()}}] : [JSONPatch{{op: \"remove\", path: {path}}}]"
    );
    Mutation {
        name: "belay-abort-requested-by",
        description: "Records the user who requested an abort, and keeps others from changing that record",
        operations: &[on::CREATE, on::UPDATE],
        resources: &["managedclusters", "agentpools", "operations"],
        skips: &[],
        condition: (
            "asks-for-an-abort",
            format!(
                "{} || {}",
                has(ABORT_ANNOTATION),
                has(ABORT_REQUESTED_BY_ANNOTATION)
            ),
        ),
        variables: variables.into(),
        patch,
    }
}
