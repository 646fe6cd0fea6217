//! Rules of where operations come from, of one at a time and of what is told, each on its own.

mod abort;
mod aspects;
mod engine;
mod hold;
mod identity;
mod kept;
mod moments;
mod queue;
mod refused_aborts;
mod skew;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{
    ConcurrencyPolicy,
    OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending, Succeeded},
    OperationTarget,
    OperationType::{self, Create, Delete, Reconcile, Rollback, Scale, Start, Upgrade},
    ProvisioningState, StepPhase,
};

use super::{
    action::Action,
    decide::decide,
    fixtures::{NEW, OLD, World, cluster, condition, pool},
    snapshot::{ObjectId, Progress, StepReport, Stop, Work},
};

fn np1() -> ObjectId {
    ObjectId::Pool("np1".into())
}

/// An upgrade that a disruption budget blocks, and its Operation's name.
fn blocked_upgrade() -> (World, String) {
    let mut world = World::settled();
    world.guard("np1").set_version(NEW);
    let upgrade = world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    assert_eq!(world.cordoned("np1"), 1, "a drain goes on");
    (world, upgrade)
}

/// An upgrade whose work met an error, and its Operation's name.
fn failed_upgrade() -> (World, String) {
    let (mut world, upgrade) = blocked_upgrade();
    world.fail().settle().unguard();
    assert_eq!(world.phase(&upgrade), Failed);
    (world, upgrade)
}

#[test]
fn what_is_as_its_spec_says_needs_nothing() {
    let world = World::settled();
    assert!(world.decide().0.is_empty(), "{:#?}", world.decide());
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    assert!(world.lock().is_empty());
}

type Change = fn(&mut World) -> &mut World;

#[test]
fn each_difference_from_a_spec_has_its_operation() {
    let settled: Change = |world| world;
    let newer: Change = |world| world.set_version(NEW).settle();
    let left_behind: Change = |world| {
        let world = world.set_pool_version("np1", Some(OLD));
        world.set_version(NEW).settle()
    };
    let table: [(Change, Change, _, OperationTarget); 10] = [
        (settled, |world| world.set_version(NEW), Upgrade, cluster()),
        (newer, |world| world.set_version(OLD), Rollback, cluster()),
        (settled, World::lose_control_plane, Reconcile, cluster()),
        (
            settled,
            |world| world.delete(&ObjectId::Cluster),
            Delete,
            cluster(),
        ),
        (
            settled,
            |world| world.set_count("np1", 3),
            Scale,
            pool("np1"),
        ),
        (
            settled,
            |world| world.create_pool("np2", 1),
            Create,
            pool("np2"),
        ),
        (
            settled,
            |world| world.lose_node("np1"),
            Reconcile,
            pool("np1"),
        ),
        (settled, |world| world.delete(&np1()), Delete, pool("np1")),
        (
            newer,
            |world| world.set_pool_version("np1", Some(OLD)),
            Rollback,
            pool("np1"),
        ),
        (
            left_behind,
            |world| world.set_pool_version("np1", Some(NEW)),
            Upgrade,
            pool("np1"),
        ),
    ];
    for (before, change, type_, target) in table {
        let mut world = World::settled();
        change(before(&mut world));
        assert_eq!(world.decide().created(), [(type_, &target)]);
        world.begin(type_);
        world.settle();
        assert!(world.unfinished().is_empty(), "{type_:?} {target:?} ends");
    }
}

#[test]
fn a_pool_is_created_once_its_cluster_has_a_control_plane() {
    let mut world = World::new().with_pool("np1", 2);
    assert_eq!(world.decide().created(), [(Create, &cluster())]);
    let create = world.begin(Create);
    assert!(world.decide().created().is_empty(), "the pool waits");
    world.work().work().stride();
    assert_eq!(world.phase(&create), Succeeded);
    assert_eq!(world.decide().created(), [(Create, &pool("np1"))]);
}

#[test]
fn a_pool_newer_than_its_control_plane_goes_as_far_as_that() {
    let mut world = World::settled();
    world.set_pool_version("np1", Some("1.99.0")).settle();
    assert_eq!(world.versions("np1"), [OLD, OLD]);
}

#[test]
fn an_operation_on_a_cluster_waits_for_those_on_its_pools() {
    let mut world = World::settled();
    world.set_count("np1", 3);
    let scale = world.begin(Scale);
    world.set_version(NEW).stride().stride();
    assert_eq!(world.lock(), [scale.as_str()]);
    assert_eq!(world.unfinished(), [scale.as_str()]);
    world.settle();
    assert_eq!(world.versions("np1"), [NEW, NEW, NEW]);
}

