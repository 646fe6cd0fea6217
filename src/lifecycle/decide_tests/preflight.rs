//! What will be in the way is reported once, when an operation begins.

use crate::{
    api::{OperationPhase, OperationStatus},
    lifecycle::{
        action::Action,
        decide::decide,
        fixtures::World,
        preflight::{Finding, FindingKind, PREFLIGHT, Preflight},
        snapshot::{Progress, Stop, Work},
    },
};

use super::blocked_upgrade;

fn found(message: &str) -> Preflight {
    Preflight {
        findings: vec![Finding {
            reason: FindingKind::BudgetNeverAllows,
            message: message.into(),
            help: "kubectl get pdb".into(),
        }],
        unseen: Vec::new(),
    }
}

/// Returns what is done once the work of an upgrade reports what will be in the way.
fn reported(world: &World, upgrade: &str, preflight: Preflight) -> Vec<Action> {
    let mut snapshot = world.snapshot();
    let blocked = world.status(upgrade).blocked;
    let progress = Progress {
        blocked: blocked.map(|blocked| (blocked.reason, blocked.message)),
        preflight: Some(preflight),
        ..Progress::default()
    };
    let work = Work::Running(progress, Stop::No);
    snapshot.work.insert(world.uid(upgrade), work);
    let now = world.status(upgrade).start_time.expect("it began").0;
    decide(&snapshot, now)
}

fn written(actions: &[Action]) -> Option<&OperationStatus> {
    actions.iter().find_map(|action| match action {
        Action::WriteOperationStatus { status, .. } => Some(status.as_ref()),
        _ => None,
    })
}

fn warnings(actions: &[Action]) -> Vec<&str> {
    let notes = actions.iter().filter_map(|action| match action {
        Action::Publish(note) if note.warning => Some(note.reason),
        _ => None,
    });
    notes.collect()
}

#[test]
fn a_finding_becomes_a_condition_and_a_warning_and_the_operation_goes_on() {
    let (world, upgrade) = blocked_upgrade();
    let actions = reported(&world, &upgrade, found("a budget is in the way"));
    let status = written(&actions).expect("a write");
    let mut conditions = status.conditions.iter();
    let condition = conditions.find(|it| it.type_ == PREFLIGHT);
    let condition = condition.expect("the condition");
    assert_eq!(
        (&*condition.status, &*condition.reason),
        ("False", "BudgetsInTheWay")
    );
    assert_eq!(
        condition.message,
        "a budget is in the way (`kubectl get pdb`)"
    );
    assert_eq!(status.phase, OperationPhase::InProgress);
    assert_eq!(warnings(&actions), [PREFLIGHT]);
}

#[test]
fn nothing_in_the_way_is_a_condition_without_a_warning() {
    let (world, upgrade) = blocked_upgrade();
    let actions = reported(&world, &upgrade, Preflight::default());
    let status = written(&actions).expect("a write");
    let is_clear = |it: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        it.type_ == PREFLIGHT && it.status == "True"
    };
    assert!(status.conditions.iter().any(is_clear));
    assert_eq!(warnings(&actions), [""; 0]);
}

#[test]
fn the_condition_is_written_once_and_the_work_knows_it_after_a_restart() {
    let (world, upgrade) = blocked_upgrade();
    let first = reported(&world, &upgrade, found("a budget is in the way"));
    let status = written(&first).expect("a write").clone();
    let mut snapshot = world.snapshot();
    let at = snapshot
        .operations
        .iter()
        .position(|it| it.metadata.name.as_deref() == Some(&*upgrade));
    let operation = std::sync::Arc::make_mut(&mut snapshot.operations[at.expect("the upgrade")]);
    operation.status = Some(status.clone());
    let progress = Progress {
        blocked: status.blocked.clone().map(|it| (it.reason, it.message)),
        preflight: Some(found("another budget")),
        ..Progress::default()
    };
    let (uid, now) = (
        world.uid(&upgrade),
        status.start_time.clone().expect("a time").0,
    );
    snapshot
        .work
        .insert(uid.clone(), Work::Running(progress, Stop::No));
    assert_eq!(written(&decide(&snapshot, now)), None, "it is written once");
    snapshot.work.remove(&uid);
    let started = decide(&snapshot, now)
        .into_iter()
        .find_map(|action| match action {
            Action::StartWork { job, .. } => Some(job.has_preflight),
            _ => None,
        });
    assert_eq!(started, Some(true));
}
