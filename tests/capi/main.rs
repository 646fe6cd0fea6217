//! Clusters of Cluster API that Belay manages, with the real controllers of Cluster API. Only the machines are
//! simulated. The tests need their own control plane and port 19000, so `make test-capi` runs them.

#[path = "../harness/mod.rs"]
mod harness;

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

mod abort;
mod adopt;
mod delete;
mod machines;
mod managed;
mod operations;
mod others;
mod rights;
#[allow(dead_code, reason = "other tests need the rest")]
mod stage;
mod standalone;

use std::process::ExitCode;

use stage::Stage;

const TESTS: &[harness::Test<Stage>] = tests![
    abort::an_aborted_upgrade_creates_and_deletes_no_more_machines,
    abort::an_abort_works_while_others_keep_writing_the_same_objects,
    abort::a_scale_after_an_aborted_upgrade_replaces_no_machine,
    abort::an_abort_of_a_scale_is_refused_once_all_machines_are_requested,
    adopt::adopting_a_cluster_starts_no_operation_and_deleting_it_keeps_the_machines,
    delete::with_the_policy_delete_pools_and_clusters_are_deleted_in_cluster_api,
    managed::a_cluster_can_be_created_upgraded_and_deleted_with_its_pools,
    managed::an_existing_cluster_is_neither_taken_over_nor_deleted,
    managed::an_aborted_creation_can_continue_and_an_aborted_upgrade_can_be_deleted,
    managed::the_create_settings_of_a_cluster_are_immutable,
    managed::a_blocked_creation_shows_its_cause_and_can_be_aborted,
    operations::an_upgrade_does_the_control_plane_first_and_then_one_pool_at_a_time,
    operations::a_pool_scales_stops_and_starts,
    standalone::a_cluster_without_a_topology_can_be_upgraded_after_an_abort_paused_its_control_plane,
    others::an_upgrade_that_others_start_is_followed_can_be_aborted_and_is_not_reverted,
    others::a_scale_that_others_start_is_followed_and_not_reverted,
    others::a_scale_that_others_start_during_an_upgrade_is_followed_and_not_reverted,
    others::belay_does_not_scale_a_pool_that_the_autoscaler_scales,
];

fn main() -> ExitCode {
    harness::run(TESTS, &[], Stage::start(), Stage::keep_logs)
}
