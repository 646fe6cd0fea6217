//! Stamps who asks for an abort, as the API server knows it: nobody can say it of somebody else.

use k8s_openapi::api::admissionregistration::v1::{
    JSONPatch, MatchCondition, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
    MutatingAdmissionPolicyBindingSpec, MutatingAdmissionPolicySpec, Mutation, Variable,
};

use crate::api::{ABORT_ANNOTATION, ABORT_REQUESTED_BY_ANNOTATION};

use super::policy::{OURS, constraints, metadata, on};

/// The policy's name, and its binding's.
pub const NAME: &str = "belay-abort-requested-by";

const DESCRIPTION: &str =
    "Notes on an abort request who made it, and keeps that note from being changed";

/// The policy.
pub fn policy() -> MutatingAdmissionPolicy {
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
        // A request that is as it was keeps its note; without a request there is none.
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
    let spec = MutatingAdmissionPolicySpec {
        failure_policy: Some("Fail".into()),
        reinvocation_policy: Some("IfNeeded".into()),
        match_constraints: Some(constraints(
            &[on::CREATE, on::UPDATE],
            OURS,
            &["managedclusters", "agentpools", "operations"],
        )),
        match_conditions: Some(vec![MatchCondition {
            name: "asks-for-an-abort".into(),
            expression: format!(
                "{} || {}",
                has(ABORT_ANNOTATION),
                has(ABORT_REQUESTED_BY_ANNOTATION)
            ),
        }]),
        variables: Some(
            variables
                .into_iter()
                .map(|(name, expression)| Variable {
                    name: name.to_owned(),
                    expression,
                })
                .collect(),
        ),
        mutations: Some(vec![Mutation {
            patch_type: "JSONPatch".into(),
            json_patch: Some(JSONPatch {
                expression: Some(patch),
            }),
            apply_configuration: None,
        }]),
        ..MutatingAdmissionPolicySpec::default()
    };
    MutatingAdmissionPolicy {
        metadata: metadata(NAME, Some(DESCRIPTION)),
        spec: Some(spec),
    }
}

/// Its binding: everywhere.
pub fn binding() -> MutatingAdmissionPolicyBinding {
    MutatingAdmissionPolicyBinding {
        metadata: metadata(NAME, None),
        spec: Some(MutatingAdmissionPolicyBindingSpec {
            policy_name: Some(NAME.to_owned()),
            ..MutatingAdmissionPolicyBindingSpec::default()
        }),
    }
}
