//! The disturbances of a run.

use std::{fmt, time::Duration};

use crate::faults::{Call, Fault, Faults, Plan, Stream, WATCHED};

/// The codes for refused requests. They take turns.
const CODES: [u16; 4] = [409, 429, 500, 503];

/// The ways in which watches break. They take turns.
const WAYS: [Stream; 5] = [
    Stream::Ends,
    Stream::Breaks,
    Stream::Gone,
    Stream::Silent,
    Stream::Replayed,
];

/// How long the operator's cache stays stale.
const STALE: Duration = Duration::from_secs(2);
/// Among many parallel runs, events may come later by this factor.
const LATER: u32 = 2;

/// A disturbance of a run. The number is that of the request at which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    None,
    CrashBefore(usize),
    CrashAfter(usize),
    /// The operator is frozen before the request, another one takes over, and then the frozen one continues.
    Frozen(usize),
    /// The request isn't executed, and the answer has this code.
    Answered(usize, u16),
    /// The request is executed, and the answer has this code.
    AnswerLost(usize, u16),
    /// From this request on, the operator's cache of a kind is stale for some time.
    Stale(usize, &'static str),
    /// At this request, the watches of a kind behave like this, once.
    Watch(usize, &'static str, Stream),
}

impl Disturbance {
    /// Returns all disturbances for a run with these requests, by kind of disturbance. `faults` observed the run. The
    /// cache of a kind can become stale only where events of this kind come.
    pub fn all(calls: &[Call], faults: &Faults) -> Vec<Self> {
        let numbered = || calls.iter().enumerate().map(|(at, call)| (at + 1, call));
        let writes = || {
            numbered()
                .filter(|(_, call)| call.is_write())
                .map(|(at, _)| at)
        };
        let mut all: Vec<_> = numbered().map(|(at, _)| Self::CrashBefore(at)).collect();
        all.extend(writes().map(Self::CrashAfter));
        all.extend(writes().map(Self::Frozen));
        all.extend(writes().map(|at| Self::Answered(at, 403)));
        all.extend(
            writes()
                .zip(CODES.into_iter().cycle())
                .map(|(at, code)| Self::Answered(at, code)),
        );
        all.extend(writes().map(|at| Self::AnswerLost(at, 500)));
        for kind in WATCHED {
            let is_shown = |at: &usize| faults.has_shown(kind, *at, STALE * LATER);
            all.extend(writes().filter(is_shown).map(|at| Self::Stale(at, kind)));
        }
        let kinds = WATCHED.into_iter().cycle();
        let ways = WAYS.into_iter().cycle();
        let broken = writes().zip(kinds).zip(ways);
        all.extend(broken.map(|((at, kind), how)| Self::Watch(at, kind, how)));
        all
    }

    /// Returns its kind, for the table.
    pub fn kind(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CrashBefore(_) => "crash before",
            Self::CrashAfter(_) => "crash after",
            Self::Frozen(_) => "two operators",
            Self::Answered(_, 403) => "refused",
            Self::Answered(..) => "answered otherwise",
            Self::AnswerLost(..) => "answer lost",
            Self::Stale(..) => "stale",
            Self::Watch(..) => "watch broken",
        }
    }

    /// Returns the planned fault, if the layer applies one to a request.
    pub fn plan(self) -> Option<Plan> {
        match self {
            Self::None | Self::Stale(..) | Self::Watch(..) => None,
            Self::CrashBefore(at) => Some(Plan::once(at, Fault::CrashBefore)),
            Self::CrashAfter(at) => Some(Plan::once(at, Fault::CrashAfter)),
            Self::Frozen(at) => Some(Plan::once(at, Fault::Freeze)),
            Self::Answered(at, code) => Some(Plan::once(at, Fault::Answer(code))),
            Self::AnswerLost(at, code) => Some(Plan::once(at, Fault::LoseAnswer(code))),
        }
    }

    /// Disturbs the watches during the run, if this is such a disturbance.
    pub async fn watches(self, faults: &Faults) {
        match self {
            Self::Stale(at, kind) => {
                faults.wait_for_call(at).await;
                faults.order(kind, Stream::HeldBack);
                tokio::time::sleep(STALE).await;
                faults.order(kind, Stream::Flows);
            }
            Self::Watch(at, kind, stream) => {
                faults.wait_for_call(at).await;
                faults.order(kind, stream);
                if stream == Stream::Silent {
                    tokio::time::sleep(STALE).await;
                    faults.order(kind, Stream::Ends);
                }
            }
            _ => {}
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(formatter, "undisturbed"),
            Self::CrashBefore(at) => write!(formatter, "crash before request {at}"),
            Self::CrashAfter(at) => write!(formatter, "crash after request {at}"),
            Self::Frozen(at) => write!(formatter, "another operator from request {at} on"),
            Self::Answered(at, code) => write!(formatter, "request {at} answered {code}"),
            Self::AnswerLost(at, code) => {
                write!(formatter, "request {at} executed, answered {code}")
            }
            Self::Stale(at, kind) => write!(formatter, "{kind} stale from request {at} on"),
            Self::Watch(at, kind, how) => write!(formatter, "{kind} {how:?} from request {at} on"),
        }
    }
}
