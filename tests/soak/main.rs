//! The soak test: simulated users change, abort and delete at random, random faults hit the operator, and the test
//! checks the invariants during and after each episode. A seed determines all events, but not the speed of the machine.
//!
//! `SOAK_MINUTES=n` sets the duration. `SOAK_SEED=s` sets the first seed; each further episode uses the next seed. If
//! an episode fails, the test prints its seed and its shortest part that still fails.

#[path = "../faults/mod.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod faults;

#[path = "../live/stage/actions.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod actions;
#[path = "../live/stage/belay.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod belay;
#[path = "../live/stage/seen.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod seen;
#[path = "../live/stage/world.rs"]
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
mod random;
mod run;
mod shortest;
mod users;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run::all())
}
