//! The rule about a start or a stop at the wrong time.

use jiff::Timestamp;

use crate::{
    api::{
        LastOperation, OperationInFlight, OperationType, PowerState, ProvisioningState, TargetKind,
    },
    lifecycle::{
        facts::{Facts, Pool, Target},
        messages,
    },
};

use super::{
    Request, Verdict,
    existing::{is_settled, living_target},
    not_allowed,
};

/// The state of a cluster or a pool that the vendors' refusals name.
struct State<'t> {
    kind: TargetKind,
    provisioning: ProvisioningState,
    power: PowerState,
    last: Option<&'t LastOperation>,
}

impl<'t> State<'t> {
    fn of(facts: &Facts<'_>, target: &Target<'t>) -> Self {
        let of_cluster = || facts.snapshot.cluster.status.as_ref()?.provisioning_state;
        let of_pool = |pool: &Pool<'_>| pool.object.status.as_ref()?.provisioning_state;
        let state = target.pool.as_ref().map_or_else(of_cluster, of_pool);
        Self {
            kind: target.key.kind,
            provisioning: state.unwrap_or(ProvisioningState::Creating),
            power: target.there.shown_power,
            last: target.last,
        }
    }

    /// Returns when the previous operation began. A stop's refusal names only a previous stop: None if another
    /// operation came after it.
    fn since(&self, type_: OperationType) -> Option<Timestamp> {
        let last = self.last?;
        let is_named = type_ != OperationType::Stop || last.type_ == OperationType::Stop;
        let start = last.start_time.as_ref().filter(|_| is_named)?;
        Some(start.0)
    }

    fn refusal(&self, type_: OperationType, now: Timestamp) -> Verdict {
        let since = self.since(type_);
        not_allowed(if type_ == OperationType::Start {
            messages::wrong_time(self.kind, (self.provisioning, self.power), true, since, now)
        } else {
            messages::not_running(self.kind, since, now)
        })
    }
}

/// Refuses a start of what runs, a stop of what is stopped, and both for a pool of a cluster that is off.
pub fn is_at_the_right_time(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let type_ = request.spec.type_;
    if !matches!(type_, OperationType::Start | OperationType::Stop) {
        return None;
    }
    let target = living_target(facts, request)?;
    if request.is_on_pool() && !facts.snapshot.is_running() {
        return Some(State::of(facts, &facts.cluster).refusal(type_, facts.now));
    }
    let state = State::of(facts, target);
    // The status may show the power state of an operation that never took the lock, so the nodes have to agree.
    let power = (state.power == target.there.power).then_some(state.power);
    let is_so = matches!(
        (type_, power),
        (OperationType::Start, Some(PowerState::Running))
            | (OperationType::Stop, Some(PowerState::Stopped))
    );
    (is_so && is_settled(facts, target)).then(|| state.refusal(type_, facts.now))
}

/// Returns the refusal of a start or a stop while `held` is in flight on the same target.
pub fn while_in_flight(
    facts: &Facts<'_>,
    request: &Request<'_>,
    held: &OperationInFlight,
) -> Option<Verdict> {
    let state = State::of(facts, facts.target(&request.spec.target)?);
    Some(not_allowed(messages::wrong_time(
        state.kind,
        (state.provisioning, state.power),
        request.spec.type_ == OperationType::Start,
        held.start_time.as_ref().map(|time| time.0),
        facts.now,
    )))
}
