//! What comes to its end once nothing more happens. Stateright's `eventually` overlooks circles and joins, so
//! each state is let run instead: what one state runs into that another ran into before, is known.

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

/// Rounds that are more than enough for anything to come to rest.
const ENOUGH: usize = 200;
/// Rounds that are more than enough for an abort.
const ABORTED: usize = 12;

/// Worlds that come to a good end, by their keys.
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

/// Nobody does more, and nothing is in the way: it all comes to rest, as it should be.
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

/// What was asked for last is what the spec says, whichever way it was asked for.
fn check_newest(world: &World, newest: Option<i32>) -> Result<(), Broken> {
    let Some(newest) = newest.filter(|_| !world.is_gone()) else {
        return Ok(());
    };
    let nodes = world.versions("np1").len();
    holds(NEWEST, i32::try_from(nodes) == Ok(newest), || {
        format!("np1 has {nodes} nodes, and {newest} were asked for last")
    })
}

/// Whatever is in flight is aborted, and what is in the way stays: each ends, or its abort is refused.
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
            // Past the point of no return, or where the provider refuses, it goes on.
            let is_told = is_refused(&status)
                && status.phase == OperationPhase::InProgress
                && world.cannot_stop();
            holds(ABORTS, is_told || !uids.contains(&world.uid(&name)), || {
                format!("{name} is {:?} still", status.phase)
            })?;
        }
    }
    known.add(vec![first]);
    Ok(())
}

/// One pass and a tick; false where there was nothing to do.
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
