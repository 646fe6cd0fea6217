//! Requests of the work on nodes: bounded, tried again while that may help, and reported as in the way where
//! it doesn't help soon.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use kube::{Error, core::Status};

use crate::{api::OperationError, lifecycle::Stop, provider::Control};

/// How long one request may take. With [`Stop::Now`] the whole stop is to take less than two seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request goes on after the work was told to stop.
pub const GRACE: Duration = Duration::from_millis(800);
/// After so long without success a request is reported as in the way.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that a server's `Retry-After` is taken for.
const LONGEST_WISH: Duration = Duration::from_mins(1);

/// What is in the way: a reason in one word, and a message.
pub type Blocked = (String, String);

/// How a request ended that didn't bring what it asked for.
#[derive(Debug)]
pub enum Ended {
    /// The work was told to stop.
    Stopped,
    /// The API server refused.
    Refused(Box<Status>),
}

/// Where requests report what is in their way.
pub struct Requests<'a> {
    /// Whether the work may go on.
    pub control: &'a Control,
    /// Called with what is in the way, and with none once it no longer is.
    pub report: &'a (dyn Fn(Option<Blocked>) + Send + Sync),
}

impl Requests<'_> {
    /// Makes a request until it is answered, with pauses that grow, or that the server asks for.
    ///
    /// A request that was sent is waited for, also when the work is told to stop, for what it changes must
    /// have changed before that is claimed; but not for long, for it may hang. Every write carries the
    /// resourceVersion of what it is about, so that one that is answered late changes nothing.
    pub async fn answered<T, F>(&self, what: &str, request: impl Fn() -> F) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut pause, began) = (FIRST_PAUSE, Instant::now());
        let mut is_reported = false;
        let result = loop {
            if self.control.stop() == Stop::Now {
                break Err(Ended::Stopped);
            }
            let (blocked, wish) = match self.once(&request, began, is_reported, what).await {
                Attempt::Stopped => break Err(Ended::Stopped),
                Attempt::Answered(Ok(answer)) => break Ok(answer),
                Attempt::Answered(Err(Error::Api(status))) if !may_pass(&status) => {
                    break Err(Ended::Refused(status));
                }
                Attempt::Answered(Err(error)) => (in_the_way(what, &error), wish_of(&error)),
                Attempt::Unanswered => (no_answer(what), None),
            };
            tracing::warn!(
                reason = blocked.0,
                error = blocked.1,
                "failed to {what}, trying again"
            );
            if began.elapsed() >= PATIENCE {
                is_reported = true;
                (self.report)(Some(blocked));
            }
            tokio::select! {
                () = tokio::time::sleep(wish.unwrap_or(pause)) => {}
                () = self.control.told(Stop::Now) => break Err(Ended::Stopped),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        if is_reported {
            (self.report)(None);
        }
        result
    }

    /// One attempt. One that isn't answered soon is reported before it is given up.
    async fn once<T, F>(
        &self,
        request: &impl Fn() -> F,
        began: Instant,
        is_reported: bool,
        what: &str,
    ) -> Attempt<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let attempt = async {
            tokio::select! {
                answer = tokio::time::timeout(REQUEST_TIMEOUT, request()) => {
                    answer.map_or(Attempt::Unanswered, Attempt::Answered)
                }
                () = async {
                    self.control.told(Stop::Now).await;
                    tokio::time::sleep(GRACE).await;
                } => Attempt::Stopped,
            }
        };
        let mut attempt = std::pin::pin!(attempt);
        let soon = (began + PATIENCE).saturating_duration_since(Instant::now());
        tokio::select! {
            attempt = &mut attempt => return attempt,
            () = tokio::time::sleep(soon), if !is_reported => (self.report)(Some(no_answer(what))),
        }
        let attempt = attempt.await;
        (self.report)(None);
        attempt
    }
}

/// What became of one attempt.
enum Attempt<T> {
    /// It was answered.
    Answered(Result<T, Error>),
    /// Nobody answered in time.
    Unanswered,
    /// The work was told to stop meanwhile.
    Stopped,
}

/// Whether the same request may be answered otherwise later.
fn may_pass(status: &Status) -> bool {
    matches!(status.code, 401 | 403 | 408 | 429 | 500..)
}

/// When the server wishes to be asked again.
fn wish_of(error: &Error) -> Option<Duration> {
    let Error::Api(status) = error else {
        return None;
    };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST_WISH))
}

/// Whether a write was refused since its object isn't as it was read.
pub fn was_changed(status: &Status) -> bool {
    matches!(status.code, 404 | 409)
}

/// A failure that may pass, as what is in the way, in the server's words.
pub fn in_the_way(what: &str, error: &Error) -> Blocked {
    let (reason, words) = match error {
        Error::Api(status) => (reason_of(status), status.message.clone()),
        error => ("Unreachable", error.to_string()),
    };
    (reason.to_owned(), format!("failed to {what}: {words}"))
}

/// The reason in one word of a refusal that may pass.
pub fn reason_of(status: &Status) -> &'static str {
    match status.code {
        401 | 403 => "Forbidden",
        429 => "Throttled",
        _ => "ServerError",
    }
}

fn no_answer(what: &str) -> Blocked {
    let words = format!("failed to {what}: the API server doesn't answer");
    ("Unreachable".to_owned(), words)
}

/// A refusal as an operation's error.
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
