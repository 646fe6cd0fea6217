//! Black-box tests: the operator runs as a process on a real control plane, and each test does and sees
//! only what a user can: apply, annotate, delete, watch. Each has a namespace and an operator of its own.

mod abort;
mod api;
mod belay;
mod create;
mod delete;
mod doors;
mod exposition;
mod hold;
mod hostile;
mod leader;
mod logs;
mod metrics;
mod plugin;
mod quiet;
mod race;
mod refusals;
mod restart;
mod scale;
mod terminal;
mod traces;
mod upgrade;
mod who_may_abort;

use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use testenv::ControlPlane;

use belay::World;

type Test = fn(Arc<World>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tests of a module, by their names.
macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), |world| Box::pin($module::$name(world)))),*]
    };
}

const TESTS: &[(&str, Test)] = tests![
    api::each_rule_of_the_schema_refuses_with_a_sentence_that_says_what_to_do,
    api::explain_tells_of_every_field,
    create::a_cluster_and_its_pools_come_up_from_what_was_applied,
    create::a_pool_without_its_cluster_says_so_and_comes_up_once_it_is_there,
    create::an_operation_on_nothing_fails_and_says_what_is_missing,
    scale::a_pool_scales_up_and_down_by_kubectl_scale,
    upgrade::an_upgrade_under_load_violates_no_pdb,
    upgrade::a_pdb_that_is_relaxed_lets_the_upgrade_go_on,
    upgrade::a_drain_that_takes_too_long_fails_and_names_pod_and_pdb,
    abort::a_blocked_upgrade_is_canceled_where_it_stands,
    abort::an_abort_takes_less_than_two_seconds,
    abort::an_abort_while_nodes_are_made_leaves_no_half_made_node,
    abort::an_abort_of_a_pending_operation_cancels_it_before_it_began,
    abort::a_second_abort_changes_nothing,
    abort::an_abort_that_races_with_the_end_has_one_of_two_legal_ends,
    abort::after_step_lets_the_step_in_process_finish,
    abort::deleting_an_operation_aborts_it,
    hold::a_canceled_target_is_left_alone_until_someone_asks,
    hold::a_change_of_the_spec_ends_the_hold,
    restart::an_operator_that_is_killed_goes_on_where_things_stand,
    restart::an_abort_is_honoured_by_the_next_operator,
    delete::deleting_a_cluster_takes_its_pools_and_nodes,
    delete::deleting_a_pool_drains_its_nodes,
    delete::a_deletion_in_the_middle_of_an_upgrade_aborts_it,
    refusals::no_change_passes_while_the_cluster_is_busy,
    refusals::a_busy_pool_refuses_changes_of_itself_and_of_its_cluster,
    refusals::what_starts_no_operation_always_passes,
    refusals::a_start_or_stop_at_the_wrong_time_tells_since_when,
    refusals::a_start_of_what_runs_and_a_stop_of_what_is_stopped_tell_since_when,
    refusals::what_is_being_deleted_allows_only_deletion,
    refusals::what_is_so_already_is_refused,
    refusals::versions_that_cluster_and_pools_cannot_have_are_refused,
    refusals::the_last_system_pool_stays_as_long_as_its_cluster,
    refusals::what_has_ended_or_never_began_can_not_be_aborted,
    refusals::the_field_manager_of_belay_opens_no_door_to_others,
    who_may_abort::who_edits_may_not_abort,
    who_may_abort::who_aborts_need_not_edit,
    who_may_abort::who_has_both_rights_aborts_on_the_target_too,
    who_may_abort::nobody_says_that_somebody_else_aborts,
    who_may_abort::nobody_says_that_belay_made_an_operation,
    who_may_abort::the_roles_fold_into_those_of_kubernetes,
    race::of_two_operations_in_the_same_instant_one_runs,
    hostile::hostile_objects_neither_stop_belay_nor_keep_it_from_the_others,
    leader::of_two_operators_one_works_and_the_other_stands_by,
    leader::a_leader_that_is_killed_is_followed_in_the_middle_of_an_upgrade,
    leader::a_leader_that_slept_longer_than_its_lease_writes_nothing_when_it_wakes,
    leader::a_leader_that_is_told_to_end_gives_its_lease_back,
    leader::a_leader_whose_lease_is_taken_ends,
    logs::each_line_about_an_operation_names_it_and_its_cluster,
    metrics::a_scrape_tells_how_operations_went,
    metrics::an_operator_that_reaches_no_cluster_is_live_and_not_ready,
    traces::an_operation_is_a_trace_with_a_span_for_each_step,
    quiet::nothing_is_written_in_a_quiet_minute,
    plugin::a_terminal_shows_a_live_bar_and_what_blocks_it,
    plugin::a_pipe_gets_a_line_for_each_change,
    plugin::an_abort_tells_what_it_leaves_behind_and_asks,
    plugin::an_abort_without_after_step_hurries_one_with_it,
    plugin::what_why_suggests_lets_the_upgrade_go_on,
    plugin::a_change_is_made_once_by_its_name_and_followed,
    plugin::ctrl_c_offers_to_abort_what_is_followed,
    plugin::refusals_say_what_to_do,
    plugin::many_clusters_are_listed_page_by_page,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Tests wait more than they work.
    arguments.test_threads.get_or_insert(6);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(async {
        let control_plane = ControlPlane::start()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Arc::new(World::new(control_plane, tokio::runtime::Handle::current()))
    });
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&world)));
    if conclusion.has_failed() {
        world.keep_logs();
    }
    // Ends the control plane before the process.
    drop(world);
    conclusion.exit_code()
}

fn trials(world: Option<&Arc<World>>) -> Vec<Trial> {
    TESTS
        .iter()
        .map(|(name, test)| {
            let world = world.cloned();
            Trial::test(*name, move || {
                let Some(world) = world else { return Ok(()) };
                let handle = world.handle.clone();
                handle.block_on(test(world));
                Ok(())
            })
        })
        .collect()
}
