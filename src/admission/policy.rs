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

/// Where Belay's own kinds are.
pub const OURS: GroupVersion = (GROUP, VERSION);
/// Where Kubernetes' core kinds are.
pub const CORE: GroupVersion = ("", "v1");

/// The operations of requests, as rules name them.
pub mod on {
    pub const CREATE: &str = "CREATE";
    pub const UPDATE: &str = "UPDATE";
    pub const DELETE: &str = "DELETE";
}

/// What is refused, and in which words.
pub struct Refusal {
    /// Where it is so: a CEL expression of type bool.
    pub when: String,
    /// The message: a CEL expression of type string.
    pub message: String,
}

impl Refusal {
    /// A refusal with a code, which is written in brackets before the message.
    pub fn new(code: &str, when: impl Into<String>, message: &str) -> Self {
        Self {
            when: when.into(),
            message: format!("\"({code}) \" + {message}"),
        }
    }
}

/// Objects that a policy is evaluated for.
#[derive(Clone, Copy)]
pub struct Params {
    /// Their kind.
    pub kind: &'static str,
    /// The label that they have; all of the kind where there is none.
    pub label: Option<&'static str>,
}

impl Params {
    /// All of a kind.
    pub fn all(kind: &'static str) -> Self {
        Self { kind, label: None }
    }
}

/// Objects that a policy doesn't look at, by their labels.
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
    /// Its name, and its binding's.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The operations that it looks at.
    pub operations: &'static [&'static str],
    /// The API group and version of these resources.
    pub group: GroupVersion,
    /// The resources that it looks at.
    pub resources: &'static [&'static str],
    /// The objects in the request's namespace that are its `params`: it is evaluated for each of them.
    pub params: Option<Params>,
    /// Objects that it doesn't look at, so that they cost nothing.
    pub skips: &'static [Skip],
    /// Which requests it is about (with `params`, for each of them): a name and a CEL expression. What costs
    /// the API server most comes last in it.
    pub condition: (&'static str, String),
    /// What the refusals are made with, in the order of use.
    pub variables: Vec<(&'static str, String)>,
    /// The refusals; the first that applies counts.
    pub refusals: Vec<Refusal>,
    /// What is refused by who asks: `authorizer` isn't there for messages, so each is a validation of its own.
    pub rights: Vec<Refusal>,
}

impl Policy {
    /// The policy.
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

    /// Its binding: everywhere.
    pub fn binding(&self) -> ValidatingAdmissionPolicyBinding {
        let params = self.params.map(|params| ParamRef {
            // Those of the request's namespace.
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

/// What a policy and its binding are called and are for.
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

/// All objects but these; none where there is nothing to skip.
pub fn without(skips: &[Skip]) -> Option<LabelSelector> {
    let requirements = skips.iter().map(|skip| skip.requirement());
    (!skips.is_empty()).then(|| LabelSelector {
        match_expressions: Some(requirements.collect()),
        ..LabelSelector::default()
    })
}

/// Which requests on resources of a group a policy looks at.
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
