//! Black-box tests: the operator runs as a process on a real control plane, and each test does and sees only what a
//! user can: apply, annotate, delete, watch. Each test has its own namespace and operator.

#[path = "../harness/mod.rs"]
mod harness;

mod abort;
mod acts;
mod adopted;
mod aks;
mod api;
mod asked;
mod belay;
mod changed_nodes;
mod check;
mod concurrency;
mod create;
mod delete;
mod differential;
mod disturbed;
mod doors;
mod eks;
mod engine;
mod exchanges;
mod exposition;
mod failure;
mod history;
mod hold;
mod hostile;
mod inside;
mod isolated;
mod labels;
mod late;
mod leader;
mod left_behind;
mod logs;
mod metrics;
mod no_data;
mod nodes;
mod operators;
mod other_shards;
mod plain;
mod plan;
mod plugin;
mod progress;
mod prometheus;
mod proxy;
mod quiet;
mod race;
mod refusals;
mod releases;
mod replacing;
mod requests;
mod restart;
mod rights;
mod rollback;
mod scale;
mod seen;
mod shard_numbers;
mod shards;
mod shown;
mod start_stop;
mod target_abort;
mod terminal;
mod threats;
mod traces;
mod update;
mod upgrade;
mod who_may_abort;
mod world;

use std::process::ExitCode;

use world::World;

