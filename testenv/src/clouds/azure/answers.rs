//! The answers of the Resource Manager.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::SUBSCRIPTION;

/// Returns a refusal with a code and a message, as AKS and the Resource Manager write them.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"code": code, "details": null, "message": message, "subcode": "",
        "error": {"code": code, "message": message}});
    (status, Json(body)).into_response()
}

/// Returns an answer with a resource or another body.
pub(super) fn found(body: Value) -> Response {
    Json(body).into_response()
}

/// Returns the refusal for a resource that doesn't exist.
pub(super) fn not_found(what: &str) -> Response {
    let message = format!("The Resource '{what}' under resource group was not found.");
    refusal(StatusCode::NOT_FOUND, "ResourceNotFound", &message)
}

/// Returns the query that signs the URL of an operation. A client that follows the URL mustn't change it.
pub(super) fn signature(id: &str) -> String {
    format!("api-version=2016-03-30&t=638000000000000000&c=MIIH&s=c2ln&h={id}")
}

/// Returns the answer when an operation has started: with the URL of the operation and, if the status is 202, the URL
/// of its result.
pub(super) fn begun(url: &str, id: &str, status: StatusCode, body: Option<Value>) -> Response {
    let of = |kind: &str| {
        format!(
            "{url}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ContainerService/locations/westeurope/{kind}/{id}?{}",
            signature(id)
        )
    };
    let mut response = match body {
        Some(body) => (status, Json(body)).into_response(),
        None => status.into_response(),
    };
    let mut add = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    };
    add("azure-asyncoperation", of("operations"));
    if status == StatusCode::ACCEPTED {
        add("location", of("operationresults"));
    }
    response
}
