//! What always holds, whatever people do, and whenever the operator dies or reads an old view; and what may
//! happen. Property tests draw from it at random, the model searches it.

mod events;
mod rest;
mod status;

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use crate::{
    api::{
        AbortPolicy, ENGINE_HANDLE_ANNOTATION, FOR_GENERATION_LABEL, Operation, OperationInFlight,
        OperationPhase, OperationStatus, OperationType,
    },
    lifecycle::{
        action::Action,
        desired::aspects_of,
        facts::Facts,
        fixtures::World,
        gate::excludes,
        snapshot::{ObjectId, Stop},
    },
};

pub use events::{Event, OperationEvent, PoolEvent};
pub use rest::at_rest;
pub use status::is_refused;

pub const LOCK: &str = "the lock excludes";
pub const WORK: &str = "who works holds the lock";
pub const KEPT: &str = "what is worked on is kept";
pub const STARTS: &str = "nothing starts after Canceling";
pub const STOPS: &str = "work is stopped as it was asked for";
pub const PHASES: &str = "a phase follows one that it may follow";
pub const TERMINAL: &str = "terminal stays terminal";
pub const PERCENT: &str = "percent never falls";
pub const CANCELED: &str = "Canceled is said of what has stopped";
pub const HELD: &str = "a hold is respected";
pub const REST: &str = "what is settled is Ready, or Stalled with a reason";

/// A rule that doesn't hold, and how that shows.
#[derive(Clone, Debug)]
pub struct Broken {
    pub rule: &'static str,
    pub why: String,
}

/// That a rule holds.
pub fn holds(rule: &'static str, is_so: bool, why: impl FnOnce() -> String) -> Result<(), Broken> {
    let broken = || Broken { rule, why: why() };
    is_so.then_some(()).ok_or_else(broken)
}

/// Looks at each thing that is done.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The Operations that follow what others began, by name.
    followers: BTreeSet<String>,
    /// Whether what is done now was decided on an old view.
    pub is_stale: bool,
    /// Whether an object was removed by force, whatever kept it.
    pub was_forced: bool,
}

impl Watch {
    /// Whether the rules hold once that was done.
    pub fn check(&mut self, world: &World, action: &Action) -> Result<(), Broken> {
        self.check_work(world)?;
        match action {
            Action::CreateOperation(operation) => {
                let annotations = operation.annotations();
                if annotations.contains_key(ENGINE_HANDLE_ANNOTATION) {
                    self.followers.insert(operation.name_any());
                }
                if self.is_stale {
                    return Ok(());
                }
                check_hold(world, operation)
            }
            Action::WriteOperationStatus { name, status } => {
                let before = world.replaced().cloned().unwrap_or_default();
                status::check(name, &before, status)?;
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

    /// Whose work goes on is there, and holds the lock.
    pub fn check_work(&self, world: &World) -> Result<(), Broken> {
        let lock = world.lock_uids();
        for working in world.working() {
            let is_there = world.operations().any(|name| world.uid(&name) == *working);
            holds(KEPT, is_there || self.was_forced, || {
                format!("{working} works, and its Operation is gone")
            })?;
            // Where one that leads no more has ended it late, the next one only makes sure that it has stopped.
            let is_over = || self.is_stale && world.only_stops(working);
            holds(
                WORK,
                !is_there || lock.contains(working) || is_over(),
                || format!("{working} works without the lock"),
            )?;
        }
        Ok(())
    }

    /// No two holders of the lock exclude each other, except those that others began outside Belay.
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
        let phase = world.phase(name);
        let has_lock = world.lock_uids().contains(&world.uid(name));
        holds(WORK, has_lock, || format!("{name} works without the lock"))?;
        // The fence lets only one of two operators write, so nobody cancels in between.
        let may_begin_steps = phase == OperationPhase::InProgress || self.is_stale;
        holds(STARTS, stop != Stop::No || may_begin_steps, || {
            format!("{name} is {phase:?}")
        })
    }
}

/// Nothing is created for what is held back.
fn check_hold(world: &World, operation: &Operation) -> Result<(), Broken> {
    let snapshot = world.snapshot();
    let facts = Facts::of(&snapshot, world.now());
    let Some(target) = facts.target(&operation.spec.target) else {
        return Ok(());
    };
    let about = match operation.spec.type_ {
        // It is for what nobody asked for: a node that is gone.
        OperationType::Reconcile | OperationType::Update | OperationType::Create => return Ok(()),
        type_ => aspects_of(type_),
    };
    check_again(world, operation)?;
    let held = target.held.all();
    let labels = operation.metadata.labels.clone().unwrap_or_default();
    let is_from_spec = labels.contains_key(FOR_GENERATION_LABEL);
    holds(HELD, !is_from_spec || !about.is_subset(&held), || {
        format!("{:?} is made though {held:?} is held", operation.spec)
    })
}

/// What was aborted, or failed once it had begun, isn't made again for the same generation of a spec; unless
/// something newer took its place, or a person asked for something since.
fn check_again(world: &World, made: &Operation) -> Result<(), Broken> {
    let generation = |operation: &Operation| operation.labels().get(FOR_GENERATION_LABEL).cloned();
    let Some(made_for) = generation(made) else {
        return Ok(());
    };
    let snapshot = world.snapshot();
    let all = || snapshot.operations.iter();
    if all().any(|operation| generation(operation).is_none()) {
        return Ok(());
    }
    let was_ended = |status: &OperationStatus| match status.phase {
        OperationPhase::Failed => status.start_time.is_some(),
        OperationPhase::Canceled => status.cancellation.as_ref().is_some_and(|cancellation| {
            cancellation.replaced_by.is_none() && cancellation.accepted_at.is_some()
        }),
        _ => false,
    };
    let mut same = all()
        .filter(|other| other.spec == made.spec && generation(other).as_ref() == Some(&made_for));
    let again = same.find(|other| other.status.as_ref().is_some_and(was_ended));
    holds(HELD, again.is_none(), || {
        format!("{:?} is made again for generation {made_for}", made.spec)
    })
}

/// What had begun has come to rest, and nothing of it is in the middle, once it is Canceled.
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

/// Work is told to stop where it stands only once `Canceling` is written, and only where the request says so.
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
