//! An upgrade at Cluster API and its abort, while Belay is killed after each of its writes, and while Cluster API's
//! controllers are killed. Each run must end like an undisturbed run.
//!
//! `SWEEP_PART=k/n` kills Belay after every n-th write, from the k-th write on.

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

#[path = "../capi/machines.rs"]
mod machines;
#[path = "../harness/panics.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod panics;
#[path = "../harness/part.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod part;
#[path = "../capi/rights.rs"]
mod rights;
#[path = "../capi/stage.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod stage;

mod run;
mod scenarios;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run::all())
}
