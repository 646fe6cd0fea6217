//! A state of the model, and the steps that lead from one to the next.

use std::{
    collections::HashSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::{
    api::OperationPhase,
    lifecycle::{
        action::Action,
        fixtures::{Kind, Pass, World},
        invariants::{Broken, Event, PoolEvent, STARTS, Watch, holds, is_refused},
        snapshot::ObjectId,
    },
};

use super::scenario::Scenario;

/// A possible next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The operator reads its caches and decides.
    Decide,
    /// It performs one action of its pass.
    Act,
    /// All work advances by one tick.
    Work,
    /// The event with that index happens.
    Happen(usize),
    /// The event happens, and the operator's cache of that kind doesn't show it yet.
    Unseen(usize, Kind),
    /// The cache shows the event.
    CatchUp,
    /// The operator crashes; another one starts.
    Crash,
    /// Another operator becomes the leader. The actions that the first one decided on arrive late.
    TakeOver,
    /// One of these late actions arrives.
    ArriveLate,
}

/// A pass, with the keys of its actions.
#[derive(Clone)]
pub struct Held {
    pass: Pass,
    keys: Vec<u64>,
    is_stale: bool,
}

impl Held {
    fn of(world: &World, pass: Pass, is_stale: bool) -> Option<Self> {
        let keys: Vec<_> = pass.left().map(|action| world.key_of(action)).collect();
        (!keys.is_empty()).then_some(Self {
            pass,
            keys,
            is_stale,
        })
    }

    /// Returns its next action.
    pub fn next(&self) -> Option<&Action> {
        self.pass.left().next()
    }

    /// Whether it matters if work advances before or after the next action. If the action neither reads nor changes
    /// what work does, the work can wait.
    fn meets_work(&self) -> bool {
        matches!(
            self.next(),
            Some(
                Action::WriteOperationStatus { .. }
                    | Action::StartWork { .. }
                    | Action::StopWork { .. }
                    | Action::ForgetWork { .. }
                    | Action::Mend { .. }
                    | Action::DeletePool(_)
            )
        )
    }

    fn add_key(&self, world: &World, key: &mut impl Hasher) {
        let done = self.keys.len() - self.pass.left().len();
        self.keys[done..].hash(key);
        world.is_current(&self.pass).hash(key);
        self.is_stale.hash(key);
    }
}

/// The events that may still happen.
#[derive(Clone, Debug, Hash)]
struct Budget {
    /// Which events are left, by index.
    events: Vec<bool>,
    /// How many of them may still happen.
    most: usize,
    crashes: usize,
    unseen: usize,
    takeovers: usize,
}

/// A state of the model.
#[derive(Clone)]
pub struct State {
    pub world: World,
    /// The actions that the operator decided on and hasn't performed yet.
    pub pass: Option<Held>,
    /// The actions of an operator that is no longer the leader.
    pub late: Option<Held>,
    /// The rule that is violated.
    pub broken: Option<Broken>,
    /// The size that somebody requested last, by spec or by Operation.
    pub newest: Option<i32>,
    watch: Watch,
    left: Budget,
    key: u64,
}

impl State {
    pub fn begin(scenario: &Scenario) -> Self {
        let mut state = Self {
            world: (scenario.begin)(),
            pass: None,
            late: None,
            broken: None,
            newest: None,
            watch: Watch::default(),
            left: Budget {
                events: vec![true; scenario.may.len()],
                most: scenario.most,
                crashes: scenario.crashes,
                unseen: scenario.unseen,
                takeovers: scenario.takeovers,
            },
            key: 0,
        };
        state.key = state.new_key();
        state
    }

    fn new_key(&self) -> u64 {
        let mut key = DefaultHasher::new();
        self.world.key().hash(&mut key);
        for held in [&self.pass, &self.late] {
            held.is_some().hash(&mut key);
            if let Some(held) = held {
                held.add_key(&self.world, &mut key);
            }
        }
        self.left.hash(&mut key);
        self.newest.hash(&mut key);
        self.watch.late.hash(&mut key);
        self.broken
            .as_ref()
            .map(|broken| broken.rule)
            .hash(&mut key);
        key.finish()
    }

