//! The agent of EKS Pod Identity: it gives session credentials to a pod that has a token.

use std::sync::{Arc, Mutex};

use axum::{
    Json,
    extract::State as Shared,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use serde_json::json;

use super::{ACCOUNT, POD_IDENTITY_TOKEN, State, lock};

/// Answers a request.
pub(super) async fn answer(
    Shared(state): Shared<Arc<Mutex<State>>>,
    headers: HeaderMap,
) -> Response {
    let token = headers.get(AUTHORIZATION);
    if token.is_none_or(|token| token != POD_IDENTITY_TOKEN) {
        let message = "Service account token failed basic claim validations";
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let session = lock(&state).credentials.give();
    let credentials = json!({"AccessKeyId": session.access_key, "SecretAccessKey": session.secret,
        "Token": session.token, "AccountId": ACCOUNT, "Expiration": session.expires.to_string()});
    Json(credentials).into_response()
}