const TESTS: &[harness::Test<World>] = tests![
    // The slowest tests come first.
    disturbed::a_node_that_was_ready_and_is_no_longer_does_not_fail_its_operation,
    no_data::an_api_server_that_is_killed_again_and_again_costs_no_guarded_pod,
    no_data::a_watch_that_is_cut_costs_no_guarded_pod,
    no_data::a_pod_whose_end_no_watch_shows_is_looked_for,
    late::a_deletion_of_a_node_that_arrives_late_fails,
    late::a_cordon_that_arrives_late_fails,
    late::a_node_that_is_made_late_joins_no_pool_and_goes,
    late::a_change_of_the_control_plane_that_arrives_late_fails,
    isolated::a_policy_on_one_pool_holds_up_no_abort,
    isolated::what_somebody_refuses_is_said_where_it_is_refused,
    isolated::an_abort_ends_though_its_nodes_can_not_be_left_as_they_were,
    isolated::an_abort_ends_though_its_control_plane_can_not_be_released,
    isolated::what_is_refused_while_nodes_are_made_is_reported,
    isolated::throttling_is_no_budgets_refusal,
    isolated::an_abort_does_not_wait_for_a_write_that_hangs,
    isolated::a_node_that_comes_after_its_clusters_deletion_goes_unless_it_had_joined,
    isolated::work_ends_with_its_cluster,
    changed_nodes::a_node_that_is_deleted_while_it_comes_up_is_made_again,
    changed_nodes::a_name_that_a_node_of_others_has_is_left_to_it_and_another_one_taken,
    changed_nodes::a_node_that_is_deleted_before_anybody_saw_it_is_made_again,
    changed_nodes::a_node_that_is_uncordoned_in_mid_drain_is_cordoned_again,
    changed_nodes::a_node_whose_label_is_taken_off_is_left_to_who_took_it,
    changed_nodes::a_node_that_a_finalizer_holds_is_waited_for_and_named,
    changed_nodes::two_budgets_on_one_pod_are_named,
    changed_nodes::a_pod_with_an_endless_grace_period_is_waited_for,
    changed_nodes::a_volume_that_is_attached_is_waited_for_and_named,
    quiet::nothing_is_written_in_a_quiet_minute,
    releases::two_releases_look_after_their_own_namespaces,
    engine::an_operation_shows_how_far_the_engine_says_it_is,
    engine::a_restart_before_the_answer_begins_nothing_twice,
    engine::a_restart_follows_what_was_begun,
    engine::an_abort_lasts_until_the_engine_has_come_to_rest,
    engine::an_abort_that_the_engine_refuses_is_failed_and_may_be_asked_again,
    engine::a_stop_that_the_engine_accepts_and_then_can_not_do_is_failed_with_its_words,
    engine::an_engine_that_is_done_again_and_again_and_shows_nothing_fails_the_operation,
    engine::a_deletion_that_the_engine_refuses_to_stop_for_is_not_asked_for_again_and_again,
    engine::an_abort_that_comes_too_late_ends_as_the_engine_ended,
    engine::what_the_engine_can_not_do_is_refused_with_what_to_do_instead,
    engine::a_cluster_that_can_not_be_seen_says_so_and_keeps_nobody_waiting,
    engine::an_abort_is_accepted_while_the_engine_is_away,
    engine::a_failure_that_passes_is_reported_and_one_that_does_not_ends_it,
    engine::what_others_began_holds_the_lock_and_can_be_aborted,
    engine::what_others_changed_is_shown_and_not_fought,
    engine::an_account_is_asked_in_bounds,
    aks::what_adopt_azure_prints_begins_no_operation,
    aks::without_a_secret_the_identity_of_the_operator_is_used_where_the_namespace_may,
    aks::credentials_that_are_missing_or_wrong_are_reported_and_mended,
    aks::a_cluster_that_is_not_in_azure_is_reported,
    aks::deleting_what_was_adopted_leaves_azure_as_it_is,
    aks::a_node_pool_is_deleted_where_its_policy_says_so,
    aks::a_pool_that_is_not_in_azure_fails_and_says_what_to_do,
    aks::a_cluster_of_aks_goes_up_control_plane_first_and_one_pool_after_the_other,
    aks::a_node_pool_shows_the_percent_that_azure_says,
    aks::without_the_preview_of_the_api_operations_show_no_percent_and_end,
    aks::a_node_pool_scales_stops_and_starts_with_its_count_kept,
    aks::what_a_stopped_pool_is_to_be_comes_after_its_start,
    aks::a_cluster_of_aks_stops_and_starts_as_a_whole,
    aks::labels_and_taints_of_a_node_pool_are_updated_and_azures_own_stay,
    aks::why_an_operation_of_aks_failed_is_said_in_its_words,
    aks::a_control_plane_that_failed_is_brought_to_its_end_by_who_asks_for_it,
    aks::a_control_plane_of_aks_is_not_taken_back,
    aks::an_aborted_upgrade_of_a_node_pool_stops_at_azure_and_stays_so,
    aks::an_aborted_upgrade_of_the_control_plane_upgrades_no_pool,
    aks::an_abort_between_two_requests_of_one_change_begins_no_more,
    aks::an_abort_that_azure_calls_too_late_changes_nothing,
    aks::an_operator_that_is_killed_in_an_abort_at_azure_comes_to_its_end,
    aks::a_scale_that_az_begins_is_in_the_lock_and_can_be_aborted,
    aks::what_az_changed_is_followed_and_not_taken_back,
    aks::what_azure_refuses_while_others_operate_is_reported_and_done_after,
    aks::what_the_autoscaler_of_aks_scales_belay_does_not,
    aks::with_a_kubeconfig_an_upgrade_of_aks_shows_which_budget_holds_which_pod,
    eks::what_adopt_aws_prints_begins_no_operation,
    eks::the_operator_assumes_its_role_by_its_web_identity_where_the_namespace_may,
    eks::the_operator_has_the_identity_of_its_pod_where_the_namespace_may,
    eks::credentials_of_aws_that_are_missing_or_wrong_are_reported_and_mended,
    eks::an_operator_without_an_identity_in_aws_says_so,
    eks::a_cluster_that_is_not_in_aws_is_reported,
    eks::deleting_what_was_adopted_leaves_aws_as_it_is,
    eks::a_nodegroup_is_deleted_where_its_policy_says_so,
    eks::a_pool_that_is_not_in_aws_fails_and_says_what_to_do,
    eks::a_cluster_of_eks_goes_up_control_plane_first_and_one_nodegroup_after_the_other,
    eks::a_cluster_of_eks_goes_back_nodegroups_first_and_the_control_plane_last,
    eks::a_nodegroup_shows_what_eks_is_at,
    eks::a_nodegroup_scales_stops_and_starts_with_its_least_size_kept,
    eks::labels_and_taints_of_a_nodegroup_are_updated_and_others_stay,
    eks::how_nodes_are_replaced_is_written_before_an_upgrade,
    eks::why_an_update_of_eks_failed_is_said_in_its_words,
    eks::what_eks_can_not_do_is_refused_with_what_to_do_instead,
    eks::nodes_of_a_nodegroup_that_eks_calls_degraded_are_not_ready,
    eks::a_rollback_of_an_auto_mode_cluster_is_cancelled_while_its_nodes_go_back,
    eks::a_rollback_whose_nodes_are_back_goes_on_and_says_what_eks_says,
    eks::an_abort_that_eks_can_not_do_leaves_the_operation_in_progress,
    eks::an_abort_after_the_step_begins_no_further_nodegroup,
    eks::an_operator_that_is_killed_in_an_abort_at_eks_comes_to_its_end,
    eks::a_scale_that_aws_begins_is_in_the_lock_and_is_followed_to_its_end,
    eks::an_upgrade_that_eksctl_did_is_followed_and_not_taken_back,
    eks::what_eks_refuses_while_others_operate_is_reported_and_done_after,
    eks::what_the_cluster_autoscaler_scales_at_eks_belay_does_not,
    eks::with_a_kubeconfig_an_upgrade_of_eks_shows_which_budget_holds_which_pod,
    eks::a_kubeconfig_that_would_run_a_program_is_not_used_and_says_so,
    failure::an_api_server_that_is_away_fails_nothing,
    requests::an_operation_writes_a_few_times_and_then_its_progress_once_a_second,
    restart::an_operator_that_is_killed_goes_on_where_things_stand,
    restart::an_abort_is_honoured_by_the_next_operator,
    abort::an_abort_that_races_with_the_end_has_one_of_two_legal_ends,
    api::each_rule_of_the_schema_refuses_with_a_sentence_that_says_what_to_do,
    api::explain_tells_of_every_field,
    create::an_operation_on_nothing_fails_though_its_end_could_not_be_written_at_first,
    create::a_cluster_and_its_pools_come_up_from_what_was_applied,
    create::a_pool_without_its_cluster_says_so_and_comes_up_once_it_is_there,
    create::an_operation_on_a_pool_without_its_cluster_fails_and_says_so,
    create::an_operation_fails_that_is_seen_while_the_end_of_its_cluster_is_not,
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
    abort::after_step_lets_the_step_in_process_finish,
    abort::a_node_that_others_delete_during_an_abort_is_no_step_that_began,
    abort::deleting_an_operation_aborts_it,
    hold::a_canceled_target_is_left_alone_until_someone_asks,
    hold::a_change_of_the_spec_ends_the_hold,
    delete::deleting_a_cluster_takes_its_pools_and_nodes,
    delete::deleting_a_pool_drains_its_nodes,
    delete::a_deletion_in_the_middle_of_an_upgrade_aborts_it,
    delete::a_namespace_that_is_deleted_takes_its_cluster_and_its_nodes_with_it,
    delete::a_namespace_that_is_deleted_after_a_failed_deletion_goes_too,
    delete::deleting_all_operations_in_flight_at_once_needs_the_right_to_abort_and_no_more,
    delete::a_finalizer_may_be_taken_away_by_who_may_update,
    differential::admission_and_the_core_answer_alike,
    refusals::no_change_passes_while_the_cluster_is_busy,
    refusals::a_busy_pool_refuses_changes_of_itself_and_of_its_cluster,
    refusals::what_starts_no_operation_always_passes,
    refusals::a_start_or_stop_at_the_wrong_time_tells_since_when,
    refusals::a_start_of_what_runs_and_a_stop_of_what_is_stopped_tell_since_when,
    refusals::what_is_being_deleted_allows_only_deletion,
    refusals::what_is_so_already_is_refused,
    refusals::versions_that_cluster_and_pools_cannot_have_are_refused,
    refusals::what_nodes_still_run_counts_and_not_what_their_pool_is_to_run,
    refusals::the_last_system_pool_stays_as_long_as_its_cluster,
    refusals::what_has_ended_or_never_began_can_not_be_aborted,
    refusals::the_field_manager_of_belay_opens_no_door_to_others,
    who_may_abort::who_edits_may_not_abort,
    who_may_abort::who_aborts_need_not_edit,
    who_may_abort::who_has_both_rights_aborts_on_the_target_too,
    who_may_abort::nobody_says_that_somebody_else_aborts,
    who_may_abort::an_owner_that_there_is_not_is_no_way_to_abort,
    who_may_abort::a_reason_is_short_and_a_policy_is_now_or_after_step,
    who_may_abort::the_roles_fold_into_those_of_kubernetes,
    nodes::the_account_of_belay_writes_only_nodes_that_carry_its_labels,
    nodes::belay_alone_changes_its_labels_and_marks_of_a_node,
    nodes::a_pod_without_a_toleration_is_not_scheduled_to_a_kwok_node,
    nodes::taint_false_leaves_the_taint_out_of_new_nodes,
    nodes::a_kwok_that_takes_leases_keeps_nodes_alive_too,
    labels::belay_alone_changes_the_labels_that_it_goes_by,
    labels::a_new_pool_has_the_label_that_spares_a_search_only_until_belay_takes_it_up,
    labels::an_operation_may_come_with_belays_labels_and_gains_nothing_by_them,
    labels::an_operation_that_names_another_kind_of_target_in_its_label_is_refused_all_the_same,
    labels::the_policy_for_large_namespaces_labels_what_needs_no_search,
    replacing::who_may_not_abort_does_not_do_so_by_replacing_a_pools_operation,
    replacing::who_may_not_abort_does_not_do_so_by_replacing_a_clusters_operation,
    rights::an_operation_needs_the_right_to_make_the_same_change_by_the_spec,
    rights::the_record_of_a_control_plane_is_belays_alone,
    threats::who_owns_one_namespace_reaches_nothing_of_another,
    threats::who_owns_a_namespace_gives_its_nodes_no_mark_of_belays,
    threats::who_owns_a_namespace_writes_no_node_no_status_and_no_record,
    check::it_tells_what_is_missing_and_what_to_do,
    check::it_tells_what_works_and_leaves_nothing,
    race::of_two_operations_in_the_same_instant_one_runs,
    hostile::hostile_objects_neither_stop_belay_nor_keep_it_from_the_others,
    leader::of_two_operators_one_works_and_the_other_stands_by,
    leader::a_leader_that_is_killed_is_followed_in_the_middle_of_an_upgrade,
    leader::a_leader_that_slept_longer_than_its_lease_writes_nothing_when_it_wakes,
    leader::a_leader_that_is_told_to_end_gives_its_lease_back,
    leader::a_leader_whose_lease_is_taken_ends,
    leader::a_leader_whose_lease_is_deleted_makes_it_again,
    shards::of_two_operators_each_takes_a_shard_and_each_cluster_is_brought_up_by_one,
    shards::a_new_operator_gets_its_share_and_gives_it_back_when_it_ends,
    shards::what_an_operator_that_is_killed_had_in_hand_goes_on,
    shards::an_abort_while_nobody_holds_the_shard_is_honoured,
    shards::an_operator_that_slept_longer_than_its_leases_writes_nothing_when_it_wakes,
    shards::an_operator_whose_shard_is_taken_ends,
    other_shards::what_belongs_to_clusters_of_another_shard_is_left_to_it,
    other_shards::an_operation_on_a_pool_is_its_clusters_whatever_its_label_says,
    other_shards::what_belongs_to_no_cluster_is_reported_by_one_operator,
    shard_numbers::operators_with_other_numbers_of_shards_wait_until_the_first_have_ended,
    shard_numbers::shards_need_leader_election,
    other_shards::an_operator_of_several_shards_tells_of_all_and_one_without_a_shard_is_ready,
    logs::each_line_about_an_operation_names_it_and_its_cluster,
    metrics::a_scrape_tells_how_operations_went,
    metrics::an_operator_that_reaches_no_cluster_is_live_and_not_ready,
    prometheus::the_dashboard_shows_a_run_and_an_alert_tells_of_what_blocks_it,
    traces::an_operation_is_a_trace_with_a_span_for_each_step,
    plugin::a_terminal_shows_a_live_bar_and_what_blocks_it,
    plugin::a_pipe_gets_a_line_for_each_change,
    plugin::an_abort_tells_what_it_leaves_behind_and_asks,
    plugin::an_abort_without_after_step_hurries_one_with_it,
    plugin::what_why_suggests_lets_the_upgrade_go_on,
    plugin::a_change_is_made_once_by_its_name_and_followed,
    plugin::ctrl_c_offers_to_abort_what_is_followed,
    plugin::refusals_say_what_to_do,
    plugin::many_clusters_are_listed_page_by_page,
    plain::no_command_prints_the_control_characters_of_a_reason,
    plan::a_plan_of_a_new_cluster_lists_what_is_made_in_its_order,
    plan::a_planned_upgrade_is_what_an_apply_then_does,
    plan::a_plan_tells_a_refusal_word_for_word,
    plan::a_plan_tells_what_belay_itself_refuses,
    plan::a_plan_tells_what_a_change_waits_for,
    plan::a_plan_of_what_is_so_already_says_so,
    plan::what_is_no_manifest_is_named_with_its_place,
    start_stop::a_stopped_pool_has_no_nodes_and_comes_back_with_its_count,
    start_stop::a_pool_is_stopping_until_its_last_node_is_gone,
    start_stop::a_system_pool_cant_be_stopped_and_a_spot_pool_can,
    start_stop::a_stopped_pool_is_upgraded_without_a_node_and_comes_up_so,
    start_stop::a_start_or_stop_at_the_wrong_time_is_refused_with_the_time,
    start_stop::a_stopped_cluster_has_no_nodes_and_a_start_brings_back_what_was_not_stopped,
    update::labels_and_taints_change_in_place_and_leave_those_of_others,
    update::upgrade_settings_change_without_a_step,
    update::several_changes_in_one_edit_are_one_operation_of_the_weightiest_type,
    update::scaling_down_takes_cordoned_nodes_then_those_not_ready_then_the_newest,
    update::scaling_down_takes_nodes_of_the_older_version_first,
    update::a_scale_down_waits_for_a_pdb,
    update::an_autoscaler_scales_a_pool_by_the_scale_subresource,
    rollback::nodes_go_back_first_and_the_control_plane_last,
    rollback::after_an_abort_pools_converge_to_what_the_control_plane_runs,
    rollback::an_abort_is_refused_once_the_control_plane_goes_back,
    asked::each_type_is_written_into_the_spec_first_and_then_done,
    asked::what_a_person_asked_for_makes_no_second_operation,
    asked::a_copy_of_an_operation_that_ran_is_not_run_again,
    asked::a_field_that_gitops_applies_is_told_and_not_fought_over,
    asked::what_people_wrote_by_kubectl_is_no_conflict,
    asked::wrong_parameters_fail_with_a_code_and_say_what_to_write_instead,
    asked::what_is_asked_for_while_another_is_in_flight_is_refused_and_names_it,
    target_abort::a_value_on_a_cluster_is_honoured_once_and_the_next_one_again,
    target_abort::a_value_on_a_pool_is_honoured_once_across_restarts,
    target_abort::a_value_that_an_object_is_created_with_counts_as_honoured,
    target_abort::an_abort_on_a_cluster_leaves_a_pools_operation_and_the_reverse,
    failure::a_node_that_is_never_ready_fails_the_operation_that_makes_it,
    failure::a_quota_that_is_reached_fails_the_operation_and_is_named,
    failure::after_a_failed_drain_it_is_left_alone_and_gone_on_with_by_a_reconcile,
    concurrency::with_forbid_a_change_of_a_spec_waits_and_makes_no_operation,
    concurrency::with_queue_the_newest_change_of_a_target_waits_and_older_ones_are_replaced,
    concurrency::with_queue_a_change_of_a_spec_waits_as_an_operation,
    concurrency::with_replace_a_cluster_change_aborts_a_pools_operation_and_runs,
    concurrency::with_replace_a_pool_change_aborts_the_clusters_operation_and_runs,
    history::only_the_newest_finished_operations_are_kept_and_the_last_is_remembered,
    history::what_somebody_applies_is_not_pruned,
    history::what_is_in_flight_or_waits_is_never_pruned,
    progress::percent_rises_with_each_node_and_steps_tell_their_times,
    progress::a_block_tells_since_when_it_lasts_until_it_is_over,
    progress::an_operation_on_hundreds_of_nodes_stays_small_and_comes_to_its_end,
    disturbed::a_node_that_a_person_deletes_is_replaced_by_a_reconcile_of_belays_own,
    disturbed::nodes_deleted_in_the_middle_of_an_upgrade_are_made_up_for,
    disturbed::a_node_that_a_person_cordons_in_the_middle_stays_cordoned_after_an_abort,
    disturbed::a_node_that_is_not_ready_is_replaced_first_and_keeps_others_from_going,
    disturbed::a_pod_that_outstays_its_grace_period_is_named,
    left_behind::a_create_leaves_the_nodes_that_are_up_and_goes_on_from_there,
    left_behind::an_upgrade_leaves_the_old_control_plane_where_it_had_not_changed,
    left_behind::an_upgrade_leaves_nodes_of_both_versions,
    left_behind::a_scale_down_leaves_the_nodes_that_were_not_drained,
    left_behind::a_scale_up_leaves_the_nodes_that_were_there,
    left_behind::a_stop_leaves_a_running_pool_with_the_nodes_that_were_not_drained,
    left_behind::a_start_leaves_a_stopped_pool_where_no_node_was_up,
    left_behind::a_stop_of_a_cluster_leaves_its_control_plane_on,
    left_behind::an_update_leaves_each_node_with_its_old_or_its_new_settings,
    left_behind::a_delete_leaves_a_terminating_pool_that_a_reconcile_deletes,
    left_behind::a_reconcile_leaves_what_it_had_not_come_to,
    left_behind::a_create_of_a_cluster_leaves_no_control_plane,
    left_behind::a_start_of_a_cluster_leaves_its_control_plane_off,
];