    /// Whether all actions that were decided on are performed.
    pub fn is_between_passes(&self) -> bool {
        self.pass.is_none() && self.late.is_none()
    }

    /// Whether an object was removed by force.
    pub fn was_forced(&self) -> bool {
        self.watch.was_forced
    }

    /// Adds the possible next steps.
    pub fn steps(&self, scenario: &Scenario, steps: &mut Vec<Step>) {
        if self.broken.is_some() {
            return;
        }
        steps.push(if self.pass.is_some() {
            Step::Act
        } else {
            Step::Decide
        });
        if self.late.is_some() {
            steps.push(Step::ArriveLate);
        }
        let works = self.world.is_working();
        if works && self.pass.as_ref().is_none_or(Held::meets_work) {
            steps.push(Step::Work);
        }
        if self.world.is_lagging() {
            steps.push(Step::CatchUp);
        }
        if self.left.crashes > 0 && (works || self.pass.is_some()) {
            steps.push(Step::Crash);
        }
        if self.left.takeovers > 0 && self.late.is_none() {
            steps.push(Step::TakeOver);
        }
        let may_happen = self.left.most > 0 && (!scenario.each_is_seen || self.all_is_seen());
        for (number, _) in scenario.may.iter().enumerate() {
            if !may_happen || !self.left.events[number] {
                continue;
            }
            steps.push(Step::Happen(number));
            if self.left.unseen > 0 && !self.world.is_lagging() {
                let kind = scenario.kinds.get(number);
                steps.extend(kind.map(|kind| Step::Unseen(number, *kind)));
            }
        }
    }

    /// Whether Belay has seen every Operation.
    fn all_is_seen(&self) -> bool {
        let mut operations = self.world.operations();
        self.pass.is_none() && operations.all(|name| self.world.status(&name).arrival.is_some())
    }

    /// Returns the state after a step. None if nothing changes.
    pub fn after(&self, scenario: &Scenario, step: Step) -> Option<Self> {
        let mut next = self.clone();
        match step {
            Step::Decide => next.decide()?,
            Step::Act => next.act(),
            Step::ArriveLate => next.arrive_late(),
            Step::Work => next.work(),
            Step::Happen(number) => next.happen(scenario, number)?,
            Step::Unseen(number, kind) => {
                next.left.unseen -= 1;
                next.world.lag(kind);
                next.happen(scenario, number)?;
            }
            Step::CatchUp => {
                next.world.catch_up();
            }
            Step::Crash => {
                next.left.crashes -= 1;
                next.pass = None;
                next.world.restart().catch_up();
            }
            Step::TakeOver => next.take_over()?,
        }
        let kept = next.watch.check_work(&next.world);
        next.note(kept);
        next.key = next.new_key();
        (next.key != self.key).then_some(next)
    }

    fn note(&mut self, kept: Result<(), Broken>) {
        self.broken = self.broken.take().or(kept.err());
    }

    fn decide(&mut self) -> Option<()> {
        let is_stale = self.world.is_lagging() || self.late.is_some();
        let pass = self.world.pass().without_events();
        self.pass = Held::of(&self.world, pass, is_stale);
        let sees_more = self.watch.late.look();
        if self.pass.is_none() {
            self.watch.late.was_done();
        }
        (self.pass.is_some() || sees_more).then_some(())
    }

    fn act(&mut self) {
        if let Some(mut held) = self.pass.take() {
            self.watch.is_stale = held.is_stale;
            if let Some(action) = self.world.act(&mut held.pass) {
                let kept = self.watch.check(&self.world, &action);
                self.note(kept);
                if held.next().is_some() {
                    self.pass = Some(held);
                } else {
                    self.watch.late.was_done();
                }
            } else {
                self.watch.late.was_cut_off();
            }
        }
    }

    fn arrive_late(&mut self) {
        if let Some(mut held) = self.late.take() {
            self.watch.is_stale = true;
            if let Some(action) = self.world.act(&mut held.pass) {
                self.watch.late.lands(&self.world, &action);
                let kept = self.watch.check(&self.world, &action);
                self.note(kept);
            }
            if let Some(pass) = &mut self.pass {
                pass.is_stale = true;
            }
            self.late = held.next().is_some().then_some(held);
        }
    }

