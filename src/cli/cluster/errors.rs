//! Error messages that say what to do. A refusal of the API server is shown without the text that the API server adds
//! around it.

use anyhow::anyhow;
use kube::{Api, core::Status};
use serde::de::DeserializeOwned;

/// Returns an error as it is shown: what was refused or failed, and what to do.
pub fn words(error: &anyhow::Error) -> String {
    let Some(kube) = error.downcast_ref::<kube::Error>() else {
        return format!("{error:#}");
    };
    let doing = error.to_string();
    let why = of_client(kube);
    if doing == kube.to_string() {
        why
    } else {
        format!("{doing}: {why}")
    }
}

fn of_client(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => refusal(status),
        kube::Error::Auth(error) => format!(
            "the kubeconfig's credentials can't be used: {error}; sign in again, or choose another --context"
        ),
        other => format!(
            "the API server doesn't answer: {}; check with `kubectl cluster-info` that it is up and that this is the right cluster",
            innermost(other)
        ),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Returns a refusal of the API server as the sentence that its author wrote.
pub fn refusal(status: &Status) -> String {
    let message = &status.message;
    if let Some((_, sentence)) = message.split_once("denied request: ") {
        return sentence.to_owned();
    }
    let is_unknown_kind = status.code == 404 && !message.contains('"');
    if is_unknown_kind {
        return "the API server doesn't know Belay's kinds: install them with `belay crds | kubectl apply -f -`".to_owned();
    }
    let causes: Vec<String> = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(
            |cause| match (cause.field.as_str(), cause_sentence(&cause.message)) {
                ("", sentence) => sentence.to_owned(),
                (field, sentence) if sentence.contains(field) => sentence.to_owned(),
                (field, sentence) => format!("{field}: {sentence}"),
            },
        )
        .collect();
    match status.code {
        403 => format!("{message}; `kubectl auth can-i --list` shows what you may do"),
        422 if !causes.is_empty() => causes.join("; "),
        _ => message.clone(),
    }
}

/// Returns the sentence of `Invalid value: "object": sentence`, without the part that says nothing.
fn cause_sentence(message: &str) -> &str {
    let Some(rest) = message.strip_prefix("Invalid value: ") else {
        return message;
    };
    rest.split_once(": ")
        .map_or(message, |(_, sentence)| sentence)
}

/// Reads an object. If it doesn't exist, the error says where to look.
///
/// # Errors
/// Returns an error if the object doesn't exist or can't be read.
pub async fn get<K>(api: &Api<K>, name: &str) -> anyhow::Result<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    find(api, name)
        .await?
        .ok_or_else(|| missing::<K>(api, name))
}

/// Reads an object. None if no object has that name.
///
/// # Errors
/// Returns an error if the object can't be read.
pub async fn find<K>(api: &Api<K>, name: &str) -> anyhow::Result<Option<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    match api.get(name).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 && status.message.contains('"') => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the error for an object that doesn't exist.
pub fn missing<K: kube::Resource<DynamicType = ()>>(api: &Api<K>, name: &str) -> anyhow::Error {
    let (kind, plural) = (K::kind(&()), K::plural(&()));
    let place = api.namespace().map_or(String::new(), |namespace| {
        format!(" in namespace {namespace}")
    });
    anyhow!("there is no {kind} {name}{place}; `kubectl get {plural} -A` lists what there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: serde_json::Value) -> Status {
        serde_json::from_value(value).expect("a status")
    }

    #[test]
    fn a_refusal_of_a_policy_shows_only_the_policys_message() {
        let status = status(serde_json::json!({"code": 403, "message":
            "operations.belay.dev \"x\" is forbidden: ValidatingAdmissionPolicy 'belay' with binding 'belay' denied request: Operation is not allowed: Another operation (a) is in progress"}));
        assert_eq!(
            refusal(&status),
            "Operation is not allowed: Another operation (a) is in progress"
        );
    }

    #[test]
    fn a_refusal_of_the_schema_names_the_field_and_the_rule() {
        let status = status(
            serde_json::json!({"code": 422, "message": "Operation.belay.dev \"x\" is invalid: ...",
            "details": {"causes": [{"reason": "FieldValueInvalid", "field": "spec.kubernetesVersion",
                "message": "Invalid value: \"1.36\": must be MAJOR.MINOR.PATCH, for example 1.36.3"}]}}),
        );
        assert_eq!(
            refusal(&status),
            "spec.kubernetesVersion: must be MAJOR.MINOR.PATCH, for example 1.36.3"
        );
    }

    #[test]
    fn without_belays_kinds_the_error_says_how_to_install_them() {
        let status = status(serde_json::json!({"code": 404, "message": "404 page not found"}));
        assert!(refusal(&status).contains("belay crds"));
    }
}
