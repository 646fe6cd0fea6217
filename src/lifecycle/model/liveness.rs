//! What finally happens once no more events come. Stateright's `eventually` overlooks cycles and joins, so each state
//! is run to its end instead. A state that another one already reached isn't run again.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::{
    api::OperationPhase,
    lifecycle::{
        fixtures::World,
        invariants::{Broken, REST, at_rest, holds, is_refused},
    },
};

use super::state::State;

pub const ABORTS: &str = "an abort ends, also while what blocked it stays";
pub const NEWEST: &str = "the newest change wins";

/// More rounds than anything needs to settle.
const ENOUGH: usize = 200;
/// More rounds than an abort needs.
const ABORTED: usize = 12;

/// The keys of worlds that are known to settle correctly.
#[derive(Default)]
pub struct Known(Mutex<HashSet<u64>>);

impl Known {
    fn has(&self, key: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&key)
    }

    fn add(&self, keys: Vec<u64>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(keys);
    }
}

/// Checks that everything settles correctly once nobody does anything more and nothing blocks it.
pub fn settles(state: &State, known: &Known) -> Result<(), Broken> {
    let mut world = state.world.clone();
    world.unguard().refuse_specs(false).catch_up();
    world.lose_sight(false).refuse_to_stop(false).stall(false);
    let mut met = Vec::new();
    for _ in 0..ENOUGH {
        let key = world.key() ^ u64::from(state.newest.unwrap_or(-1).unsigned_abs());
        if known.has(key) {
            known.add(met);
            return Ok(());
        }
        met.push(key);
        if !round(&mut world) {
            at_rest(&world, state.was_forced())?;
            check_newest(&world, state.newest)?;
            known.add(met);
            return Ok(());
        }
    }
    holds(REST, false, || "it doesn't come to rest".into())
}

/// Checks that the pool has the count that was requested last, by spec or by Operation.
fn check_newest(world: &World, newest: Option<i32>) -> Result<(), Broken> {
    let Some(newest) = newest.filter(|_| !world.is_gone()) else {
        return Ok(());
    };
    let nodes = world.versions("np1").len();
    holds(NEWEST, i32::try_from(nodes) == Ok(newest), || {
        format!("np1 has {nodes} nodes, and {newest} were asked for last")
    })
}

/// Aborts everything in flight while whatever blocks it stays. Checks that each operation ends, or that its abort is
/// refused.
pub fn aborts_end(state: &State, known: &Known) -> Result<(), Broken> {
    let mut world = state.world.clone();
    world.catch_up();
    if world.is_gone() {
        return Ok(());
    }
    let asked = world.unfinished();
    let uids: Vec<_> = asked.iter().map(|name| world.uid(name)).collect();
    for name in &asked {
        world.abort_now(name, "it has to end");
    }
    let first = world.key();
    if known.has(first) {
        return Ok(());
    }
    for _ in 0..ABORTED {
        round(&mut world);
    }
    if !world.is_gone() {
        for name in world.unfinished() {
            let status = world.status(&name);
            // Past the point of no return, or if the provider refuses, the operation goes on.
            let is_reported = is_refused(&status)
                && status.phase == OperationPhase::InProgress
                && world.cannot_stop();
            holds(
                ABORTS,
                is_reported || !uids.contains(&world.uid(&name)),
                || format!("{name} is {:?} still", status.phase),
            )?;
        }
    }
    known.add(vec![first]);
    Ok(())
}

/// Runs one pass and one tick. Returns false if there was nothing to do.
fn round(world: &mut World) -> bool {
    let mut pass = world.pass();
    let works = world.is_working();
    if pass.left().len() == 0 && !works {
        return false;
    }
    while world.act(&mut pass).is_some() {}
    world.work();
    true
}
