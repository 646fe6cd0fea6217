//! The one place that decides what becomes of an Operation: every combination has an answer here, so a new
//! phase, state of work or policy doesn't compile until someone has decided about it.

use crate::api::OperationPhase;

/// The phase of an Operation that hasn't ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// It waits for its turn.
    Pending,
    /// It runs.
    InProgress,
    /// It was aborted and is coming to a stop.
    Canceling,
}

impl Going {
    /// The phase; none where it is an end.
    pub fn of(phase: OperationPhase) -> Option<Self> {
        match phase {
            OperationPhase::Pending => Some(Self::Pending),
            OperationPhase::InProgress => Some(Self::InProgress),
            OperationPhase::Canceling => Some(Self::Canceling),
            OperationPhase::Succeeded | OperationPhase::Failed | OperationPhase::Canceled => None,
        }
    }
}

/// How its work is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkState {
    /// There is none in hand: it never started, or a restart lost it.
    Lost,
    /// It goes on.
    Running,
    /// It was asked to stop: no step begins any more.
    BeginsNothingNew,
    /// It has stopped.
    Stopped,
    /// The engine refused to stop it, and goes on.
    Refused,
    /// All that was asked for is there.
    Done,
    /// It can't be done.
    Failed,
}

/// What is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// To go on.
    No,
    /// To stop once the step in process is done.
    AfterStep,
    /// To stop where it stands.
    Now,
}

/// Whether the request can be taken, and the provider can still stop the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanStop {
    /// It can.
    Yes,
    /// It can't.
    No,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It has ended, and stays so.
    Stay,
    /// It waits: the gate says whether it may begin.
    AskGate,
    /// It never began, and is Canceled at once.
    CancelUnbegun,
    /// It goes on; work that a restart lost is started.
    GoOn,
    /// Its work has stopped though nobody aborts it any more: it is started again.
    StartAgain,
    /// Its work is asked to begin nothing new. What has begun by then is reported with `Canceling`, and from
    /// that write on no step starts.
    BeginNothingNew,
    /// The abort is accepted: `Canceling`.
    AcceptAbort,
    /// The abort was accepted: its work comes to a stop.
    ComeToAStop,
    /// The abort is refused: it goes on as if nobody had asked.
    RefuseAbort,
    /// It has stopped: Canceled.
    Cancel,
    /// It is done: Succeeded.
    Succeed,
    /// It can't be done: Failed.
    Fail,
}

