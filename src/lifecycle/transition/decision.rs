//! The only place that decides what happens to an Operation. Every combination has an answer here, so a new phase,
//! state of work or policy doesn't compile until someone has decided about it.

use crate::api::OperationPhase;

/// The phase of an Operation that hasn't ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// It waits for its turn.
    Pending,
    /// It runs.
    InProgress,
    /// It was aborted and is stopping.
    Canceling,
}

impl Going {
    /// Returns the phase. None if the Operation has ended.
    pub fn of(phase: OperationPhase) -> Option<Self> {
        match phase {
            OperationPhase::Pending => Some(Self::Pending),
            OperationPhase::InProgress => Some(Self::InProgress),
            OperationPhase::Canceling => Some(Self::Canceling),
            OperationPhase::Succeeded | OperationPhase::Failed | OperationPhase::Canceled => None,
        }
    }
}

/// The state of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkState {
    /// There is none in this process: it never started, or a restart lost it.
    Lost,
    /// It runs.
    Running,
    /// It was asked to stop, so no new step begins.
    BeginsNothingNew,
    /// It has stopped.
    Stopped,
    /// The engine refused to stop it, and goes on.
    Refused,
    /// Everything that was asked for is reached.
    Done,
    /// It failed.
    Failed,
}

/// What is requested of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// It may go on.
    No,
    /// It has to stop once the step in process is done.
    AfterStep,
    /// It has to stop at once.
    Now,
}

/// Whether the request can be accepted, and the provider can still stop the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanStop {
    /// It can.
    Yes,
    /// It can't.
    No,
}

/// What happens to the Operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It has ended and doesn't change any more.
    Stay,
    /// It waits: the gate decides whether it may begin.
    AskGate,
    /// It never began and is Canceled at once.
    CancelUnbegun,
    /// It goes on. If a restart lost its work, the work is started.
    GoOn,
    /// Its work has stopped although nobody aborts it any more, so it is started again.
    StartAgain,
    /// Its work is asked to begin nothing new. What has begun by then is reported with `Canceling`. After that write
    /// no step starts.
    BeginNothingNew,
    /// The abort is accepted: `Canceling` is written.
    AcceptAbort,
    /// The abort was accepted: its work is stopping.
    ComeToAStop,
    /// The abort is refused, and the Operation goes on as if nobody had asked.
    RefuseAbort,
    /// It has stopped: it is Canceled.
    Cancel,
    /// It is done: it is Succeeded.
    Succeed,
    /// It can't be done: it is Failed.
    Fail,
}

/// Decides what happens to an Operation.
#[expect(
    clippy::match_same_arms,
    reason = "what hasn't begun is decided on before what has, though some of it is decided alike"
)]
pub fn decide(phase: Going, work: WorkState, abort: Abort, can_stop: CanStop) -> Decision {
    use Abort::{AfterStep, No, Now};
    use Going::{Canceling, InProgress, Pending};
    use WorkState::{BeginsNothingNew, Done, Failed, Lost, Refused, Running, Stopped};
    match (phase, work, abort, can_stop) {
        // An Operation that hasn't begun has no work, so any work in memory is ignored.
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

        // Work that ended before an abort took effect keeps its result.
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
        // A step in process may go past the point of no return. Then the work isn't really stopped even if it reports
        // so.
        (
            InProgress | Canceling,
            Lost | Running | BeginsNothingNew | Stopped,
            AfterStep | Now,
            CanStop::No,
        ) => Decision::RefuseAbort,
        // The engine's refusal is final.
        (InProgress | Canceling, Refused, AfterStep | Now, CanStop::Yes | CanStop::No)
        | (Canceling, Refused, No, CanStop::Yes | CanStop::No) => Decision::RefuseAbort,

        (Canceling, Stopped, No | AfterStep | Now, CanStop::Yes) => Decision::Cancel,
        (Canceling, Lost | Running | BeginsNothingNew, No | AfterStep | Now, CanStop::Yes) => {
            Decision::ComeToAStop
        }
        // The status keeps an accepted abort. Without one, the abort was refused before a crash.
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
    fn an_operation_is_canceled_only_if_its_work_has_stopped_and_can_stop() {
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
    fn an_abort_past_the_point_of_no_return_is_refused_unless_the_work_has_ended() {
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
    fn work_that_the_engine_refuses_to_stop_continues() {
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
    fn an_abort_is_accepted_only_when_no_new_step_can_start() {
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
