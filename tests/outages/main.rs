//! Outages of the real control plane below the operator: killed parts, throttled requests, expired tokens, different
//! clocks, removed kinds. Each test asserts what a user sees in the end: no node is lost or duplicated, the operation
//! ends as it should, and an abort is honoured.
//!
//! `tests/live` has the outages that need nothing special: `nodes::no_data`, `operations::failure`, `aborts::late`, and
//! `leader`, `restart` and `isolated` of `operators`.

#[path = "../harness/mod.rs"]
mod harness;

#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/acts.rs"]
mod acts;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/belay.rs"]
mod belay;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/operators.rs"]
mod operators;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/seen.rs"]
mod seen;
#[allow(dead_code, reason = "shared with tests/live, which uses all of it")]
#[path = "../live/stage/shown.rs"]
mod shown;
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
    killed::an_api_server_that_is_killed_in_every_kind_of_step_costs_nothing,
    killed::an_etcd_that_is_killed_in_every_kind_of_step_costs_nothing,
    token::a_token_that_is_revoked_and_rotated_fails_nothing,
    throttled::an_account_that_is_throttled_waits_and_its_abort_is_honoured,
    kinds::kinds_that_are_deleted_take_their_clusters_with_them_and_come_back_empty,
    kinds::nodes_of_kinds_that_were_forced_away_are_their_clusters_again,
    newer::values_of_a_newer_version_are_named_and_left_alone,
    leaders::a_leader_that_is_killed_is_followed_and_the_abort_asked_for_meanwhile_is_honoured,
    leaders::a_leader_that_the_network_cuts_off_has_ended_before_the_next_one_writes,
    clocks::replicas_whose_clocks_are_a_minute_apart_follow_each_other,
    clocks::a_clock_that_jumps_an_hour_ahead_ends_nothing,
    clocks::a_clock_that_jumps_an_hour_back_ends_nothing,
    clocks::a_leader_whose_clock_jumps_goes_on_once_it_has_renewed_its_lease,
    webhooks::a_webhook_for_nodes_that_is_away_is_reported_and_an_abort_ends,
    webhooks::a_webhook_for_evictions_that_is_away_is_reported_and_an_abort_ends,
    compaction::a_compaction_behind_watches_that_were_held_back_loses_nothing,
];

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    harness::run(TESTS, &[], audit::world(folder.path()), World::keep_logs)
}
