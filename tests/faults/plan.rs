//! The plan: which request gets which fault.

use std::time::Duration;

use http::{Response, StatusCode, header::HeaderValue};
use http_body_util::{BodyExt as _, Full};
use kube::client::DynBody;
use serde_json::json;
use tower::BoxError;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator dies before the request is sent.
    CrashBefore,
    /// The operator dies after the API server has executed the request, before the answer arrives.
    CrashAfter,
    /// The API server doesn't get the request, and the operator gets this code. 429 has a Retry-After of 1 s.
    Answer(u16),
    /// The API server executes the request, and the operator gets this code.
    LoseAnswer(u16),
    /// The operator is frozen before the request is sent, and continues later, as after SIGSTOP and SIGCONT.
    Freeze,
    /// The request is not sent, and the operator gets no answer.
    Hang,
    /// The request is sent later.
    Delay(Duration),
}

/// The requests that get a fault.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of the first one, from 1, counted since the faults were armed.
    pub at: usize,
    /// How many requests get the fault.
    pub times: usize,
    /// The fault.
    pub fault: Fault,
    /// Whether only writes are counted. The number of reads may differ from run to run.
    pub counts_writes: bool,
}

impl Plan {
    /// Applies a fault to one request.
    pub fn once(at: usize, fault: Fault) -> Self {
        Self {
            at,
            times: 1,
            fault,
            counts_writes: false,
        }
    }

    /// Applies a fault to one write.
    pub fn once_at_write(at: usize, fault: Fault) -> Self {
        Self {
            counts_writes: true,
            ..Self::once(at, fault)
        }
    }
}

/// Returns the API server's answer to a request that it refuses.
pub fn refusal(code: u16) -> Response<Box<DynBody>> {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let mut status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": reason, "message": format!("the test answers {code}")});
    if code == 429 {
        status["details"] = json!({"retryAfterSeconds": 1});
    }
    let body = Full::from(status.to_string()).map_err(BoxError::from);
    let mut response = Response::new(Box::new(body) as Box<DynBody>);
    *response.status_mut() = StatusCode::from_u16(code).expect("a status code");
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if code == 429 {
        headers.insert("retry-after", HeaderValue::from_static("1"));
    }
    response
}
