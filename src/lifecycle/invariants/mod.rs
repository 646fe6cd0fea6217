//! Rules that always hold, whatever people do, and even if the operator crashes or reads a stale view; and the events
//! that may happen. Property tests draw events at random; the model searches all of them.

mod events;
mod hold;
mod late;
mod rest;
mod status;

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use crate::{
    api::{
        AbortPolicy, ENGINE_HANDLE_ANNOTATION, OperationInFlight, OperationPhase, OperationStatus,
    },
    lifecycle::{
        action::Action,
        fixtures::World,
        gate::excludes,
        snapshot::{ObjectId, Stop},
    },
};

pub use late::Late;

pub use events::{Event, OperationEvent, PoolEvent};
pub use rest::at_rest;
pub use status::is_refused;

pub const LOCK: &str = "the lock excludes";
pub const WORK: &str = "who works holds the lock";
pub const ALONE: &str = "no two work that exclude each other";
pub const KEPT: &str = "what is worked on is kept";
pub const STARTS: &str = "nothing starts after Canceling";
pub const PLAN: &str = "work begins on a plan that is kept";
pub const STOPS: &str = "work is stopped as it was asked for";
pub const PHASES: &str = "a phase follows one that it may follow";
pub const TERMINAL: &str = "terminal stays terminal";
pub const PERCENT: &str = "percent never falls";
pub const CANCELED: &str = "Canceled is said of what has stopped";
pub const REFUSED: &str = "an abort that was accepted is refused by the provider alone";
pub const HELD: &str = "a hold is respected";
pub const WINDOW: &str = "a change of a version begins in a window";
pub const REST: &str = "what is settled is Ready, or Stalled with a reason";

/// A rule that is violated, and how that shows.
#[derive(Clone, Debug)]
pub struct Broken {
    pub rule: &'static str,
    pub why: String,
}

/// Returns an error unless the rule holds.
pub fn holds(rule: &'static str, is_so: bool, why: impl FnOnce() -> String) -> Result<(), Broken> {
    let broken = || Broken { rule, why: why() };
    is_so.then_some(()).ok_or_else(broken)
}

/// Checks each action that is performed.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The Operations that follow what others began, by name.
    followers: BTreeSet<String>,
    /// The uids of the Operations that began on a stale view. Their plans may name pools that were already deleted.
    begun_on_old_view: BTreeSet<String>,
    /// Whether the current action was decided on a stale view.
    pub is_stale: bool,
    /// The late writes of an operator that is no longer the leader.
    pub late: Late,
    /// Whether an object was removed by force, despite its finalizers.
    pub was_forced: bool,
}

impl Watch {
    /// Checks the rules after that action.
    pub fn check(&mut self, world: &World, action: &Action) -> Result<(), Broken> {
        self.check_work(world)?;
        match action {
            Action::CreateOperation(operation) => {
                let annotations = operation.annotations();
                if annotations.contains_key(ENGINE_HANDLE_ANNOTATION) {
                    self.followers.insert(operation.name_any());
                }
                // An Operation that is created on a stale view doesn't begin.
                if self.is_stale {
                    return Ok(());
                }
                hold::check_creation(world, operation, self.was_forced)
            }
            Action::WriteOperationStatus { name, status } => {
                if self.is_stale && status.phase == OperationPhase::InProgress {
                    self.begun_on_old_view.insert(world.uid(name));
                }
                let before = world.replaced().cloned().unwrap_or_default();
                status::check(name, &before, status)?;
                check_refusal(world, name, &before, status)?;
                hold::check_beginning(world, name, &before, status)?;
                hold::check_window(world, name, &before, status)?;
                check_canceled(world, name)
            }
            Action::WriteClusterStatus(status) => self.check_lock(&status.operations),
            Action::StartWork { job, stop } => self.check_start(world, &job.operation, *stop),
            Action::StopWork {
                uid,
                stop: Stop::Now,
            } => check_stop(world, uid),
            _ => Ok(()),
        }
    }

    /// Checks that each Operation whose work runs still exists, with its pools, and holds the lock. If an operator
    /// that is no longer the leader released the lock late, the next operator stops the work in its next pass.
    pub fn check_work(&self, world: &World) -> Result<(), Broken> {
        let lock = world.lock_uids();
        for working in world.working() {
            let is_there = world.operations().any(|name| world.uid(&name) == *working);
            holds(KEPT, is_there || self.was_forced, || {
                format!("{working} works, and its Operation is gone")
            })?;
            let mut pools = world.pools_worked_on(working);
            let without = pools.find(|pool| !world.exists(&ObjectId::Pool((*pool).clone())));
            let is_excused = self.was_forced || self.begun_on_old_view.contains(working);
            holds(KEPT, without.is_none() || is_excused, || {
                format!("{working} works, and pool {without:?} is gone")
            })?;
            let has_lock = lock.contains(working) || self.late.is_about(working);
            holds(WORK, !is_there || has_lock, || {
                format!("{working} works without the lock")
            })?;
        }
        self.check_alone(world)?;
        self.check_left(world)
    }