#[test]
fn operations_on_different_pools_run_side_by_side() {
    let mut world = World::settled().with_pool("np2", 1).at_rest();
    world.set_count("np1", 3).set_count("np2", 2);
    world.stride().stride().stride();
    assert_eq!(world.lock().len(), 2);
    assert_eq!(world.working().count(), 2);
}

#[test]
fn an_operation_that_someone_asks_for_meanwhile_is_refused() {
    let (mut world, upgrade) = blocked_upgrade();
    world.ask("mine", Reconcile, &pool("np1")).stride();
    let status = world.status("mine");
    assert_eq!(status.phase, Failed);
    let error = status.error.expect("an error");
    assert_eq!(error.code, "OperationNotAllowed");
    let expected = format!("Another operation ({upgrade}) is in progress");
    assert!(error.message.contains(&expected), "{}", error.message);
}

#[test]
fn what_a_person_asks_for_is_written_into_the_spec_before_it_runs() {
    let mut world = World::settled();
    world.ask_for_version("up", NEW, &cluster()).stride();
    let decided = world.stride().decide();
    let changes = |action: &Action| matches!(action, Action::ChangeSpec { .. });
    assert!(decided.place(changes).is_some() && decided.starts().is_empty());
    assert_eq!(world.stride().wanted_version(), NEW);
    assert_eq!(world.at_rest().versions("np1"), [NEW, NEW]);
}

#[test]
fn what_a_person_asks_for_makes_no_second_operation_whatever_the_policy() {
    for policy in [
        ConcurrencyPolicy::Forbid,
        ConcurrencyPolicy::Queue,
        ConcurrencyPolicy::Replace,
    ] {
        let mut world = World::settled();
        world.set_policy(policy).settle();
        let before = world.operations().count();
        world.ask_for_count("more", 5, &pool("np1")).settle();
        world.ask("off", OperationType::Stop, &cluster()).settle();
        assert_eq!(world.phase("more"), Succeeded, "{policy:?}");
        assert_eq!(world.phase("off"), Succeeded, "{policy:?}");
        assert_eq!(world.operations().count(), before + 2, "{policy:?}");
    }
}

#[test]
fn an_operation_that_can_t_be_done_fails_and_changes_no_spec() {
    let mut world = World::settled();
    world.ask_for_version("too far", "1.39.0", &cluster());
    world.ask_to_go_back("back to what is newer", NEW, &cluster());
    world.ask_for_count("as it is", 2, &pool("np1"));
    world.ask("start what runs", Start, &cluster());
    world.ask("make what is there", Create, &pool("np1"));
    world.ask("on nothing", Reconcile, &pool("np9")).stride();
    for (name, code) in [
        ("too far", "InvalidParameter"),
        ("back to what is newer", "InvalidParameter"),
        ("as it is", "OperationNotAllowed"),
        ("start what runs", "OperationNotAllowed"),
        ("make what is there", "OperationNotAllowed"),
        ("on nothing", "NotFound"),
    ] {
        let error = world.status(name).error.expect("an error");
        assert_eq!(
            (world.phase(name), error.code.as_str()),
            (Failed, code),
            "{name}"
        );
    }
    assert_eq!(world.wanted_version(), OLD);
    let settled = world.at_rest().pool_status("np1");
    assert_eq!(
        settled.provisioning_state,
        Some(ProvisioningState::Succeeded)
    );
}

#[test]
fn no_work_begins_before_the_lock_is_written() {
    let mut world = World::settled();
    world.set_version(NEW).stride();
    assert_eq!(world.phase(&world.unfinished()[0]), Pending);
    let taking = world.decide();
    let takes = |action: &Action| matches!(action, Action::WriteClusterStatus(status) if !status.operations.is_empty());
    assert!(taking.place(takes).is_some() && taking.starts().is_empty());
    let begins = world.stride().decide();
    assert_eq!(
        (begins.phases(), begins.starts()),
        (vec![InProgress], vec![Stop::No])
    );
    let written = begins.place(|action| matches!(action, Action::WriteOperationStatus { .. }));
    let started = begins.place(|action| matches!(action, Action::StartWork { .. }));
    assert!(written < started, "{begins:#?}");
}

type End = for<'a> fn(&'a mut World, &str) -> &'a mut World;

#[test]
fn the_lock_is_free_again_once_its_holder_has_ended_or_is_no_more() {
    let ends: [End; 4] = [
        |world, _| world.unguard().settle(),
        |world, _| world.fail().settle(),
        |world, upgrade| world.abort(upgrade, "stop").settle(),
        |world, upgrade| {
            let operation = ObjectId::Operation(upgrade.into());
            // The API server is asked first.
            world.delete_by_force(&operation).stride().stride()
        },
    ];
    for end in ends {
        let (mut world, upgrade) = blocked_upgrade();
        assert_eq!(world.lock(), [upgrade.as_str()]);
        end(&mut world, &upgrade);
        assert!(!world.lock().contains(&upgrade));
    }
}

