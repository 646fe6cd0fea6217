//! Requests to the API server about nodes: which failures may pass, and how they are reported.

use std::{future::Future, time::Duration};

use kube::{Error, core::Status};

use crate::{
    api::OperationError,
    provider::{
        Control,
        requests::{self, Blocked, Failure, GRACE, Passing},
    },
};

/// How a request ended without a result.
pub type Ended = requests::Ended<Box<Status>>;

/// How requests report what blocks them.
pub struct Requests<'a> {
    /// Whether the work may go on.
    pub control: &'a Control,
    /// Called with what blocks a request, and with None when nothing blocks it any more.
    pub report: &'a (dyn Fn(Option<Blocked>) + Send + Sync),
}

impl Requests<'_> {
    /// Repeats a request until it is answered.
    ///
    /// Every write carries the resourceVersion of its object, so that a write whose answer comes late changes nothing.
    pub async fn answered<T, F>(&self, what: &str, request: impl Fn() -> F) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let requests = requests::Requests {
            control: self.control,
            report: self.report,
            server: "the API server",
            grace: GRACE,
        };
        let sorted = || {
            let answer = request();
            async { answer.await.map_err(sort) }
        };
        requests.answered(what, sorted).await
    }
}

/// Sorts an error: a passing failure if the same request may succeed later, otherwise a final one.
fn sort(error: Error) -> Failure<Box<Status>> {
    match error {
        Error::Api(status) if !matches!(status.code, 401 | 403 | 408 | 429 | 500..) => {
            Failure::Final(status)
        }
        error => Failure::Passing(passing(&error)),
    }
}

/// Returns the failure of a request that may succeed later.
pub fn passing(error: &Error) -> Passing {
    let (reason, message) = match error {
        Error::Api(status) => (reason_of(status), status.message.clone()),
        error => ("Unreachable", error.to_string()),
    };
    Passing {
        reason: reason.to_owned(),
        message,
        retry_after: retry_after(error),
    }
}

/// How long to wait if API Priority and Fairness throttles. It asks for that only in the header `Retry-After`, which
/// kube doesn't pass on.
const THROTTLED: Duration = Duration::from_secs(1);

/// Returns how long the server asks to wait.
fn retry_after(error: &Error) -> Option<Duration> {
    let Error::Api(status) = error else {
        return None;
    };
    let details = status.details.as_ref();
    let seconds = details.map_or(0, |details| details.retry_after_seconds);
    let requested = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
    requested.or_else(|| (status.code == 429).then_some(THROTTLED))
}

/// Returns whether a write was refused because its object has changed or is gone since it was read.
pub fn was_changed(status: &Status) -> bool {
    matches!(status.code, 404 | 409)
}

/// Returns the one-word reason of a refusal that may pass.
pub fn reason_of(status: &Status) -> &'static str {
    match status.code {
        401 | 403 => "Forbidden",
        429 => "Throttled",
        _ => "ServerError",
    }
}

/// Returns a refusal as an operation's error.
pub fn refused(what: &str, status: &Status) -> OperationError {
    OperationError {
        code: if status.reason.is_empty() {
            "ProviderError".into()
        } else {
            status.reason.clone()
        },
        message: format!("failed to {what}: {}", status.message),
        subcode: status.code.to_string(),
        details: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_request_is_retried_when_the_server_asks_for_it() {
        for (code, seconds, expected) in [
            (429, Some(7), Some(7)),
            (429, None, Some(1)),
            (503, Some(3), Some(3)),
            (503, None, None),
            (403, Some(0), None),
        ] {
            let mut status = Status::failure("not now", "");
            status.code = code;
            status.details = seconds.map(|seconds: u32| {
                let details = serde_json::json!({"retryAfterSeconds": seconds});
                serde_json::from_value(details).expect("details")
            });
            let requested = retry_after(&Error::Api(Box::new(status)));
            assert_eq!(
                requested.map(|requested| requested.as_secs()),
                expected,
                "{code}"
            );
        }
    }
}
