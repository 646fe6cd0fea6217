//! What a cloud does during an outage.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header::RETRY_AFTER};

use super::lock;

/// The kind of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It accepts requests and doesn't answer.
    Silence,
    /// It answers all requests with this status, and asks the client to retry after this many seconds.
    Status(u16, Option<u64>),
}

/// The current outage. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Order(Arc<Mutex<Option<Outage>>>);

impl Order {
    /// Starts an outage, or ends it.
    pub fn set(&self, outage: Option<Outage>) {
        *lock(&self.0) = outage;
    }

    fn get(&self) -> Option<Outage> {
        *lock(&self.0)
    }
}

/// Answers as the outage requires, and otherwise as the cloud does.
pub(super) async fn answer(State(order): State<Order>, request: Request, next: Next) -> Response {
    match order.get() {
        None => next.run(request).await,
        Some(Outage::Silence) => {
            while order.get() == Some(Outage::Silence) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Some(Outage::Status(code, retry_after)) => {
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = (code, "out of order").into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}