#[test]
fn an_operation_that_the_spec_no_longer_asks_for_is_replaced_before_it_begins() {
    let mut world = World::settled();
    world.set_version("1.36.4").stride().set_version(NEW);
    let first = world.unfinished().remove(0);
    world.settle();
    assert_eq!(world.phase(&first), Canceled);
    assert_eq!(world.versions("np1"), [NEW, NEW], "and holds nothing back");
}

#[test]
fn progress_is_told_and_never_goes_back() {
    let (mut world, upgrade) = blocked_upgrade();
    let status = world.status(&upgrade);
    let blocked = status.blocked.expect("it is blocked");
    assert_eq!(blocked.reason, "PodDisruptionBudget");
    assert!((1..100).contains(&status.percent_complete));
    // A node that was made is lost: its pool is further from the goal than it was.
    world.lose_node("np1").restart().stride().work().stride();
    assert!(world.status(&upgrade).percent_complete >= status.percent_complete);
    world.unguard().settle();
    assert_eq!(world.status(&upgrade).percent_complete, 100);
    assert!(world.status(&upgrade).blocked.is_none());
}

#[test]
fn percent_stays_where_a_provider_takes_a_step_back() {
    let (world, upgrade) = blocked_upgrade();
    let before = world.status(&upgrade);
    let taken_back = before.steps.iter().map(|step| StepReport {
        name: step.name.clone(),
        phase: StepPhase::Pending,
        message: String::new(),
        ..StepReport::default()
    });
    let progress = Progress {
        steps: taken_back.collect(),
        blocked: None,
        ..Progress::default()
    };
    let mut snapshot = world.snapshot();
    let uid = world.uid(&upgrade);
    snapshot.work.insert(uid, Work::Running(progress, Stop::No));
    let now = before.start_time.expect("it began").0;
    let written = decide(&snapshot, now)
        .into_iter()
        .find_map(|action| match action {
            Action::WriteOperationStatus { status, .. } => Some(status),
            _ => None,
        });
    let after = written.expect("the step is told");
    assert_ne!(after.steps, before.steps);
    assert_eq!(after.percent_complete, before.percent_complete);
}

#[test]
fn a_status_is_of_the_generation_that_it_was_made_from() {
    let mut world = World::settled();
    world.set_version(NEW).set_count("np1", 3).stride();
    assert_eq!(world.cluster_status().observed_generation, Some(2));
    assert_eq!(world.pool_status("np1").observed_generation, Some(2));
    let upgrade = world.begin(Upgrade);
    assert_eq!(world.status(&upgrade).observed_generation, Some(1));
}

#[test]
fn conditions_tell_of_an_operation_what_its_phase_is() {
    let ready = ["True", "False", "False", "True"];
    let stalled = ["False", "False", "True", "False"];
    let going_on = ["False", "True", "False", "Unknown"];
    let (mut world, upgrade) = blocked_upgrade();
    let check = |world: &World, name: &str, phase, expected: [&str; 4], why: &str| {
        let status = world.status(name);
        assert_eq!(status.phase, phase);
        for (type_, expected) in ["Ready", "Reconciling", "Stalled", "Succeeded"]
            .iter()
            .zip(expected)
        {
            assert_eq!(
                condition(&status.conditions, type_),
                (expected, why),
                "{type_}"
            );
        }
    };
    check(&world, &upgrade, InProgress, going_on, "OperationBlocked");
    world.abort(&upgrade, "stop").stride();
    check(&world, &upgrade, Canceling, going_on, "OperationCanceling");
    world.settle();
    check(&world, &upgrade, Canceled, stalled, "OperationCanceled");
    let (world, upgrade) = failed_upgrade();
    check(&world, &upgrade, Failed, stalled, "OperationFailed");
    let mut world = World::settled();
    world.set_count("np1", 3).stride().stride();
    let scale = world.unfinished().remove(0);
    check(&world, &scale, Pending, going_on, "OperationPending");
    world.stride();
    check(&world, &scale, InProgress, going_on, "OperationInProgress");
    world.settle();
    check(&world, &scale, Succeeded, ready, "OperationSucceeded");
}

