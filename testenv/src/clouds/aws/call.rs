//! A parsed request to EKS.

use std::collections::BTreeMap;

use http::{Method, StatusCode, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::Refusal;

/// A request.
pub(super) struct Call {
    pub method: Method,
    pub query: BTreeMap<String, String>,
    pub asked: Asked,
}

/// The content of a request.
#[derive(Clone, PartialEq)]
pub(super) struct Asked {
    /// The path after `/clusters/`.
    pub path: String,
    /// The idempotency token.
    pub token: Option<String>,
    /// The rest of the body; an empty object if there is no body.
    pub body: Value,
}

impl Call {
    /// Parses a request.
    pub fn of(parts: &Parts, body: &[u8]) -> Result<Self, Refusal> {
        let path = parts.uri.path().trim_end_matches('/');
        let path = path.strip_prefix("/clusters").ok_or_else(unknown)?;
        let body = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body).map_err(|error| Refusal::unreadable(&error))?
        };
        let query = parts.uri.query().unwrap_or_default().split('&');
        Ok(Self {
            query: query.filter_map(pair).collect(),
            ..Self::new(parts.method.clone(), path, body)
        })
    }

    /// Creates a POST to a path below `/clusters/`.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new(Method::POST, &format!("/{path}"), body.clone())
    }

    fn new(method: Method, path: &str, mut body: Value) -> Self {
        let fields = body.as_object_mut();
        let token = fields.and_then(|fields| fields.remove("clientRequestToken"));
        Self {
            method,
            query: BTreeMap::new(),
            asked: Asked {
                path: path.trim_start_matches('/').to_owned(),
                token: token.and_then(|token| Some(token.as_str()?.to_owned())),
                body,
            },
        }
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.to_owned(), value.to_owned()))
}

/// Parses a body. Unknown fields are errors.
pub(super) fn read<T: DeserializeOwned>(body: &Value) -> Result<T, Refusal> {
    T::deserialize(body).map_err(|error| Refusal::unreadable(&error))
}

/// Refuses a request that this fake doesn't know.
pub(super) fn unknown() -> Refusal {
    let message = "This isn't part of the fake.";
    Refusal::new(StatusCode::NOT_FOUND, "UnknownOperationException", message)
}