/// `make outages` runs these tests: they take long, and need no other control plane.
const OUTAGES_OF_CLOUDS: &[harness::Test<World>] = tests![
    aks::an_azure_that_does_not_answer_is_reported_and_nothing_is_lost,
    aks::an_abort_while_azure_is_silent_is_honoured_when_it_answers,
    aks::a_token_that_azure_takes_no_more_is_renewed,
    aks::an_operation_that_azure_forgets_is_judged_by_its_resource,
    aks::an_operator_that_is_killed_at_each_change_of_an_upgrade_asks_for_nothing_twice,
    aks::an_operator_that_is_killed_at_each_change_of_an_abort_stops_at_azure,
    aks::an_operator_that_is_killed_while_azure_works_asks_for_nothing_twice,
    eks::an_eks_that_does_not_answer_is_reported_and_nothing_is_lost,
    eks::an_abort_while_eks_is_silent_is_honoured_when_it_answers,
    eks::an_update_that_eks_forgets_is_judged_by_its_nodegroup,
    eks::an_operator_that_is_killed_at_each_change_of_an_upgrade_of_eks_asks_for_nothing_twice,
    eks::an_operator_that_is_killed_at_each_change_of_an_abort_stops_at_eks,
];

fn main() -> ExitCode {
    harness::run(TESTS, OUTAGES_OF_CLOUDS, World::start(), World::keep_logs)
}
