//! Requests that are tried again while that may help.

use std::{future::Future, time::Duration};

use kube::Error;

use crate::{api::OperationError, lifecycle::Stop, provider::Control};

/// How long one request may take. With [`Stop::Now`] the whole stop is to take less than two seconds.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request goes on after the work was told to stop.
pub(super) const GRACE: Duration = Duration::from_millis(800);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a request ended that didn't bring what it asked for.
#[derive(Debug)]
pub(super) enum Ended {
    /// The work was told to stop.
    Stopped,
    /// The API server refused.
    Refused(Box<kube::core::Status>),
}

/// Makes a request until it is answered, with pauses that grow.
///
/// A request that was sent is waited for, also when the work is told to stop, for what it changes must
/// have changed before that is claimed; but not for long, for it may hang.
pub(super) async fn answered<T, F>(
    control: &Control,
    what: &str,
    request: impl Fn() -> F,
) -> Result<T, Ended>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        if control.stop() == Stop::Now {
            return Err(Ended::Stopped);
        }
        let answer = tokio::select! {
            answer = tokio::time::timeout(REQUEST_TIMEOUT, request()) => answer,
            () = async { control.told(Stop::Now).await; tokio::time::sleep(GRACE).await } => {
                return Err(Ended::Stopped);
            }
        };
        match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Error::Api(status))) if !may_pass(&status) => {
                return Err(Ended::Refused(status));
            }
            Ok(Err(error)) => tracing::warn!(%error, "failed to {what}, trying again"),
            Err(_) => tracing::warn!("no answer to {what} in {REQUEST_TIMEOUT:?}, trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = control.told(Stop::Now) => return Err(Ended::Stopped),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the same request may be answered otherwise later.
fn may_pass(status: &kube::core::Status) -> bool {
    matches!(status.code, 401 | 403 | 408 | 429 | 500..)
}

/// A refusal as an operation's error.
pub(super) fn refused(what: &str, status: &kube::core::Status) -> OperationError {
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
