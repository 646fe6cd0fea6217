//! A model of the core: Stateright searches what [`decide`](super::decide) does, the same function that the
//! operator calls, in a world in memory. A property test draws events at random; the model tries all events
//! in every order, within the bounds of a scenario.
//!
//! - `state`: a state, the possible next steps, and what each step does. Each action of an operator's pass is
//!   a separate step, so that the operator may crash, or an event may happen, between any two actions.
//! - `scenario`: where a search begins, which events may happen, and how often. Only these bounds end a search,
//!   not its depth or its time, so the number of states is the same in each run.
//! - `liveness`: what each state leads to once no more events come.
//! - `report`: how a counterexample is printed, and the table in `docs/model.md`.
//!
//! The safety rules are those of the property tests: see [`invariants`](super::invariants).

mod liveness;
mod report;
mod scenario;
mod state;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::api::OperationPhase;

use super::invariants::{
    ALONE, CANCELED, HELD, KEPT, LOCK, PERCENT, PHASES, PLAN, REFUSED, REST, STARTS, STOPS,
    TERMINAL, WORK, is_refused,
};

use liveness::{ABORTS, Known, NEWEST};
use scenario::Scenario;
use state::{State, Step};

const MEETS_CANCELED: &str = "an operation is Canceled";
const MEETS_REFUSED: &str = "an abort is refused";
const MEETS_HOLD: &str = "something is held";
const MEETS_STALE: &str = "a write that was decided on an old view is next";
const MEETS_LOST: &str = "the work of an operation that has begun is lost";
const MEETS_LATE_WRITE: &str = "what an operator decided that leads no more is written";
const MEETS_QUEUE: &str = "a change waits for another to end";
const MEETS_REPLACED: &str = "a newer change takes the place of an older one";
const MEETS_FAILED: &str = "an operation fails";
const MEETS_TAKEN_BACK: &str = "an abort is taken back before it was accepted";
const MEETS_AFTER_STEP: &str = "an abort waits for a step to end";
const MEETS_GONE: &str = "the cluster is gone";
const MEETS_TWO: &str = "two operations run side by side";
const MEETS_AGAIN: &str = "a name is used again while its first user is on record";
const MEETS_LATE: &str = "an operation ends before its abort takes hold";

const ONCE: &str = "an abort annotation is honoured once";

/// The core, its world, and the possible events.
struct Lifecycle {
    scenario: Scenario,
    comes_to_rest: Known,
    aborts: Known,
}

impl Lifecycle {
    fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            comes_to_rest: Known::default(),
            aborts: Known::default(),
        }
    }

    /// Whether the state settles without breaking that rule.
    fn settles(&self, state: &State, rule: &str) -> bool {
        !state.is_between_passes()
            || liveness::settles(state, &self.comes_to_rest)
                .map_or_else(|broken| broken.rule != rule, |()| true)
    }

    fn aborts_end(&self, state: &State) -> bool {
        !state.is_between_passes() || liveness::aborts_end(state, &self.aborts).is_ok()
    }
}

impl Model for Lifecycle {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::begin(&self.scenario)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        state.steps(&self.scenario, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        state.after(&self.scenario, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            always(LOCK, |_, state| !state.breaks(LOCK)),
            always(ALONE, |_, state| !state.breaks(ALONE)),
            always(WORK, |_, state| !state.breaks(WORK)),
            always(KEPT, |_, state| !state.breaks(KEPT)),
            always(STARTS, |_, state| !state.breaks(STARTS)),
            always(PLAN, |_, state| !state.breaks(PLAN)),
            always(STOPS, |_, state| !state.breaks(STOPS)),
            always(PHASES, |_, state| !state.breaks(PHASES)),
            always(TERMINAL, |_, state| !state.breaks(TERMINAL)),
            always(PERCENT, |_, state| !state.breaks(PERCENT)),
            always(CANCELED, |_, state| !state.breaks(CANCELED)),
            always(REFUSED, |_, state| !state.breaks(REFUSED)),
            always(HELD, |_, state| !state.breaks(HELD)),
            always(ONCE, |_, state| state.honours_once()),
            always(REST, |model, state| model.settles(state, REST)),
            always(NEWEST, |model, state| model.settles(state, NEWEST)),
            always(ABORTS, Lifecycle::aborts_end),
        ];
        let met = meetings();
        let met = met
            .into_iter()
            .filter(|met| self.scenario.meets.contains(&met.name));
        properties.extend(met);
        properties
    }
}

