//! Clusters of Cluster API that Belay operates, with Cluster API's own controllers. The machines are in memory;
//! everything else is real. The tests need a control plane and port 19000 for themselves, so `make test-capi` runs
//! them.

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../live/stage/acts.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod acts;
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
mod rights;
#[allow(dead_code, reason = "other tests need the rest")]
mod stage;
mod standalone;
mod strangers;

use std::process::ExitCode;

use stage::Stage;

const TESTS: &[harness::Test<Stage>] = tests![
    abort::an_aborted_upgrade_of_a_pool_begins_no_machine_and_deletes_none,
    abort::an_abort_lands_while_others_write_the_same_objects_all_the_time,
    abort::a_scale_after_an_aborted_upgrade_replaces_no_machine,
    abort::an_abort_of_a_scale_is_refused_once_all_machines_have_begun,
    adopt::what_adopt_prints_begins_no_operation_and_its_deletion_leaves_the_cluster,
    delete::with_the_policy_delete_a_pool_goes_and_then_the_cluster,
    managed::a_cluster_is_made_with_its_pools_goes_up_and_is_deleted,
    managed::a_cluster_that_was_made_otherwise_is_neither_taken_nor_deleted,
    managed::an_aborted_creation_stops_can_go_on_and_can_be_deleted,
    managed::how_a_cluster_is_made_cannot_be_changed,
    managed::what_keeps_cluster_api_from_making_a_cluster_is_shown_and_an_abort_ends,
    operations::a_cluster_goes_up_control_plane_first_and_one_pool_after_the_other,
    operations::a_pool_scales_stops_and_starts,
    standalone::a_cluster_without_a_topology_goes_up_after_an_abort_that_paused_its_control_plane,
    strangers::an_upgrade_that_others_begin_is_followed_aborted_and_not_taken_back,
    strangers::a_scale_that_others_begin_is_followed_and_not_taken_back,
    strangers::a_scale_that_others_begin_in_an_upgrade_is_followed_and_not_taken_back,
    strangers::what_the_autoscaler_scales_belay_does_not,
];

fn main() -> ExitCode {
    harness::run(TESTS, &[], Stage::set(), Stage::keep_logs)
}
