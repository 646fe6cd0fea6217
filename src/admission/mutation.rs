//! A `MutatingAdmissionPolicy` with its binding. Its API is stable since Kubernetes 1.36. Nothing may depend on its
//! presence.

use k8s_openapi::api::admissionregistration::v1::{
    JSONPatch, MatchCondition, MatchResources, MutatingAdmissionPolicy,
    MutatingAdmissionPolicyBinding, MutatingAdmissionPolicyBindingSpec,
    MutatingAdmissionPolicySpec, Mutation as MutationOfPolicy, Variable,
};

use super::policy::{OURS, Skip, constraints, metadata, without};

/// A policy that changes what a request writes.
pub struct Mutation {
    /// The name of the policy and of its binding.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The operations that it covers.
    pub operations: &'static [&'static str],
    /// The resources of Belay's group that it covers.
    pub resources: &'static [&'static str],
    /// Objects that it skips.
    pub skips: &'static [Skip],
    /// The condition on a request: a name and a CEL expression.
    pub condition: (&'static str, String),
    /// The variables of the patch, in the order of their use.
    pub variables: Vec<(&'static str, String)>,
    /// The JSON patch: a CEL expression.
    pub patch: String,
}

impl Mutation {
    /// Returns the policy.
    pub fn policy(&self) -> MutatingAdmissionPolicy {
        let (condition, expression) = &self.condition;
        let variables = self.variables.iter().map(|(name, expression)| Variable {
            name: (*name).to_owned(),
            expression: expression.clone(),
        });
        let spec = MutatingAdmissionPolicySpec {
            failure_policy: Some("Fail".into()),
            reinvocation_policy: Some("IfNeeded".into()),
            match_constraints: Some(MatchResources {
                object_selector: without(self.skips),
                ..constraints(self.operations, OURS, self.resources)
            }),
            match_conditions: Some(vec![MatchCondition {
                name: (*condition).to_owned(),
                expression: expression.clone(),
            }]),
            variables: Some(variables.collect()),
            mutations: Some(vec![MutationOfPolicy {
                patch_type: "JSONPatch".into(),
                json_patch: Some(JSONPatch {
                    expression: Some(self.patch.clone()),
                }),
                apply_configuration: None,
            }]),
            ..MutatingAdmissionPolicySpec::default()
        };
        MutatingAdmissionPolicy {
            metadata: metadata(self.name, Some(self.description)),
            spec: Some(spec),
        }
    }

    /// Returns the binding, which applies everywhere.
    pub fn binding(&self) -> MutatingAdmissionPolicyBinding {
        MutatingAdmissionPolicyBinding {
            metadata: metadata(self.name, None),
            spec: Some(MutatingAdmissionPolicyBindingSpec {
                policy_name: Some(self.name.to_owned()),
                ..MutatingAdmissionPolicyBindingSpec::default()
            }),
        }
    }
}
