//! The long run: random people change, abort and delete, random faults befall the operator, and what must hold is
//! checked throughout and at the end. A seed says all that happens; how fast the machine is isn't in it.
//!
//! `SOAK_MINUTES=n` runs for so long, `SOAK_SEED=s` from that seed on: each episode has the next one. Where an
//! episode fails, its seed is printed, and the shortest part of it that still fails.

#[path = "../faults/mod.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod faults;

#[path = "../live/acts.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod acts;
#[path = "../live/belay.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod belay;
#[path = "../live/seen.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod seen;
#[path = "../live/world.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod world;

#[path = "../harness/panics.rs"]
mod panics;
#[path = "../harness/pods.rs"]
mod pods;

#[path = "../sweep/budgets.rs"]
mod budgets;
#[path = "../sweep/digest.rs"]
#[allow(dead_code, reason = "the sweep needs the rest")]
mod digest;
#[path = "../sweep/place.rs"]
#[allow(dead_code, reason = "the sweep needs the rest")]
mod place;

mod end;
mod episode;
mod event;
mod people;
mod random;
mod run;
mod shortest;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run::all())
}
