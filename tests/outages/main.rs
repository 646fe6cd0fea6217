//! Outages of the real control plane: killed components, throttled requests, expired tokens, wrong clocks, removed
//! kinds. Each test checks the result that a user sees: no node is lost or duplicated, the operation ends correctly,
//! and Belay carries out an abort.
//!
//! `tests/live` has the outages that need no special setup: `nodes::no_data`, `operations::failure`, `aborts::late`,
//! and `leader`, `restart` and `isolated` of `operators`.

#[path = "../harness/mod.rs"]
mod harness;

#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/actions.rs"]
mod actions;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/belay.rs"]
mod belay;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/operators.rs"]
mod operators;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/refusing.rs"]
mod refusing;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/seen.rs"]
mod seen;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/state.rs"]
mod state;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/world.rs"]
mod world;

#[path = "../harness/pods.rs"]
mod pods;

mod account;
mod audit;
mod clock;
mod clocks;
mod compaction;
mod guard;
mod killed;
mod kinds;
mod leaders;
mod network;
mod newer;
mod throttled;
mod token;
mod webhooks;

use std::process::ExitCode;

use world::World;

const TESTS: &[harness::Test<World>] = tests![
    // The slowest tests come first.
    killed::api_server_kills_in_every_kind_of_step_lose_nothing,
    killed::etcd_kills_in_every_kind_of_step_lose_nothing,
    token::a_revoked_and_rotated_token_fails_no_operation,
    throttled::a_throttled_operator_waits_and_honours_an_abort,
    kinds::deleting_the_crds_deletes_their_clusters_and_the_operator_works_after_their_return,
    kinds::nodes_survive_a_forced_removal_of_the_crds_and_rejoin_their_cluster,
    newer::objects_with_values_of_a_newer_version_are_logged_and_left_alone,
    leaders::a_standby_replaces_a_killed_leader_and_honours_an_abort_requested_in_between,
    leaders::a_leader_without_network_has_ended_before_the_next_one_writes,
    clocks::replicas_with_clocks_two_minutes_apart_replace_each_other,
    clocks::a_clock_jump_of_an_hour_ahead_times_nothing_out,
    clocks::a_clock_jump_of_an_hour_back_times_nothing_out,
    clocks::a_leader_whose_clock_jumps_renews_its_lease_and_continues,
    webhooks::an_unreachable_webhook_for_nodes_is_reported_and_an_abort_ends,
    webhooks::an_unreachable_webhook_for_evictions_is_reported_and_an_abort_ends,
    compaction::an_etcd_compaction_while_the_operator_is_paused_loses_nothing,
];

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    harness::run(TESTS, &[], audit::world(folder.path()), World::keep_logs)
}