/// What becomes of an Operation.
#[expect(
    clippy::match_same_arms,
    reason = "what hasn't begun is decided on before what has, though some of it is decided alike"
)]
pub fn decide(phase: Going, work: WorkState, abort: Abort, can_stop: CanStop) -> Decision {
    use Abort::{AfterStep, No, Now};
    use Going::{Canceling, InProgress, Pending};
    use WorkState::{BeginsNothingNew, Done, Failed, Lost, Refused, Running, Stopped};
    match (phase, work, abort, can_stop) {
        // What hasn't begun has no work; whatever a memory says of it is of no account.
        (
            Pending,
            Lost | Running | BeginsNothingNew | Stopped | Refused | Done | Failed,
            No,
            CanStop::Yes | CanStop::No,
        ) => Decision::AskGate,
        (
            Pending,
            Lost | Running | BeginsNothingNew | Stopped | Refused | Done | Failed,
            AfterStep | Now,
            CanStop::Yes,
        ) => Decision::CancelUnbegun,
        (
            Pending,
            Lost | Running | BeginsNothingNew | Stopped | Refused | Done | Failed,
            AfterStep | Now,
            CanStop::No,
        ) => Decision::RefuseAbort,

        // Work that came to its end before an abort took hold ends as it ended.
        (InProgress | Canceling, Done, No | AfterStep | Now, CanStop::Yes | CanStop::No) => {
            Decision::Succeed
        }
        (InProgress | Canceling, Failed, No | AfterStep | Now, CanStop::Yes | CanStop::No) => {
            Decision::Fail
        }

        (InProgress, Lost | Running | BeginsNothingNew, No, CanStop::Yes | CanStop::No) => {
            Decision::GoOn
        }
        (InProgress, Stopped | Refused, No, CanStop::Yes | CanStop::No) => Decision::StartAgain,
        (InProgress, Running, AfterStep | Now, CanStop::Yes) => Decision::BeginNothingNew,
        (InProgress, Lost | BeginsNothingNew | Stopped, AfterStep | Now, CanStop::Yes) => {
            Decision::AcceptAbort
        }
        // A step that was in process may lead past the point of no return: then the work has not come to
        // rest where it says that it stopped.
        (
            InProgress | Canceling,
            Lost | Running | BeginsNothingNew | Stopped,
            AfterStep | Now,
            CanStop::No,
        ) => Decision::RefuseAbort,
        // The engine has the last word.
        (InProgress | Canceling, Refused, AfterStep | Now, CanStop::Yes | CanStop::No)
        | (Canceling, Refused, No, CanStop::Yes | CanStop::No) => Decision::RefuseAbort,

        (Canceling, Stopped, No | AfterStep | Now, CanStop::Yes) => Decision::Cancel,
        (Canceling, Lost | Running | BeginsNothingNew, No | AfterStep | Now, CanStop::Yes) => {
            Decision::ComeToAStop
        }
        // An abort that was accepted is kept in the status; without it, it was refused before a crash.
        (Canceling, Lost | Running | BeginsNothingNew | Stopped, No, CanStop::No) => {
            Decision::RefuseAbort
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: [WorkState; 7] = [
        WorkState::Lost,
        WorkState::Running,
        WorkState::BeginsNothingNew,
        WorkState::Stopped,
        WorkState::Refused,
        WorkState::Done,
        WorkState::Failed,
    ];
    const ABORTS: [Abort; 3] = [Abort::No, Abort::AfterStep, Abort::Now];

    #[test]
    fn canceled_is_said_only_of_work_that_has_stopped_and_can_stop() {
        for work in WORK {
            for abort in ABORTS {
                for can_stop in [CanStop::Yes, CanStop::No] {
                    let decision = decide(Going::Canceling, work, abort, can_stop);
                    let may = work == WorkState::Stopped && can_stop == CanStop::Yes;
                    assert_eq!(decision == Decision::Cancel, may, "{work:?} {abort:?}");
                }
            }
        }
    }

    #[test]
    fn an_abort_that_cannot_be_taken_is_refused_whatever_the_work_does() {
        for phase in [Going::Pending, Going::InProgress, Going::Canceling] {
            for work in WORK {
                let decision = decide(phase, work, Abort::Now, CanStop::No);
                let expected = match (phase, work) {
                    (Going::Pending, _) => Decision::RefuseAbort,
                    (_, WorkState::Done) => Decision::Succeed,
                    (_, WorkState::Failed) => Decision::Fail,
                    _ => Decision::RefuseAbort,
                };
                assert_eq!(decision, expected, "{phase:?} {work:?}");
            }
        }
    }

    #[test]
    fn what_the_engine_refuses_to_stop_goes_on() {
        for can_stop in [CanStop::Yes, CanStop::No] {
            for phase in [Going::InProgress, Going::Canceling] {
                let decision = decide(phase, WorkState::Refused, Abort::Now, can_stop);
                assert_eq!(decision, Decision::RefuseAbort);
            }
            let followed = decide(Going::InProgress, WorkState::Refused, Abort::No, can_stop);
            assert_eq!(followed, Decision::StartAgain);
        }
    }

    #[test]
    fn nothing_new_begins_before_an_abort_is_accepted() {
        for abort in [Abort::AfterStep, Abort::Now] {
            assert_eq!(
                decide(Going::InProgress, WorkState::Running, abort, CanStop::Yes),
                Decision::BeginNothingNew
            );
            assert_eq!(
                decide(
                    Going::InProgress,
                    WorkState::BeginsNothingNew,
                    abort,
                    CanStop::Yes
                ),
                Decision::AcceptAbort
            );
        }
    }
}
