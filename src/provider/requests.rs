//! Requests of the work. They have timeouts, are tried again while that may help, and are reported as a block if that
//! doesn't help soon.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

use crate::{api::OperationError, lifecycle::Stop};

use super::Control;

/// How long one request may take. With [`Stop::Now`], a whole stop on nodes has to take less than two seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long Belay waits for a request in flight after the work was asked to stop.
pub const GRACE: Duration = Duration::from_millis(800);
/// After this time without success, a request is reported as a block.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long an attempt may take at least before it is reported as unanswered, even if the attempts before took long.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that Belay accepts from a server's `Retry-After`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// What blocks the work: a reason in one word, and a message.
pub type Blocked = (String, String);

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure<R> {
    /// The same request may succeed later.
    Passing(Passing),
    /// The same request won't succeed later.
    Final(R),
}

/// A failure that may pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Passing {
    /// The reason in one word, such as `Throttled`.
    pub reason: String,
    /// The error message of the server.
    pub message: String,
    /// When to try again. None if the server doesn't ask for a time.
    pub retry_after: Option<Duration>,
}

impl Passing {
    /// Returns a failure for which nobody asks when to try again.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            retry_after: None,
        }
    }
}

impl Failure<OperationError> {
    /// Returns the failure as one that may pass: somebody may fix the cause of a final failure.
    pub fn as_passing(&self) -> Passing {
        match self {
            Self::Passing(passing) => passing.clone(),
            Self::Final(error) => Passing::new(&error.code, &error.message),
        }
    }
}

/// How a request ended without a result.
#[derive(Debug)]
pub enum Ended<R> {
    /// The work was asked to stop.
    Stopped,
    /// It was refused for good.
    Refused(R),
}

/// How requests are made.
pub struct Requests<'a> {
    /// Whether the work may go on.
    pub control: &'a Control,
    /// Called with what blocks a request, and with None when nothing blocks it any more.
    pub report: &'a (dyn Fn(Option<Blocked>) + Send + Sync),
    /// The server that answers, as people call it.
    pub server: &'static str,
    /// How long to wait for a request in flight after the work was asked to stop.
    pub grace: Duration,
}

impl Requests<'_> {
    /// Repeats a request until it is answered, with pauses that grow, or that the server asks for.
    ///
    /// It waits for a request that was sent even if the work is asked to stop: what the request changes must have
    /// changed before the work is reported as stopped. It waits no longer than `grace`, because the request may hang.
    pub async fn answered<T, R, F>(
        &self,
        what: &str,
        request: impl Fn() -> F,
    ) -> Result<T, Ended<R>>
    where
        F: Future<Output = Result<T, Failure<R>>>,
    {
        let (mut pause, began) = (FIRST_PAUSE, Instant::now());
        let mut is_reported = false;
        let result = loop {
            if self.control.stop() == Stop::Now {
                break Err(Ended::Stopped);
            }
            let passing = match self.once(&request, began, is_reported, what).await {
                Attempt::Stopped => break Err(Ended::Stopped),
                Attempt::Answered(Ok(answer)) => break Ok(answer),
                Attempt::Answered(Err(Failure::Final(refusal))) => {
                    break Err(Ended::Refused(refusal));
                }
                Attempt::Answered(Err(Failure::Passing(passing))) => passing,
                Attempt::Unanswered => self.no_answer(),
            };
            let requested = passing
                .retry_after
                .map(|requested| requested.min(LONGEST_RETRY_AFTER));
            let blocked = in_the_way(what, passing);
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
                () = tokio::time::sleep(requested.unwrap_or(pause)) => {}
                () = self.control.until_stop(Stop::Now) => break Err(Ended::Stopped),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        if is_reported {
            (self.report)(None);
        }
        result
    }

    /// Makes one attempt. An attempt that isn't answered soon is reported before it is given up.
    async fn once<T, R, F>(
        &self,
        request: &impl Fn() -> F,
        began: Instant,
        is_reported: bool,
        what: &str,
    ) -> Attempt<T, R>
    where
        F: Future<Output = Result<T, Failure<R>>>,
    {
        let attempt = async {
            tokio::select! {
                answer = tokio::time::timeout(REQUEST_TIMEOUT, request()) => {
                    answer.map_or(Attempt::Unanswered, Attempt::Answered)
                }
                () = async {
                    self.control.until_stop(Stop::Now).await;
                    tokio::time::sleep(self.grace).await;
                } => Attempt::Stopped,
            }
        };
        let mut attempt = std::pin::pin!(attempt);
        // A server that has answered so far will answer this attempt too, if it gets the time.
        let soon = (began + PATIENCE).saturating_duration_since(Instant::now());
        let soon = soon.max(LEAST_PATIENCE);
        tokio::select! {
            attempt = &mut attempt => return attempt,
            () = tokio::time::sleep(soon), if !is_reported => {
                (self.report)(Some(in_the_way(what, self.no_answer())));
            }
        }
        let attempt = attempt.await;
        (self.report)(None);
        attempt
    }

    fn no_answer(&self) -> Passing {
        Passing::new("Unreachable", format!("{} doesn't answer", self.server))
    }
}

/// The result of one attempt.
enum Attempt<T, R> {
    /// It was answered.
    Answered(Result<T, Failure<R>>),
    /// Nobody answered in time.
    Unanswered,
    /// The work was asked to stop meanwhile.
    Stopped,
}

/// Returns a failure that may pass, as a block to report.
pub fn in_the_way(what: &str, passing: Passing) -> Blocked {
    let message = format!("failed to {what}: {}", passing.message);
    (passing.reason, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Returns the blocks that are reported while a request is refused for some seconds, each time after
    /// `answers_after`.
    async fn reported_while_refused(answers_after: Duration) -> Vec<String> {
        let (control, reported) = (Control::unstoppable(), Mutex::new(Vec::new()));
        let requests = Requests {
            control: &control,
            report: &|blocked| {
                let mut reported = reported.lock().expect("the reports");
                reported.extend(blocked.map(|(reason, _)| reason));
            },
            server: "the provider",
            grace: GRACE,
        };
        let refused = || async {
            tokio::time::sleep(answers_after).await;
            Err::<(), _>(Failure::<()>::Passing(Passing::new("Busy", "")))
        };
        let refused = requests.answered("begin it", refused);
        let refused = tokio::time::timeout(Duration::from_secs(8), refused);
        assert!(refused.await.is_err(), "it is tried again and again");
        let mut reported = reported.into_inner().expect("the reports");
        reported.dedup();
        reported
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_is_not_reported_as_unreachable() {
        for milliseconds in [1, 50, 700] {
            let after = Duration::from_millis(milliseconds);
            assert_eq!(reported_while_refused(after).await, ["Busy"], "{after:?}");
        }
        let slow = Duration::from_secs(3);
        assert_eq!(reported_while_refused(slow).await[0], "Unreachable");
    }
}
