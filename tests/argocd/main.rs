//! GitOps with the real controllers of Argo CD: users change a repository, and see Argo CD's status. The control plane,
//! Belay, Argo CD's application controller, its controller of `ApplicationSets`, its repository server, a store in memory
//! and the Git server are local processes.

#[path = "../harness/mod.rs"]
mod harness;

mod controllers;
mod fleet;
#[path = "../flux/git_server.rs"]
mod git_server;
#[path = "../flux/repository.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod repository;
mod rolling_sync;
#[path = "../flux/stage.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod stage;
mod sync_waves;

use std::process::ExitCode;

use stage::Stage;

const TESTS: &[harness::Test<Stage>] = tests![
    sync_waves::the_second_wave_begins_once_the_first_is_done,
    sync_waves::an_aborted_upgrade_holds_the_next_wave_until_it_is_resumed,
    rolling_sync::a_step_begins_once_the_step_before_it_is_healthy,
    rolling_sync::an_aborted_upgrade_holds_the_next_step_until_it_is_resumed,
];

fn main() -> ExitCode {
    let start = Stage::start(controllers::start);
    harness::run(TESTS, &[], start, Stage::keep_logs)
}
