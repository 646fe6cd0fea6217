//! GitOps with the real controllers of Flux: users change a repository, and see Flux's status. The control plane,
//! Belay, source-controller, kustomize-controller and the Git server are local processes.

#[path = "../harness/mod.rs"]
mod harness;

mod blocked;
mod change;
mod cluster_api;
mod controllers;
mod drift;
mod fleet;
mod git_server;
#[path = "../capi/machines.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod machines;
mod refusal;
mod repository;
mod stage;
mod waves;

use std::process::ExitCode;

use stage::Stage;

const TESTS: &[harness::Test<Stage>] = tests![
    blocked::a_revert_of_the_commit_rolls_an_aborted_cluster_back,
    blocked::with_replace_a_revert_aborts_the_upgrade,
    blocked::a_blocked_upgrade_is_in_progress_for_flux,
    blocked::an_aborted_upgrade_fails_the_health_check_and_stays_on_hold,
    change::a_kustomization_becomes_ready_only_with_its_cluster,
    change::a_commit_upgrades_a_cluster,
    change::a_cluster_and_its_pinned_pool_need_one_commit_each_to_upgrade,
    waves::the_second_wave_begins_once_the_first_is_done,
    waves::an_aborted_upgrade_holds_the_next_wave_until_it_is_resumed,
    refusal::a_refused_change_is_reported_and_applied_after_the_operation_ends,
    drift::belays_writes_cause_no_drift_in_flux,
    drift::flux_removes_the_abort_annotation_and_the_operation_stays_canceled,
    drift::an_operation_may_change_a_field_that_git_does_not_set,
    drift::an_autoscaler_may_change_a_count_that_flux_ignores,
    drift::an_operation_fails_on_a_field_that_git_sets,
    cluster_api::an_adopted_cluster_is_upgraded_from_git_and_flux_reverts_nothing,
];

fn main() -> ExitCode {
    harness::run(
        TESTS,
        &[],
        Stage::start(controllers::start),
        Stage::keep_logs,
    )
}