#[test]
fn a_target_tells_what_is_done_to_it_and_how_it_ended() {
    use ProvisioningState as State;
    let (mut world, upgrade) = blocked_upgrade();
    let told = |world: &World| {
        let (cluster, pool) = (world.cluster_status(), world.pool_status("np1"));
        let of_pool = match cluster.provisioning_state {
            // How the last operation on the pool itself ended.
            Some(State::Canceled | State::Failed) => Some(State::Succeeded),
            state => state,
        };
        assert_eq!(pool.provisioning_state, of_pool);
        for type_ in ["Ready", "Reconciling", "Stalled"] {
            let of_pool = condition(&pool.conditions, type_).0;
            assert_eq!(condition(&cluster.conditions, type_).0, of_pool, "{type_}");
        }
        let holds = |type_| condition(&pool.conditions, type_).0 == "True";
        let standing = ["Ready", "Reconciling", "Stalled"].map(holds);
        (cluster.provisioning_state.expect("a state"), standing)
    };
    let (ready, on_its_way, stalled) = (
        [true, false, false],
        [false, true, false],
        [false, false, true],
    );
    assert_eq!(told(&World::settled()), (State::Succeeded, ready));
    assert_eq!(told(&world), (State::Upgrading, on_its_way));
    world.abort(&upgrade, "stop").stride();
    assert_eq!(told(&world), (State::Canceling, on_its_way));
    world.settle();
    assert_eq!(told(&world), (State::Canceled, stalled));
    assert_eq!(told(&failed_upgrade().0), (State::Failed, stalled));
}

#[test]
fn work_that_a_restart_lost_is_started_again() {
    let (mut world, upgrade) = blocked_upgrade();
    world.restart();
    assert_eq!(world.decide().starts(), [Stop::No]);
    world.stride().unguard().settle();
    assert_eq!(world.phase(&upgrade), Succeeded);
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn the_operation_of_a_thousand_nodes_stays_under_100_kib() {
    let mut world = World::settled();
    world.create_pool("large", 1000).settle();
    world.set_version(NEW);
    let upgrade = world.begin(Upgrade);
    let size = |world: &World| {
        let status = serde_json::to_string(&world.status(&upgrade)).expect("a status");
        status.len()
    };
    let mut largest = size(&world);
    for _ in 0..60 {
        world.stride().work();
        largest = largest.max(size(&world));
    }
    assert!(largest < 100 * 1024, "{largest} bytes");
    let steps = world.status(&upgrade).steps;
    let rest = steps.iter().find(|step| step.name == "agentpool/large");
    assert_eq!(rest.expect("one step for the rest").nodes, Some(800));
}

#[test]
fn a_spec_that_goes_too_far_fails_and_is_left_alone() {
    let mut world = World::settled();
    world.set_version("1.39.0").settle();
    let last = world.cluster_status().last_operation.expect("an operation");
    assert_eq!(last.phase, Failed);
    assert!(
        last.message.contains("one minor version at a time"),
        "{}",
        last.message
    );
    assert_eq!(world.versions("np1"), [OLD, OLD]);
    world.set_version(NEW).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn a_pool_tells_why_it_can_t_be_scaled_now() {
    let refusal = |world: &World| world.pool_status("np1").scale_refusal;
    let (mut world, upgrade) = blocked_upgrade();
    let expected = format!("Another operation ({upgrade}) is in progress");
    assert!(refusal(&world).is_some_and(|told| told.contains(&expected)));
    world.set_policy(ConcurrencyPolicy::Queue).stride();
    assert_eq!(refusal(&world), None, "a change waits for its turn");

    let mut world = World::settled();
    assert_eq!(refusal(&world), None);
    world.set_count("np1", 4);
    let scale = world.begin(Scale);
    let expected = format!("Another agentpool operation ({scale}) is in progress");
    assert!(refusal(&world).is_some_and(|told| told.contains(&expected)));

    let mut world = World::settled();
    world.delete(&ObjectId::Cluster).stride();
    let told = refusal(&world).expect("a refusal");
    assert!(
        told.contains("'np1' since deletion was issued on 'demo'"),
        "{told}"
    );
}

#[test]
fn of_system_pools_that_are_deleted_at_once_one_stays_until_there_is_another() {
    let pool_id = |name: &str| ObjectId::Pool(name.into());
    let mut world = World::settled().with_pool("sys1", 1).with_pool("sys2", 1);
    world.make_system("sys1").make_system("sys2").settle();
    world
        .delete(&pool_id("sys1"))
        .delete(&pool_id("sys2"))
        .settle();
    assert_eq!(world.pools().collect::<Vec<_>>(), ["np1", "sys2"]);
    assert_eq!(world.versions("sys2"), [OLD], "its node is there");
    let conditions = world.pool_status("sys2").conditions;
    let is_told = |condition: &Condition| {
        condition
            .message
            .starts_with("AgentPool sys2 is the last System pool")
    };
    assert!(conditions.iter().any(is_told), "{conditions:?}");
    world.create_pool("sys3", 1).make_system("sys3").settle();
    assert_eq!(world.pools().collect::<Vec<_>>(), ["np1", "sys3"]);
    // With its cluster the last one may go.
    world.delete(&pool_id("sys3")).settle();
    world.delete(&ObjectId::Cluster).settle();
    assert!(world.is_gone());
}
