//! GitOps with Flux's own controllers: people change a repository, and see Flux's status. The control plane, Belay,
//! source-controller, kustomize-controller and the Git server are processes on loopback.

#[path = "../harness/mod.rs"]
mod harness;

mod change;
mod cluster_api;
mod drift;
mod fleet;
mod git_server;
mod hang;
#[path = "../capi/machines.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod machines;
mod refusal;
mod stage;

use std::process::ExitCode;

use stage::Stage;

const TESTS: &[harness::Test<Stage>] = tests![
    hang::a_revert_brings_an_aborted_cluster_back,
    hang::with_replace_a_revert_is_the_abort,
    hang::an_upgrade_that_hangs_is_in_progress,
    hang::an_aborted_upgrade_is_failed_and_on_hold,
    change::a_kustomization_is_ready_once_its_cluster_is,
    change::a_commit_upgrades_a_cluster,
    change::a_cluster_and_a_pool_that_pins_its_version_go_up_in_one_commit_each,
    refusal::a_change_that_is_refused_is_told_and_made_once_the_operation_has_ended,
    drift::nothing_that_belay_writes_makes_flux_apply_again,
    drift::an_abort_on_the_cluster_that_flux_takes_away_begins_nothing,
    drift::what_a_person_asks_for_stays_where_git_says_nothing,
    drift::a_count_that_flux_is_told_to_ignore_is_the_autoscalers,
    drift::what_a_person_asks_for_fails_where_git_says_otherwise,
    cluster_api::beside_flux_an_adopted_cluster_goes_up_by_git_and_flux_takes_nothing_back,
];

fn main() -> ExitCode {
    harness::run(TESTS, &[], Stage::set(), Stage::keep_logs)
}
