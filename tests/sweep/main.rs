//! The sweep: each scenario of docs/operations.md runs once without a disturbance. Then it runs again for each request
//! of the operator, with a disturbance at this request: the operator dies before or after the request, its cache of one
//! kind is stale, or the request is refused. Each run must end in the same world.
//!
//! `SWEEP_PART=k/n` runs every n-th run, from the k-th run on. `SWEEP_ONLY=text` runs only scenarios whose name
//! contains the text.

#[path = "../faults/mod.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod faults;

#[path = "../live/stage/actions.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod actions;
#[path = "../live/stage/belay.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod belay;
#[path = "../live/stage/refusing.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod refusing;
#[path = "../live/stage/seen.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod seen;
#[path = "../live/stage/world.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod world;

#[path = "../harness/panics.rs"]
mod panics;
#[path = "../harness/part.rs"]
mod part;
#[path = "../harness/pods.rs"]
mod pods;

#[allow(dead_code, reason = "the soak needs the rest")]
mod budgets;
mod digest;
mod disturbance;
mod place;
mod run;
mod scenarios;
mod table;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run::all())
}
