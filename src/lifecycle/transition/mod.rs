//! The life of one Operation: its next state, from its phase, its work, the request to abort it, and whether it can
//! still be stopped.

mod decision;
mod force;
mod status;

use crate::{
    api::{CancellationStatus, OperationPhase, OperationStatus},
    lifecycle::{
        facts::{AbortRequest, Facts, Operation},
        gate::{self, Request, SpecChange, Verdict},
        messages,
        plan::{Job, Plan},
        planning,
        snapshot::{Stop, Work},
        steps, text,
    },
};

use decision::{Abort, CanStop, Decision, Going, WorkState, decide};
pub use status::failed_without_target;

/// The next state of an Operation that hasn't ended.
pub struct Transition<'f, 'a> {
    /// The Operation as it was read.
    pub operation: &'f Operation<'a>,
    /// Its new status.
    pub status: OperationStatus,
    /// How its work has to stop.
    pub stop: Stop,
    /// The work to start once the status is written.
    pub start: Option<Box<Job>>,
    /// What to write into its target's spec before it begins.
    pub change: Option<SpecChange>,
    /// What it waits for. Empty if it waits for nothing.
    pub waits: String,
}

/// Returns the transitions of all Operations that haven't ended.
pub fn all<'f, 'a>(facts: &'f Facts<'a>) -> Vec<Transition<'f, 'a>> {
    facts
        .unfinished()
        .map(|operation| Transition::of(facts, operation))
        .collect()
}

impl<'f, 'a> Transition<'f, 'a> {
    /// Computes the next transition of an Operation.
    fn of(facts: &'f Facts<'a>, operation: &'f Operation<'a>) -> Self {
        let mut this = Self {
            operation,
            status: status::progressed(operation, facts.now),
            stop: Stop::No,
            start: None,
            change: None,
            waits: String::new(),
        };
        force::update(&mut this.status, operation, facts);
        let request = operation
            .abort_request(facts)
            .or_else(|| replacement(facts, operation))
            .filter(|request| !was_refused(operation, request) && !runs_unfollowed(operation));
        let (abort, can_stop) = (
            abort(request.as_ref()),
            can_stop(facts, operation, request.as_ref()),
        );
        let decision = match Going::of(operation.phase()) {
            Some(going) => decide(going, work_state(operation), abort, can_stop),
            None => Decision::Stay,
        };
        this.carry_out(facts, decision, &request.unwrap_or_default());
        if abort != Abort::Now {
            force::record(&mut this.status, operation.work, facts.now);
        }
        this.status.observed_generation = operation.object.metadata.generation;
        this.status.arrival = operation.status.arrival.or(operation.arrival_number());
        this.status
            .target_generation
            .get_or_insert(operation.arrived_at);
        if this.status.asked_before.is_none() {
            let target = facts.target(&operation.spec.target);
            this.status.asked_before = target.map(|target| target.asked.clone());
        }
        text::bound_status(&mut this.status);
        debug_assert!(operation.phase().may_become(this.status.phase));
        this
    }

    fn carry_out(&mut self, facts: &Facts<'_>, decision: Decision, request: &AbortRequest) {
        let now = facts.now;
        match decision {
            Decision::Stay => {}
            Decision::AskGate => self.ask_gate(facts),
            Decision::CancelUnbegun => {
                status::accept(&mut self.status, request, now);
                status::cancel(&mut self.status, Vec::new(), now);
            }
            Decision::Succeed => {
                status::came_too_late(&mut self.status, request, now);
                status::succeed(&mut self.status, now);
            }
            Decision::Fail => {
                status::came_too_late(&mut self.status, request, now);
                let error = self.operation.work_error().unwrap_or_default();
                status::fail(&mut self.status, error, now);
            }
            Decision::Cancel => {
                status::cancel(&mut self.status, self.operation.left_behind(), now);
            }
            Decision::GoOn => self.resume_if_lost(facts, Stop::No),
            Decision::StartAgain => self.start(facts, Stop::No),
            Decision::BeginNothingNew => self.stop = Stop::AfterStep,
            Decision::AcceptAbort => {
                status::accept(&mut self.status, request, now);
                self.status.phase = OperationPhase::Canceling;
                self.resume_if_lost(facts, request.policy.into());
            }
            Decision::ComeToAStop => {
                status::hurry(&mut self.status, request, now);
                self.resume_if_lost(facts, request.policy.into());
            }
            Decision::RefuseAbort => {
                let why = why_not(facts, self.operation, request);
                status::refuse(&mut self.status, request, why, now);
                if self.operation.phase() == OperationPhase::Pending {
                    self.ask_gate(facts);
                } else {
                    self.status.phase = OperationPhase::InProgress;
                    self.resume_if_stopped(facts);
                }
            }
        }
    }

    /// Asks the gate whether an Operation that hasn't begun may begin.
    fn ask_gate(&mut self, facts: &Facts<'_>) {
        let (operation, now) = (self.operation, facts.now);
        let verdict = gate::judge(facts, &Request::of(facts, operation));
        match &verdict {
            Verdict::Refuse(error) => return status::fail(&mut self.status, error.clone(), now),
            Verdict::Replaced(replacement) => {
                status::replace(&mut self.status, replacement, now);
                return status::cancel(&mut self.status, Vec::new(), now);
            }
            Verdict::Wait(why) => self.waits.clone_from(why),
            Verdict::Admit => {}
        }
        self.status.phase = OperationPhase::Pending;
        // A Delete deletes its target at once, as `kubectl delete` does; then it waits for its turn.
        let deletes = operation.spec.type_ == crate::api::OperationType::Delete;
        let change = gate::spec_change(facts, operation);
        if change.is_some() {
            self.change = change.filter(|_| verdict == Verdict::Admit || deletes);
        } else if verdict == Verdict::Admit {
            self.begin(facts);
        }
    }

