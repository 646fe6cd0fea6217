//! The requests to a fake, and its answers.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::Value;

use super::{LONGEST, lock};

/// A request and its answer. Only JSON bodies are stored, so that the secrets of logins aren't.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Exchange {
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// The request's query.
    pub query: String,
    /// The request's body.
    pub request: Value,
    /// The answer's status.
    pub status: u16,
    /// The answer's body.
    pub response: Value,
}

impl fmt::Display for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)?;
        if !self.query.is_empty() {
            write!(formatter, "?{}", self.query)?;
        }
        write!(formatter, " -> {}", self.status)
    }
}

/// The exchanges so far. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Exchanges(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    all: Vec<Exchange>,
    /// The number of changes to answer before an answer is lost; `None` if no answer gets lost.
    until_lost: Option<usize>,
    /// Whether an answer was lost.
    has_lost: bool,
}

impl Exchanges {
    /// Returns all of them, in the order of their answers.
    pub fn all(&self) -> Vec<Exchange> {
        lock(&self.0).all.clone()
    }

    /// Loses the answer to a later change, counted from 0 from now on. The change is made, but the client gets no
    /// answer.
    pub fn lose_answer(&self, change: usize) {
        let mut kept = lock(&self.0);
        (kept.until_lost, kept.has_lost) = (Some(change), false);
    }

    /// Whether this answer was lost.
    pub fn has_lost_answer(&self) -> bool {
        lock(&self.0).has_lost
    }

    /// Adds an exchange. Returns whether its answer is lost.
    fn add(&self, exchange: Exchange) -> bool {
        let mut kept = lock(&self.0);
        let is_change = exchange.method != "GET" && !is_login(&exchange.path);
        kept.all.push(exchange);
        if !is_change {
            return false;
        }
        let is_lost = kept.until_lost == Some(0);
        kept.until_lost = kept.until_lost.and_then(|left| left.checked_sub(1));
        kept.has_lost |= is_lost;
        is_lost
    }
}

/// Whether a request asks for credentials: from Entra ID, from STS, or from EKS Pod Identity.
fn is_login(path: &str) -> bool {
    path.ends_with("/token") || path == "/" || path == "/v1/credentials"
}

/// Lets a request be answered, and stores both.
pub(super) async fn keep(
    State(exchanges): State<Exchanges>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(asked) = to_bytes(body, LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let uri = parts.uri.clone();
    let method = parts.method.to_string();
    let response = next
        .run(Request::from_parts(parts, Body::from(asked.clone())))
        .await;
    let (head, body) = response.into_parts();
    let Ok(answered) = to_bytes(body, LONGEST).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let json = |bytes: &Bytes| serde_json::from_slice(bytes).unwrap_or_default();
    let is_lost = exchanges.add(Exchange {
        method,
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        request: json(&asked),
        status: head.status.as_u16(),
        response: if is_login(uri.path()) {
            Value::Null
        } else {
            json(&answered)
        },
    });
    if is_lost {
        // The client hangs up.
        std::future::pending::<()>().await;
    }
    Response::from_parts(head, Body::from(answered))
}
