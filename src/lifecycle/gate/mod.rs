//! Decides whether an operation may start. One ordered list of rules answers that for a person's Operation, for what
//! a spec needs, and for a request to scale. The API server's policies (`crate::admission`) refuse the same at
//! admission; a differential test compares the two.

mod deletion;
mod existing;
mod in_flight;
mod newest;
mod origin;
mod power;
mod provider;
mod system_pools;
mod versions;
mod window;

use jiff::Timestamp;

use crate::api::{
    Aspect, OperationError, OperationInFlight, OperationSpec, OperationType, TargetKind,
};

use super::{
    desired,
    facts::{Facts, Operation, Target},
    messages::OPERATION_NOT_ALLOWED,
    plan::Aspects,
    snapshot::Snapshot,
};

pub use in_flight::{conflict, excludes, makes_room_for};
pub use newest::SpecChange;
pub use newest::spec_change;
pub use system_pools::why_it_stays;
pub use versions::{is_too_old, why_it_lags};
pub use window::{awaited, awaited_operation};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may start now.
    Admit,
    /// It has to wait, for this reason.
    Wait(String),
    /// It never starts, because something else replaces it.
    Replaced(Replacement),
    /// It never starts, with a code and a message.
    Refuse(OperationError),
}

/// What replaces a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The reason, as text for people.
    pub reason: String,
    /// The newer Operation, by name and uid, if an Operation replaces it.
    pub by: Option<(String, String)>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'r> {
    /// An Operation that hasn't begun.
    Operation(&'r Operation<'r>),
    /// A spec that needs an Operation that doesn't exist yet.
    Spec,
    /// The scale subresource of a pool.
    Scale,
}

/// A request to start an operation.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The requested operation.
    pub spec: &'r OperationSpec,
    /// Who asks.
    pub source: Source<'r>,
    /// The lock that the request has to respect.
    pub lock: &'r [OperationInFlight],
}

impl<'r> Request<'r> {
    /// Returns the request that an Operation makes.
    pub fn of(facts: &'r Facts<'_>, operation: &'r Operation<'r>) -> Self {
        Self {
            spec: operation.spec,
            source: Source::Operation(operation),
            lock: facts.snapshot.lock(),
        }
    }

    fn operation(&self) -> Option<&'r Operation<'r>> {
        match self.source {
            Source::Operation(operation) => Some(operation),
            Source::Spec | Source::Scale => None,
        }
    }

    /// Returns the Operation if a person asked for it and it doesn't hold the lock yet.
    fn asked_by_person(&self) -> Option<&'r Operation<'r>> {
        self.operation()
            .filter(|operation| operation.is_asked() && !operation.holds_lock)
    }

    fn is_on_pool(&self) -> bool {
        self.spec.target.kind == TargetKind::AgentPool
    }
}

/// A rule. It returns its verdict; None if it doesn't apply.
type Rule = fn(&Facts<'_>, &Request<'_>) -> Option<Verdict>;

/// What a rule considers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LooksAt {
    /// The request and its target.
    Alone,
    /// Also what else is asked for or in flight.
    Others,
}

/// The rules in order. The first that returns a verdict decides.
const RULES: &[(Rule, LooksAt)] = &[
    (origin::engine_runs_it, LooksAt::Others),
    (origin::copy_is_not_run, LooksAt::Alone),
    (deletion::allows_only_deletion, LooksAt::Alone),
    (existing::target_exists, LooksAt::Alone),
    (provider::is_seen, LooksAt::Others),
    (provider::can_do_it, LooksAt::Alone),
    (provider::can_run_it, LooksAt::Alone),
    (provider::can_go_on_without_nodes, LooksAt::Alone),
    (provider::nobody_else_scales_it, LooksAt::Alone),
    (origin::spec_still_asks, LooksAt::Alone),
    (origin::spec_could_be_written, LooksAt::Alone),
    (window::is_open, LooksAt::Others),
    (origin::cluster_goes_first, LooksAt::Others),
    (in_flight::one_waits_already, LooksAt::Others),
    (newest::newest_is_kept, LooksAt::Others),
    (in_flight::nothing_else_in_flight, LooksAt::Others),
    (existing::is_not_there_already, LooksAt::Alone),
    (versions::can_be_reached, LooksAt::Alone),
    (existing::has_not_that_count, LooksAt::Alone),
    (power::is_at_the_right_time, LooksAt::Alone),
    (system_pools::one_is_left, LooksAt::Alone),
    (in_flight::turn_has_come, LooksAt::Others),
];