    /// Checks that no two exclusive operations work in parallel, even after a late write.
    fn check_alone(&self, world: &World) -> Result<(), Broken> {
        let works = |name: &String| world.working().any(|uid| *uid == world.uid(name));
        let is_follower = |name: &String| self.followers.contains(name);
        let names = world
            .operations()
            .filter(|name| works(name) && !is_follower(name));
        let targets: Vec<_> = names.map(|name| (world.spec(&name).target, name)).collect();
        for (at, (one, name)) in targets.iter().enumerate() {
            let mut others = targets[at + 1..].iter();
            let other = others.find(|(other, _)| excludes(one, other));
            holds(ALONE, other.is_none(), || {
                format!("{name} and {other:?} work")
            })?;
        }
        Ok(())
    }

    /// Checks that a Canceled Operation leaves nothing half-done, also later.
    fn check_left(&self, world: &World) -> Result<(), Broken> {
        for name in world.operations() {
            let is_canceled = world.phase(&name) == OperationPhase::Canceled;
            let is_left = is_canceled && world.is_in_the_middle(&world.uid(&name));
            holds(CANCELED, !is_left || self.was_forced, || {
                format!("{name} is Canceled, and leaves a node in the middle")
            })?;
        }
        Ok(())
    }

    /// Checks that no two holders of the lock exclude each other, except those that others began outside Belay.
    fn check_lock(&self, held: &[OperationInFlight]) -> Result<(), Broken> {
        let held = held
            .iter()
            .filter(|held| !self.followers.contains(&held.name));
        let held: Vec<_> = held.collect();
        for (at, one) in held.iter().enumerate() {
            for other in &held[at + 1..] {
                let both = || format!("{} and {} both hold the lock", one.name, other.name);
                holds(LOCK, !excludes(&one.target, &other.target), both)?;
            }
        }
        Ok(())
    }

    fn check_start(&self, world: &World, name: &str, stop: Stop) -> Result<(), Broken> {
        if !world.exists(&ObjectId::Operation(name.into())) {
            return Ok(());
        }
        let status = world.status(name);
        let uid = world.uid(name);
        let is_late = self.late.is_about(&uid);
        let has_lock = world.lock_uids().contains(&uid) || is_late;
        holds(WORK, has_lock, || format!("{name} works without the lock"))?;
        holds(PLAN, status.plan.is_some(), || {
            format!("{name} begins without a plan")
        })?;
        let may_begin_steps = status.phase == OperationPhase::InProgress || is_late;
        holds(STARTS, stop != Stop::No || may_begin_steps, || {
            format!("{name} is {:?}", status.phase)
        })
    }
}

/// Checks that an accepted abort stops the operation, unless the provider refuses.
fn check_refusal(
    world: &World,
    name: &str,
    before: &OperationStatus,
    after: &OperationStatus,
) -> Result<(), Broken> {
    let goes_on =
        before.phase == OperationPhase::Canceling && after.phase == OperationPhase::InProgress;
    holds(
        REFUSED,
        !goes_on || world.is_refused_to_stop(&world.uid(name)),
        || format!("{name} goes on, and nothing refused to stop"),
    )
}

/// Checks that a Canceled Operation's work has stopped and left nothing half-done.
fn check_canceled(world: &World, name: &str) -> Result<(), Broken> {
    let status = world.status(name);
    if status.phase != OperationPhase::Canceled || status.start_time.is_none() {
        return Ok(());
    }
    let uid = world.uid(name);
    holds(CANCELED, world.has_stopped(&uid), || {
        format!("{name} is Canceled, and its work hasn't stopped")
    })?;
    holds(CANCELED, !world.is_in_the_middle(&uid), || {
        format!("{name} is Canceled, and leaves a node in the middle")
    })
}

/// Checks that Belay stops work at once only after `Canceling` is written, and only if the request says so.
fn check_stop(world: &World, uid: &str) -> Result<(), Broken> {
    let mut operations = world.operations();
    let Some(name) = operations.find(|name| world.uid(name) == *uid) else {
        return Ok(());
    };
    let status = world.status(&name);
    let phase = status.phase;
    holds(STOPS, phase == OperationPhase::Canceling, || {
        format!("{name} stops, and is {phase:?}")
    })?;
    let policy = status.cancellation.map(|cancellation| cancellation.policy);
    holds(STOPS, policy == Some(AbortPolicy::Now), || {
        format!("{name} stops where it stands, and was asked to finish its step")
    })
}
