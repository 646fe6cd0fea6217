//! What a cloud does while it is out of order.

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

/// How a cloud is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It takes requests and doesn't answer.
    Silence,
    /// It answers all requests with this status, and asks to be asked again after so many seconds.
    Status(u16, Option<u64>),
}

/// The outage that there is now. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Order(Arc<Mutex<Option<Outage>>>);

impl Order {
    /// Begins an outage, or ends it.
    pub fn set(&self, outage: Option<Outage>) {
        *lock(&self.0) = outage;
    }

    fn get(&self) -> Option<Outage> {
        *lock(&self.0)
    }
}

/// Answers as the outage has it, and otherwise as the cloud does.
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
