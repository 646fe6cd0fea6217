//! What statuses and conditions report.

use crate::{
    api::{
        ConcurrencyPolicy,
        OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending, Succeeded},
        OperationType::{Scale, Upgrade},
        ProvisioningState, StepPhase,
    },
    lifecycle::{
        action::Action,
        decide::decide,
        fixtures::{NEW, World, condition},
        snapshot::{ObjectId, Progress, StepReport, Stop, Work},
    },
};

use super::{blocked_upgrade, failed_upgrade};

#[test]
fn progress_is_reported_and_never_decreases() {
    let (mut world, upgrade) = blocked_upgrade();
    let status = world.status(&upgrade);
    let blocked = status.blocked.expect("it is blocked");
    assert_eq!(blocked.reason, "PodDisruptionBudget");
    assert!((1..100).contains(&status.percent_complete));
    // A new node is lost, so its pool is further from the goal than before.
    world.lose_node("np1").restart().stride().work().stride();
    assert!(world.status(&upgrade).percent_complete >= status.percent_complete);
    world.unguard().settle();
    assert_eq!(world.status(&upgrade).percent_complete, 100);
    assert!(world.status(&upgrade).blocked.is_none());
}

#[test]
fn the_percentage_does_not_decrease_if_a_provider_reports_less() {
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
    let after = written.expect("the step is reported");
    assert_ne!(after.steps, before.steps);
    assert_eq!(after.percent_complete, before.percent_complete);
}

#[test]
fn a_status_names_the_generation_that_it_was_computed_from() {
    let mut world = World::settled();
    world.set_version(NEW).set_count("np1", 3).stride();
    assert_eq!(world.cluster_status().observed_generation, Some(2));
    assert_eq!(world.pool_status("np1").observed_generation, Some(2));
    let upgrade = world.begin(Upgrade);
    assert_eq!(world.status(&upgrade).observed_generation, Some(1));
}

#[test]
fn the_conditions_of_an_operation_follow_its_phase() {
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
fn a_target_reports_its_operation_and_how_it_ended() {
    use ProvisioningState as State;
    let (mut world, upgrade) = blocked_upgrade();
    let reported = |world: &World| {
        let (cluster, pool) = (world.cluster_status(), world.pool_status("np1"));
        let of_pool = match cluster.provisioning_state {
            // The pool shows how the last operation on the pool itself ended.
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
    assert_eq!(reported(&World::settled()), (State::Succeeded, ready));
    assert_eq!(reported(&world), (State::Upgrading, on_its_way));
    world.abort(&upgrade, "stop").stride();
    assert_eq!(reported(&world), (State::Canceling, on_its_way));
    world.settle();
    assert_eq!(reported(&world), (State::Canceled, stalled));
    assert_eq!(reported(&failed_upgrade().0), (State::Failed, stalled));
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
fn a_pool_reports_why_it_cannot_be_scaled_now() {
    let refusal = |world: &World| world.pool_status("np1").scale_refusal;
    let (mut world, upgrade) = blocked_upgrade();
    let expected = format!("Another operation ({upgrade}) is in progress");
    assert!(refusal(&world).is_some_and(|reported| reported.contains(&expected)));
    world.set_policy(ConcurrencyPolicy::Queue).stride();
    assert_eq!(refusal(&world), None, "a change waits for its turn");

    let mut world = World::settled();
    assert_eq!(refusal(&world), None);
    world.set_count("np1", 4);
    let scale = world.begin(Scale);
    let expected = format!("Another agentpool operation ({scale}) is in progress");
    assert!(refusal(&world).is_some_and(|reported| reported.contains(&expected)));

    let mut world = World::settled();
    world.delete(&ObjectId::Cluster).stride();
    let reported = refusal(&world).expect("a refusal");
    assert!(
        reported.contains("'np1' since deletion was issued on 'demo'"),
        "{reported}"
    );
}