/// Returns the verdict on a request now.
pub fn judge(facts: &Facts<'_>, request: &Request<'_>) -> Verdict {
    let mut rules = RULES.iter();
    let verdict = rules.find_map(|(rule, _)| rule(facts, request));
    verdict.unwrap_or(Verdict::Admit)
}

/// Whether a request is possible, regardless of what else is asked for or in flight.
fn can_be_done(facts: &Facts<'_>, request: &Request<'_>) -> bool {
    let mut alone = RULES
        .iter()
        .filter(|(_, looks_at)| *looks_at == LooksAt::Alone);
    alone.all(|(rule, _)| rule(facts, request).is_none())
}

/// Returns the aspects of a target that Belay may bring to its spec now: the outstanding ones that aren't on hold and
/// don't wait for a maintenance window.
pub fn pursued(facts: &Facts<'_>, target: &Target<'_>, but: Option<&Operation<'_>>) -> Aspects {
    let waiting = desired::waiting_for_window(facts, target);
    let mut aspects = not_held(facts, target, but);
    aspects.retain(|aspect| !waiting.contains(aspect));
    aspects
}

/// Returns the outstanding aspects of a target that aren't on hold. The version of a pool that follows its cluster is
/// changed by operations on the cluster, until the cluster's version is on hold.
fn not_held(facts: &Facts<'_>, target: &Target<'_>, but: Option<&Operation<'_>>) -> Aspects {
    let held = target.held.all();
    let is_clusters = target.follows() && !facts.cluster.held.own.contains(&Aspect::Version);
    let mut aspects = desired::outstanding(facts, target, but);
    aspects.retain(|aspect| {
        let is_not_its_own = is_clusters && *aspect == Aspect::Version;
        !held.contains(aspect) && !is_not_its_own
    });
    aspects
}

/// Returns the operation that a target needs now. The operation `but` doesn't count as in flight.
pub fn next_operation(
    facts: &Facts<'_>,
    target: &Target<'_>,
    but: Option<&Operation<'_>>,
) -> Option<OperationSpec> {
    let aspects = pursued(facts, target, but);
    if aspects.is_empty() && !awaited(facts, target, but).is_empty() {
        // Don't record the edit as an Update: the operation that waits brings it about.
        return None;
    }
    desired::operation(facts, target, &aspects, but)
}

/// Returns the operations that Belay has to create now for the specs: those whose request is admitted, may enter the
/// queue, or waits for a maintenance window.
pub fn admitted_operations(facts: &Facts<'_>, lock: &[OperationInFlight]) -> Vec<OperationSpec> {
    let next = facts.targets().flat_map(|target| {
        let now = next_operation(facts, target, None);
        now.into_iter()
            .chain(awaited_operation(facts, target, None))
    });
    let is_admitted = |spec: &OperationSpec| {
        let request = Request {
            spec,
            source: Source::Spec,
            lock,
        };
        judge(facts, &request) == Verdict::Admit
    };
    next.filter(is_admitted).collect()
}

/// Returns why a person's Operation, with that uid in the snapshot, is refused now. None if it isn't.
pub fn refusal(snapshot: &Snapshot, uid: &str, now: Timestamp) -> Option<OperationError> {
    let facts = Facts::of(snapshot, now);
    let operation = facts.operation(uid)?;
    match judge(&facts, &Request::of(&facts, operation)) {
        Verdict::Refuse(error) => Some(error),
        Verdict::Admit | Verdict::Wait(_) | Verdict::Replaced(_) => None,
    }
}

/// Returns why a pool can't be scaled now, with that lock. None if it can.
pub fn scale_refusal(
    facts: &Facts<'_>,
    lock: &[OperationInFlight],
    pool: &Target<'_>,
) -> Option<String> {
    let spec = OperationSpec {
        type_: OperationType::Scale,
        target: pool.key.clone(),
        kubernetes_version: None,
        count: None,
        timeout: None,
    };
    let request = Request {
        spec: &spec,
        source: Source::Scale,
        lock,
    };
    match judge(facts, &request) {
        Verdict::Refuse(error) => Some(error.message),
        Verdict::Admit | Verdict::Wait(_) | Verdict::Replaced(_) => None,
    }
}

/// Returns the refusal of something that isn't possible now.
fn not_allowed(message: String) -> Verdict {
    Verdict::Refuse(OperationError::new(OPERATION_NOT_ALLOWED, message))
}

fn replaced(reason: String) -> Verdict {
    Verdict::Replaced(Replacement { reason, by: None })
}

/// Returns the current time, for the message of a refused Operation. None for a change of a spec.
fn clock(facts: &Facts<'_>, request: &Request<'_>) -> Option<Timestamp> {
    request.operation().map(|_| facts.now)
}