    fn work(&mut self) {
        let violation = self.world.work_on();
        let (kept, why) = match violation {
            Some((uid, why)) => (self.watch.late.is_about(&uid), why),
            None => (true, String::new()),
        };
        self.note(holds(STARTS, kept, || why));
    }

    fn take_over(&mut self) -> Option<()> {
        self.left.takeovers -= 1;
        let last = match self.pass.take() {
            Some(held) => held.pass,
            None => self.world.pass().without_events(),
        };
        self.late = Some(Held::of(&self.world, last.fenced(), true)?);
        self.world.restart().catch_up();
        Some(())
    }

    fn happen(&mut self, scenario: &Scenario, number: usize) -> Option<()> {
        let event = scenario.may[number];
        let world = &self.world;
        match event {
            // For the API server this isn't a change.
            Event::Pool(pool, PoolEvent::SetCount(count))
                if world.exists(&ObjectId::Pool(pool.into()))
                    && world.wanted_nodes(pool).0 == usize::try_from(count).ok()? =>
            {
                return None;
            }
            Event::Pool(_, PoolEvent::SetCount(count)) => {
                self.newest = Some(count).filter(|_| scenario.each_is_seen);
            }
            Event::AskForCount(name, count, _) => {
                let id = ObjectId::Operation(format!("asked-{name}"));
                if world.exists(&id) {
                    return None;
                }
                self.newest = Some(count).filter(|_| scenario.each_is_seen);
            }
            Event::Operation(..) if world.unfinished().is_empty() => return None,
            _ => {}
        }
        self.left.events[number] = false;
        self.left.most -= 1;
        self.watch.was_forced |= event.forces_something_away();
        event.apply(&mut self.world);
        Some(())
    }

    /// Whether that rule is violated.
    pub fn breaks(&self, rule: &str) -> bool {
        self.broken
            .as_ref()
            .is_some_and(|broken| broken.rule == rule)
    }

    /// Whether an Operation goes on after its request to abort was withdrawn.
    pub fn is_taken_back(&self) -> bool {
        let mut unfinished = self.world.unfinished().into_iter();
        unfinished.any(|name| {
            self.world.is_aborted_no_more(&name) && self.world.status(&name).cancellation.is_none()
        })
    }

    /// Whether no two Operations were aborted by the same annotation of a target, which is set at most once.
    pub fn honours_once(&self) -> bool {
        let mut seen = HashSet::new();
        let mut operations = self.world.operations();
        operations.all(|name| {
            let (status, target) = (self.world.status(&name), self.world.spec(&name).target);
            let is_aborted = status.cancellation.is_some() && !is_refused(&status);
            let by = status.observed_abort.filter(|_| is_aborted);
            let by_target = by.filter(|by| by.starts_with("target/"));
            by_target.is_none_or(|by| seen.insert((target, by)))
        })
    }

    /// Whether a late write succeeded that the next operator hasn't processed yet.
    pub fn has_late_write(&self) -> bool {
        !self.watch.late.is_empty()
    }

    /// Whether the next action will be refused because it was decided on a stale view.
    pub fn is_next_stale(&self) -> bool {
        let held = [&self.pass, &self.late].into_iter().flatten();
        let mut first = held.map(|held| self.world.is_current(&held.pass));
        first.any(|current| current.first() == Some(&false))
    }

    /// Whether the cluster or a pool has a hold.
    pub fn holds_something(&self) -> bool {
        let mut pools = self.world.pools();
        self.world.cluster_status().hold.is_some()
            || pools.any(|name| self.world.pool_status(&name).hold.is_some())
    }

    /// Whether the status of an Operation meets a condition.
    pub fn has(&self, is_so: impl Fn(&crate::api::OperationStatus) -> bool) -> bool {
        let mut operations = self.world.operations();
        operations.any(|name| is_so(&self.world.status(&name)))
    }

    /// Whether an Operation is in that phase.
    pub fn has_phase(&self, phase: OperationPhase) -> bool {
        self.has(|status| status.phase == phase)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key.hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl fmt::Debug for State {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?}", self.broken)
    }
}