type Condition = fn(&Lifecycle, &State) -> bool;

fn always(rule: &'static str, condition: Condition) -> Property<Lifecycle> {
    Property::always(rule, condition)
}

fn sometimes(met: &'static str, condition: Condition) -> Property<Lifecycle> {
    Property::sometimes(met, condition)
}

/// Returns the conditions that a search has to meet in some state: a rule that nothing could break proves nothing.
fn meetings() -> Vec<Property<Lifecycle>> {
    use OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending};
    vec![
        sometimes(MEETS_CANCELED, |_, state| state.has_phase(Canceled)),
        sometimes(MEETS_FAILED, |_, state| state.has_phase(Failed)),
        sometimes(MEETS_TAKEN_BACK, |_, state| state.is_taken_back()),
        sometimes(MEETS_REFUSED, |_, state| {
            state.has(|status| is_refused(status) && status.phase == InProgress)
        }),
        sometimes(MEETS_HOLD, |_, state| state.holds_something()),
        sometimes(MEETS_STALE, |_, state| state.is_next_stale()),
        sometimes(MEETS_LOST, |_, state| {
            !state.world.is_working() && state.pass.is_none() && state.has_phase(InProgress)
        }),
        sometimes(MEETS_LATE_WRITE, |_, state| state.has_late_write()),
        sometimes(MEETS_QUEUE, |_, state| {
            state.has_phase(Pending) && state.has_phase(InProgress)
        }),
        sometimes(MEETS_REPLACED, |_, state| {
            state.has(|status| {
                let cancellation = status.cancellation.as_ref();
                cancellation.is_some_and(|cancellation| cancellation.replaced_by.is_some())
            })
        }),
        sometimes(MEETS_AFTER_STEP, |_, state| {
            state.has_phase(Canceling) && state.has(scenario::is_after_step)
        }),
        sometimes(MEETS_GONE, |_, state| state.world.is_gone()),
        sometimes(MEETS_TWO, |_, state| state.world.lock().len() > 1),
        sometimes(MEETS_AGAIN, |_, state| state.world.uses_name_again()),
        sometimes(MEETS_LATE, |_, state| {
            state.has(|status| is_refused(status) && status.phase.is_finished())
        }),
    ]
}

/// Searches a scenario completely.
fn search(scenario: Scenario) {
    let name = scenario.name;
    let is_deep = std::env::var("BELAY_MODEL").is_ok_and(|how| how == "deep");
    let scenario = if is_deep { scenario.deep() } else { scenario };
    let checker = Lifecycle::new(scenario)
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (states, unique) = (checker.state_count(), checker.unique_state_count());
    let depth = checker.max_depth();
    println!("{name}: {states} states, {unique} unique, depth {depth}");
    report::assert_kept(&checker);
    if !is_deep {
        report::keep_row(name, states, unique, depth);
    }
}

macro_rules! scenarios {
    ($($test:ident = $scenario:ident,)*) => {$(
        #[test]
        fn $test() {
            search(Scenario::$scenario());
        }
    )*};
}

scenarios! {
    an_upgrade_is_aborted = upgrade_and_abort,
    an_upgrade_meets_a_crash = upgrade_and_crash,
    a_rollback_is_aborted = rollback_and_abort,
    an_operation_in_flight_is_replaced = scale_and_replace,
    a_deletion_meets_an_operation_in_flight = delete_and_abort,
    the_newest_waiting_change_wins = queue_and_newest,
    a_name_is_used_again = names_again,
    a_decision_uses_an_old_cache = old_caches,
    an_abort_waits_for_a_step = abort_after_step,
    a_node_is_lost = node_lost,
    another_operator_takes_over = take_over,
    a_provider_stalls_or_fails = provider_in_trouble,
    an_abort_is_changed_to_now_or_removed = abort_again,
    a_provider_refuses_to_stop_for_a_newer_change = refusal_and_replace,
    the_policy_changes_to_queue_during_an_operation = queue_midway,
    an_abort_annotation_is_honoured_once = honoured_once,
}
