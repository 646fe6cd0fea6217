//! The answers of EKS.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::{credentials::Denial, resources::Id};

/// The headers of a refusal.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// Adds a request id to an answer.
pub(super) async fn with_id(mut response: Response) -> Response {
    static ANSWERED: AtomicU64 = AtomicU64::new(1);
    let number = ANSWERED.fetch_add(1, Ordering::Relaxed);
    let id = format!("00000000-0000-4000-8000-{number:012}");
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The reason why EKS refuses a request.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    about: Option<Id>,
}

impl Refusal {
    /// Creates a refusal with a code and a message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            about: None,
        }
    }

    /// EKS doesn't accept a parameter.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidParameterException",
            message,
        )
    }

    /// The resource doesn't exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// Another update is in progress on the resource.
    pub fn in_use(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ResourceInUseException", message)
    }

    /// A cluster or a nodegroup isn't at rest.
    pub fn busy(id: &Id) -> Self {
        let kind = if id.is_nodegroup() {
            "Nodegroup"
        } else {
            "Cluster"
        };
        let message = format!("{kind} cannot be updated as it is currently not in Active State");
        Self::in_use(message).about(id)
    }

    /// The body can't be parsed.
    pub fn unreadable(error: &serde_json::Error) -> Self {
        let message = error.to_string();
        Self::new(StatusCode::BAD_REQUEST, "SerializationException", message)
    }

    /// Adds the cluster or the nodegroup that the refusal is about.
    pub fn about(self, id: &Id) -> Self {
        Self {
            about: Some(id.clone()),
            ..self
        }
    }

    /// Returns the body of the refusal.
    pub fn body(&self) -> serde_json::Value {
        let mut body = json!({"message": self.message});
        if let Some(id) = &self.about {
            body["clusterName"] = json!(id.cluster_name());
            body["nodegroupName"] = json!(id.nodegroup_name());
        }
        body
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let (status, code) = match denial {
            Denial::Unsigned => (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException"),
            Denial::Incomplete => (StatusCode::BAD_REQUEST, "IncompleteSignatureException"),
            Denial::Unknown => (StatusCode::FORBIDDEN, "UnrecognizedClientException"),
            Denial::Expired => (StatusCode::FORBIDDEN, "ExpiredTokenException"),
            Denial::Wrong(_) => (StatusCode::FORBIDDEN, "InvalidSignatureException"),
        };
        Self::new(status, code, denial.message())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = [(ERROR_TYPE, HeaderValue::from_static(self.code))];
        (self.status, kind, Json(self.body())).into_response()
    }
}
