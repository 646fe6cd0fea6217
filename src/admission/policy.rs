//! A `ValidatingAdmissionPolicy` with its binding.

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MatchResources, NamedRuleWithOperations, ParamKind, ParamRef,
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation, Variable,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
};

use crate::api::GROUP;

use super::cel::first_of;

/// The version of Belay's kinds that policies see.
pub const VERSION: &str = "v1alpha1";

/// An API group and a version of it.
pub type GroupVersion = (&'static str, &'static str);

/// The group and version of Belay's own kinds.
pub const OURS: GroupVersion = (GROUP, VERSION);
/// The group and version of Kubernetes' core kinds.
pub const CORE: GroupVersion = ("", "v1");

/// The operations of requests, as rules name them.
pub mod on {
    pub const CREATE: &str = "CREATE";
    pub const UPDATE: &str = "UPDATE";
    pub const DELETE: &str = "DELETE";
}

/// A refusal: when it applies, and its message.
pub struct Refusal {
    /// When it applies: a CEL expression of type bool.
    pub when: String,
    /// The message: a CEL expression of type string.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal with a code, which is written in brackets before the message.
    pub fn new(code: &str, when: impl Into<String>, message: &str) -> Self {
        Self {
            when: when.into(),
            message: format!("\"({code}) \" + {message}"),
        }
    }
}

/// The objects that a policy is evaluated for.
#[derive(Clone, Copy)]
pub struct Params {
    /// The kind of the objects.
    pub kind: &'static str,
    /// The label of the objects. If none, all objects of the kind.
    pub label: Option<&'static str>,
}

impl Params {
    /// All objects of a kind.
    pub fn all(kind: &'static str) -> Self {
        Self { kind, label: None }
    }
}

/// Objects that a policy skips, by their labels.
#[derive(Clone, Copy)]
pub enum Skip {
    /// Those with this label, whatever its value.
    Labelled(&'static str),
    /// Those whose label has this value.
    Value(&'static str, &'static str),
}

impl Skip {
    fn requirement(self) -> LabelSelectorRequirement {
        let (key, operator, values) = match self {
            Self::Labelled(key) => (key, "DoesNotExist", None),
            Self::Value(key, value) => (key, "NotIn", Some(vec![value.to_owned()])),
        };
        LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values,
        }
    }
}

/// A policy that refuses.
pub struct Policy {
    /// The name of the policy and of its binding.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The operations that it covers.
    pub operations: &'static [&'static str],
    /// The API group and version of these resources.
    pub group: GroupVersion,
    /// The resources that it covers.
    pub resources: &'static [&'static str],
    /// The objects in the request's namespace that are its `params`. The policy is evaluated for each of them.
    pub params: Option<Params>,
    /// Objects that it skips, so that they cost nothing.
    pub skips: &'static [Skip],
    /// The condition on a request (with `params`, it is evaluated for each of them): a name and a CEL expression. The
    /// part that costs the API server most comes last.
    pub condition: (&'static str, String),
    /// The variables of the refusals, in the order of their use.
    pub variables: Vec<(&'static str, String)>,
    /// The refusals. The first one that applies is used.
    pub refusals: Vec<Refusal>,
    /// Refusals that depend on the user. Messages can't use `authorizer`, so each refusal is a separate validation.
    pub rights: Vec<Refusal>,
}

impl Policy {
    /// Returns the policy.
    pub fn policy(&self) -> ValidatingAdmissionPolicy {
        let (condition, expression) = &self.condition;
        let variable = |(name, expression): (&str, String)| Variable {
            name: name.to_owned(),
            expression,
        };
        let mut variables = self.variables.clone();
        variables.push(("refusal", first_of(&self.refusals)));
        let spec = ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".into()),
            match_constraints: Some(MatchResources {
                object_selector: without(self.skips),
                ..constraints(self.operations, self.group, self.resources)
            }),
            match_conditions: Some(vec![MatchCondition {
                name: (*condition).to_owned(),
                expression: expression.clone(),
            }]),
            param_kind: self.params.map(|params| ParamKind {
                api_version: Some(format!("{GROUP}/{VERSION}")),
                kind: Some(params.kind.to_owned()),
            }),
            variables: Some(variables.into_iter().map(variable).collect()),
            validations: Some(self.validations()),
            ..ValidatingAdmissionPolicySpec::default()
        };
        ValidatingAdmissionPolicy {
            metadata: metadata(self.name, Some(self.description)),
            spec: Some(spec),
            status: None,
        }
    }

    fn validations(&self) -> Vec<Validation> {
        let right = |right: &Refusal| Validation {
            expression: format!("!({})", right.when),
            message_expression: Some(right.message.clone()),
            reason: Some("Forbidden".into()),
            ..Validation::default()
        };
        let refusal = Validation {
            expression: "variables.refusal == \"\"".into(),
            message_expression: Some("variables.refusal".into()),
            reason: Some("Forbidden".into()),
            ..Validation::default()
        };
        self.rights.iter().map(right).chain([refusal]).collect()
    }

    /// Returns the binding, which applies everywhere.
    pub fn binding(&self) -> ValidatingAdmissionPolicyBinding {
        let params = self.params.map(|params| ParamRef {
            // The objects of the request's namespace.
            selector: Some(LabelSelector {
                match_labels: params
                    .label
                    .map(|label| [(label.to_owned(), "true".to_owned())].into()),
                ..LabelSelector::default()
            }),
            parameter_not_found_action: Some("Allow".into()),
            ..ParamRef::default()
        });
        ValidatingAdmissionPolicyBinding {
            metadata: metadata(self.name, None),
            spec: ValidatingAdmissionPolicyBindingSpec {
                policy_name: self.name.to_owned(),
                param_ref: params,
                validation_actions: vec!["Deny".into()],
                ..ValidatingAdmissionPolicyBindingSpec::default()
            },
        }
    }
}

/// Returns the metadata of a policy or a binding: its name and its description.
pub fn metadata(name: &str, description: Option<&str>) -> ObjectMeta {
    let description = description.map(|text| {
        let key = "kubernetes.io/description".to_owned();
        [(key, text.to_owned())].into()
    });
    ObjectMeta {
        name: Some(name.to_owned()),
        annotations: description,
        ..ObjectMeta::default()
    }
}

/// Selects all objects except those to skip. None if there is nothing to skip.
pub fn without(skips: &[Skip]) -> Option<LabelSelector> {
    let requirements = skips.iter().map(|skip| skip.requirement());
    (!skips.is_empty()).then(|| LabelSelector {
        match_expressions: Some(requirements.collect()),
        ..LabelSelector::default()
    })
}

/// Selects the requests on resources of a group that a policy covers.
pub fn constraints(
    operations: &[&str],
    (group, version): GroupVersion,
    resources: &[&str],
) -> MatchResources {
    let owned = |of: &[&str]| Some(of.iter().map(|&one| one.to_owned()).collect());
    MatchResources {
        resource_rules: Some(vec![NamedRuleWithOperations {
            api_groups: owned(&[group]),
            api_versions: owned(&[version]),
            operations: owned(operations),
            resources: owned(resources),
            ..NamedRuleWithOperations::default()
        }]),
        ..MatchResources::default()
    }
}
