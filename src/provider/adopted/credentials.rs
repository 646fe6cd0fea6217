//! The credentials for requests to a cloud: the operator's own identity, or a Secret in the cluster's namespace.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::provider::{
    engine::{EngineError, Site},
    nodes::passing as passing_of,
    requests::{Failure, Passing},
};

/// Whose identity is used if no Secret is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Person {
    /// The operator, with its own identity, for the clusters of these namespaces; `*` for all.
    Operator(Vec<String>),
    /// A person, with what they are logged in with.
    User,
}

impl Person {
    /// Checks whether a cluster may be operated without a Secret. The person who wrote the cluster doesn't have the
    /// operator's rights at the cloud. `cloud` is the member of `spec.provider`.
    pub fn may_operate(&self, site: &Site, cloud: &str) -> Result<(), EngineError> {
        let is_allowed = match self {
            Self::User => true,
            Self::Operator(namespaces) => namespaces
                .iter()
                .any(|allowed| *allowed == site.namespace || allowed == "*"),
        };
        if is_allowed {
            return Ok(());
        }
        let why = format!(
            "the operator may not use its own identity for clusters in namespace {}: name a Secret in spec.provider.{cloud}.credentialsSecret, or let an administrator add the namespace to the chart's {cloud}.identityNamespaces",
            site.namespace
        );
        Err(refused("IdentityNotAllowed", why))
    }
}

/// Returns the values of these keys of a Secret. All but the `optional` keys must exist. A missing value is empty.
pub async fn read<const KEYS: usize>(
    client: &Client,
    (namespace, name): (&str, &str),
    keys: [&str; KEYS],
    optional: &[&str],
) -> Result<[String; KEYS], EngineError> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let read = secrets.get_opt(name).await;
    let read = read.map_err(|error| Failure::Passing(passing_of(&error)))?;
    let is_needed = |key: &&str| !optional.contains(key);
    let Some(secret) = read else {
        let needed: Vec<_> = keys.into_iter().filter(is_needed).collect();
        let why = format!(
            "Secret {name} does not exist in namespace {namespace}: create it with the keys {}",
            needed.join(", ")
        );
        return Err(refused("NoCredentials", why));
    };
    let data = secret.data.unwrap_or_default();
    let values = keys.map(|key| {
        let value = data
            .get(key)
            .map(|value| String::from_utf8(value.0.clone()));
        let text = value.and_then(Result::ok);
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    });
    let lacking = keys.iter().zip(&values);
    let lacking = lacking.filter(|(key, value)| value.is_empty() && is_needed(key));
    let lacking: Vec<_> = lacking.map(|(key, _)| *key).collect();
    if lacking.is_empty() {
        return Ok(values);
    }
    let why = format!(
        "Secret {name} has no value for {}: add it",
        lacking.join(", ")
    );
    Err(refused("InvalidCredentials", why))
}

/// Returns the failure for credentials that don't work. Somebody may fix them.
pub fn refused(reason: &str, message: impl Into<String>) -> EngineError {
    Failure::Passing(Passing::new(reason, message))
}

/// Returns the words of an error and of its causes: the reason is often the innermost cause.
pub fn words_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}