    fn begin(&mut self, facts: &Facts<'_>) {
        let planned = planning::plan(facts, self.operation)
            .and_then(|plan| plan.to_text().map(|text| (plan, text)));
        match planned {
            Err(error) => status::fail(&mut self.status, error, facts.now),
            Ok((plan, text)) => {
                let mut job = planning::job_of(facts.snapshot, self.operation, &plan);
                job.steps = steps::plan(&job, facts.snapshot);
                status::begin(&mut self.status, text, job.steps.clone(), facts.now);
                self.start = Some(Box::new(job));
            }
        }
    }

    /// Starts the work if a restart lost it.
    fn resume_if_lost(&mut self, facts: &Facts<'_>, stop: Stop) {
        if self.operation.work.is_some() {
            self.stop = stop;
        } else {
            self.start(facts, stop);
        }
    }

    /// Starts the work again if it has stopped or was lost.
    fn resume_if_stopped(&mut self, facts: &Facts<'_>) {
        match work_state(self.operation) {
            WorkState::Running | WorkState::BeginsNothingNew => {}
            WorkState::Lost
            | WorkState::Stopped
            | WorkState::Refused
            | WorkState::Done
            | WorkState::Failed => {
                self.start(facts, Stop::No);
            }
        }
    }

    fn start(&mut self, facts: &Facts<'_>, stop: Stop) {
        match planning::job(facts.snapshot, self.operation) {
            Ok(job) => {
                self.stop = stop;
                self.start = Some(Box::new(job));
            }
            Err(error) => {
                status::came_too_late(&mut self.status, &AbortRequest::default(), facts.now);
                status::fail(&mut self.status, error, facts.now);
            }
        }
    }
}

/// Whether what others began runs at the engine and isn't followed yet. Belay first follows it, and then stops it.
fn runs_unfollowed(operation: &Operation<'_>) -> bool {
    operation.phase() == OperationPhase::Pending && operation.begun_by_others().is_some()
}

/// Returns the abort request for an operation that a newer change replaces (concurrencyPolicy Replace). None if no
/// change replaces it.
fn replacement(facts: &Facts<'_>, operation: &Operation<'_>) -> Option<AbortRequest> {
    let newer = gate::makes_room_for(facts, operation)?;
    let reason = format!("replaced by Operation {}", newer.name);
    Some(AbortRequest {
        replaced_by: Some((newer.name.to_owned(), newer.uid.to_owned())),
        ..AbortRequest::now(reason)
    })
}

fn abort(request: Option<&AbortRequest>) -> Abort {
    use crate::api::AbortPolicy;
    match request.map(|request| request.policy) {
        None => Abort::No,
        Some(AbortPolicy::AfterStep) => Abort::AfterStep,
        Some(AbortPolicy::Now) => Abort::Now,
    }
}

/// Whether an operation can still be stopped. It can't if the request is invalid, if the provider can't stop it, or
/// once its control plane has begun to go back.
fn can_stop(
    facts: &Facts<'_>,
    operation: &Operation<'_>,
    request: Option<&AbortRequest>,
) -> CanStop {
    let is_unclear = request.is_some_and(|request| request.objection.is_some());
    if is_unclear || is_unstoppable(facts, operation).is_some() || is_past_return(facts, operation)
    {
        CanStop::No
    } else {
        CanStop::Yes
    }
}

/// Returns why the provider can't stop an operation of that type once it has begun. None if it can try.
fn is_unstoppable(facts: &Facts<'_>, operation: &Operation<'_>) -> Option<&'static str> {
    let (type_, on) = (operation.spec.type_, operation.spec.target.kind);
    let has_begun = operation.phase() != OperationPhase::Pending;
    let why = || facts.snapshot.rules.why_unstoppable(type_, on);
    has_begun.then(why).flatten()
}

/// Whether the control plane that an operation rolls back has begun to go back.
fn is_past_return(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    let control_plane = facts.snapshot.observed.control_plane;
    let has_begun = control_plane.is_some_and(|control_plane| {
        let to = control_plane.changing_to;
        to.is_some_and(|version| version < control_plane.version)
    });
    has_begun && operation.begun().and_then(Plan::control_plane).is_some()
}

fn why_not(facts: &Facts<'_>, operation: &Operation<'_>, request: &AbortRequest) -> String {
    if let Some(objection) = &request.objection {
        return objection.clone();
    }
    if let Some(Work::Refused(words, _)) = operation.work {
        return text::bounded(words);
    }
    let why = is_unstoppable(facts, operation);
    why.unwrap_or(messages::ROLLBACK_HAS_BEGUN).into()
}

/// Whether an abort by a deletion, or by a newer change, was already refused. Such a request has no value that
/// distinguishes a new one from the old one, so it counts only once.
fn was_refused(operation: &Operation<'_>, request: &AbortRequest) -> bool {
    let cancellation = operation.status.cancellation.as_ref();
    let refused =
        cancellation.is_some_and(|cancellation| cancellation.status == CancellationStatus::Failed);
    refused && request.fingerprint.is_none() && operation.phase() == OperationPhase::InProgress
}

fn work_state(operation: &Operation<'_>) -> WorkState {
    match operation.work {
        None => WorkState::Lost,
        Some(Work::Running(_, Stop::No)) => WorkState::Running,
        Some(Work::Running(_, Stop::AfterStep | Stop::Now)) => WorkState::BeginsNothingNew,
        Some(Work::Stopped(_)) => WorkState::Stopped,
        Some(Work::Refused(..)) => WorkState::Refused,
        Some(Work::Done(_)) => WorkState::Done,
        Some(Work::Failed(..)) => WorkState::Failed,
    }
}
