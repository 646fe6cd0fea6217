//! Tests that the output stays the same at each width.

pub mod fixtures;
mod windows;

use insta::assert_snapshot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{AbortPolicy, Operation},
    cli::{
        cluster::view::View,
        command::{
            abort::{AbortKind, Stop, left_behind, preview_text},
            force,
            operation::{self, record},
            why::{Facts, Subject, explain, in_the_way::InTheWay},
        },
        display::cluster_text,
        terminal::look::Look,
    },
};

/// The widths that the output is made for, in columns.
const WIDTHS: [usize; 3] = [60, 80, 120];

/// Returns the output at each width. Checks that no line is too long, except lines with commands that can be typed.
pub fn at_each_width(show: impl Fn(&Look) -> String) -> String {
    let at = |width: usize| {
        let text = show(&fixtures::wide(width));
        for line in text.lines().filter(|line| !line.contains("kubectl ")) {
            let is = console::measure_text_width(line);
            assert!(is <= width, "{is} columns of {width}: {line}");
        }
        format!("{}\n{text}\n", "-".repeat(width))
    };
    WIDTHS.map(at).join("\n")
}

/// Returns the output of `status` at each width.
fn status(view: &View) -> String {
    at_each_width(|look| cluster_text::all(view, look, fixtures::now()))
}

/// Returns the output of `why` at each width.
fn why(facts: &Facts) -> String {
    at_each_width(|look| explain(facts, look, fixtures::now()))
}

#[test]
fn status_of_a_hanging_upgrade() {
    let view = fixtures::hanging();
    assert_snapshot!(status(&view));
}

#[test]
fn status_after_a_refused_abort() {
    let view = fixtures::refused();
    assert_snapshot!(status(&view));
}

#[test]
fn why_goes_on_what_could_not_be_aborted() {
    let view = fixtures::refused();
    let operation = view.operations.first().cloned();
    // Only EKS refuses an abort like this, and it drains the nodes itself.
    let facts = Facts {
        can_force: false,
        ..facts(view, operation, Some(fixtures::in_the_way()))
    };
    assert_snapshot!(explain(&facts, &fixtures::wide(80), fixtures::now()));
}

#[test]
fn status_in_a_pipe_has_no_bar_and_breaks_no_line() {
    let view = fixtures::hanging();
    assert_snapshot!(cluster_text::all(&view, &Look::default(), fixtures::now()));
}

#[test]
fn status_after_an_abort() {
    let view = fixtures::canceled();
    assert_snapshot!(status(&view));
}

#[test]
fn what_an_abort_of_a_hanging_upgrade_leaves_behind() {
    let view = fixtures::hanging();
    assert_snapshot!(at_each_width(|look| preview(
        &view.operations[0],
        AbortPolicy::Now,
        look
    )));
}

#[test]
fn what_an_abort_after_the_step_leaves_behind() {
    let view = fixtures::hanging();
    let look = fixtures::wide(80);
    assert_snapshot!(preview(&view.operations[0], AbortPolicy::AfterStep, &look));
}

#[test]
fn what_an_abort_leaves_behind_follows_from_the_step_in_process() {
    let step = |name: &str, action: &str, message: &str| json!({"name": name, "action": action, "phase": "InProgress", "message": message});
    let waits = "waiting for its replacement demo-np1-new to be Ready";
    let cases = [
        ("Upgrade", step("control-plane", "Upgrade", "")),
        ("Rollback", step("control-plane", "Upgrade", "")),
        ("Upgrade", step("node/demo-np1-a", "Replace", waits)),
        (
            "Create",
            step(
                "node/demo-np1-a",
                "Create",
                "waiting for the node to be Ready",
            ),
        ),
        (
            "Scale",
            step("node/demo-np1-a", "Delete", "draining: 2 pods left"),
        ),
        ("Update", step("node/demo-np1-a", "Update", "")),
        (
            "Upgrade",
            json!({"name": "agentpool/demo-np1", "action": "Replace", "phase": "InProgress", "nodes": 300, "nodesDone": 41}),
        ),
    ];
    let sentences = cases.map(|(type_, step)| {
        let operation = fixtures::operation_at(type_, &step);
        let facts = left_behind::Facts {
            operation: &operation,
            control_plane: Some("1.35.7"),
            pools: &[],
            policy: AbortPolicy::Now,
            is_eks: false,
        };
        left_behind::sentences(&facts).join("\n")
    });
    assert_snapshot!(sentences.join("\n"));
}

fn preview(operation: &Operation, policy: AbortPolicy, look: &Look) -> String {
    let request = Stop {
        kind: AbortKind::Operation,
        name: operation.name_any(),
        reason: "stuck on a PDB".into(),
        policy,
        wait: None,
        yes: false,
        dry_run: None,
    };
    preview_text(operation, Some(&fixtures::hanging()), &request, look)
}

/// A cluster whose upgrade was paused.
fn paused() -> View {
    let mut view = fixtures::canceled();
    let uid = Some("u1".to_owned());
    let reason = "paused: lunch";
    let status = view.cluster.status.as_mut().expect("a status");
    let hold = status.hold.as_mut().expect("a hold");
    hold.message = format!("canceled: {reason}");
    hold.operation.uid = uid.clone().expect("a uid");
    hold.since = Some("2026-11-24T21:15:00Z".parse().map(Time).expect("a time"));
    let last = status.last_operation.as_mut().expect("an operation");
    last.message = format!("canceled: {reason}");
    View::new(view.cluster, view.pools, [fixtures::canceled_upgrade()])
}

#[test]
fn status_of_a_paused_upgrade_says_how_much_is_left() {
    let view = paused();
    assert_snapshot!(status(&view));
}

#[test]
fn why_an_upgrade_is_paused() {
    let view = paused();
    let facts = facts(view, None, None);
    assert_snapshot!(why(&facts));
}

#[test]
fn status_shows_quarantined_nodes() {
    let view = fixtures::quarantined();
    assert_snapshot!(status(&view));
}

#[test]
fn why_says_what_keeps_nodes_quarantined() {
    let facts = facts(fixtures::quarantined(), None, None);
    assert_snapshot!(why(&facts));
}

#[test]
fn the_preview_says_that_eks_will_refuse_the_abort() {
    let refusal = |type_: &str, policy: AbortPolicy| {
        let step = json!({"name": "control-plane", "action": "Upgrade", "phase": "InProgress"});
        left_behind::refusal(&left_behind::Facts {
            operation: &fixtures::operation_at(type_, &step),
            control_plane: Some("1.35.7"),
            pools: &[],
            policy,
            is_eks: true,
        })
    };
    let why = refusal("Upgrade", AbortPolicy::Now).expect("a refusal");
    assert!(
        why.contains("EKS can't stop the step in progress (control-plane)"),
        "{why}"
    );
    assert!(why.contains("--after-step"), "{why}");
    assert_eq!(refusal("Upgrade", AbortPolicy::AfterStep), None);
    assert_eq!(refusal("Rollback", AbortPolicy::Now), None);
}

fn facts(view: View, operation: Option<Operation>, in_the_way: Option<InTheWay>) -> Facts {
    Facts {
        subject: Subject::Cluster(Box::new(view.cluster)),
        operation,
        in_the_way,
        pools: view.pools,
        lock: Vec::new(),
        windows: Vec::new(),
        can_force: true,
    }
}

#[test]
fn why_an_upgrade_hangs() {
    let view = fixtures::hanging();
    let operation = view.operations.first().cloned();
    let facts = facts(view, operation, Some(fixtures::in_the_way()));
    assert_snapshot!(why(&facts));
}

#[test]
fn an_upgrade_that_will_hang() {
    let view = fixtures::foreseen();
    let operation = view.operations.first().cloned();
    let status = status(&view);
    let facts = facts(view.clone(), operation, None);
    let why = why(&facts);
    assert_snapshot!(format!("{status}\n{why}"));
}

#[test]
fn why_an_upgrade_hangs_on_pods_that_are_not_healthy() {
    let view = fixtures::hanging();
    let operation = view.operations.first().cloned();
    let mut in_the_way = fixtures::in_the_way();
    let budget = in_the_way
        .budget
        .as_mut()
        .and_then(|budget| budget.status.as_mut());
    budget.expect("a status").current_healthy = Some(2);
    let facts = facts(view, operation, Some(in_the_way));
    assert_snapshot!(explain(&facts, &fixtures::wide(80), fixtures::now()));
}

#[test]
fn why_a_cluster_is_left_alone() {
    let facts = facts(fixtures::canceled(), None, None);
    assert_snapshot!(why(&facts));
}

#[test]
fn why_nothing_happens_where_no_operator_runs() {
    let view = View::new(fixtures::unobserved(), Vec::new(), Vec::new());
    let facts = facts(view, None, None);
    assert_snapshot!(explain(&facts, &fixtures::wide(80), fixtures::now()));
}

#[test]
fn why_an_operation_was_canceled() {
    let operation = fixtures::canceled_upgrade();
    let facts = Facts {
        subject: Subject::Operation(Box::new(operation.clone())),
        operation: Some(operation),
        in_the_way: None,
        pools: Vec::new(),
        lock: Vec::new(),
        windows: Vec::new(),
        can_force: true,
    };
    assert_snapshot!(explain(&facts, &fixtures::wide(80), fixtures::now()));
}

#[test]
fn why_an_operation_waits() {
    let mut waits = fixtures::hanging_upgrade();
    waits.status = None;
    waits.metadata.name = Some("demo-stop-7xk2p".into());
    waits.spec.type_ = crate::api::OperationType::Stop;
    waits.spec.kubernetes_version = None;
    let lock = fixtures::hanging()
        .cluster
        .status
        .expect("a status")
        .operations;
    let why = |lock| {
        let facts = Facts {
            subject: Subject::Operation(Box::new(waits.clone())),
            operation: Some(waits.clone()),
            in_the_way: None,
            pools: Vec::new(),
            lock,
            windows: Vec::new(),
            can_force: false,
        };
        explain(&facts, &fixtures::wide(80), fixtures::now())
    };
    assert_snapshot!([why(lock), why(Vec::new())].join("\n\n"));
}

#[test]
fn operations_in_a_list() {
    let operations = [fixtures::hanging_upgrade(), fixtures::canceled_upgrade()];
    assert_snapshot!(at_each_width(|look| {
        operation::table(&operations, false, true, look, fixtures::now())
    }));
}

#[test]
fn an_operation_with_its_steps() {
    let operation = fixtures::canceled_upgrade();
    assert_snapshot!(at_each_width(|look| operation::text_of(
        &operation,
        look,
        fixtures::now()
    )));
}

#[test]
fn an_operation_with_what_it_left_behind() {
    let mut operation = fixtures::canceled_upgrade();
    let status = operation.status.as_mut().expect("a status");
    status.steps.truncate(1);
    let cancellation = status.cancellation.as_mut().expect("a cancellation");
    cancellation.left_behind = vec![crate::api::ErrorDetail {
        code: "LeftBehind".into(),
        message: "failed to uncordon node demo-np1-d2cp5: nodes \"demo-np1-d2cp5\" is forbidden: policy no-changes denied request: not now".into(),
        target: "node/demo-np1-d2cp5".into(),
    }];
    assert_snapshot!(at_each_width(|look| operation::text_of(
        &operation,
        look,
        fixtures::now()
    )));
}

#[test]
fn an_operations_record_has_the_fields_that_the_clouds_tools_have() {
    let record = record::Record::from(&fixtures::canceled_upgrade());
    assert_snapshot!(serde_json::to_string_pretty(&record).expect("JSON"));
}

#[test]
fn why_an_abort_that_lets_the_step_finish_takes_long() {
    let mut operation = fixtures::hanging_upgrade();
    let status = operation.status.as_mut().expect("a status");
    status.phase = crate::api::OperationPhase::Canceling;
    let facts = Facts {
        subject: Subject::Operation(Box::new(operation.clone())),
        operation: Some(operation),
        in_the_way: Some(fixtures::in_the_way()),
        pools: Vec::new(),
        lock: Vec::new(),
        windows: Vec::new(),
        can_force: true,
    };
    assert_snapshot!(explain(&facts, &fixtures::wide(80), fixtures::now()));
}

#[test]
fn what_a_force_passes_over() {
    let until = "2026-11-24T21:45:00Z".parse().expect("a time");
    let passed = |budget: &str, pods: &[&str]| force::Passed {
        budget: budget.into(),
        pods: pods.iter().map(|pod| (*pod).to_owned()).collect(),
    };
    let passed = Ok(vec![
        passed("default/web", &["default/web-0", "default/web-1"]),
        passed("shop/db", &["shop/db-0"]),
    ]);
    let operation = fixtures::hanging_upgrade();
    assert_snapshot!(at_each_width(|look| force::preview(
        &operation, &passed, until, look
    )));
    let none = force::preview(&operation, &Ok(Vec::new()), until, &fixtures::wide(80));
    assert!(none.contains("every budget allows the evictions"), "{none}");
}

#[test]
fn an_operation_that_is_forced() {
    let operation = fixtures::forced_upgrade();
    let look = fixtures::wide(80);
    let view = View {
        operations: vec![operation.clone()],
        ..fixtures::hanging()
    };
    let facts = facts(
        view.clone(),
        Some(operation.clone()),
        Some(fixtures::in_the_way()),
    );
    assert_snapshot!(
        [
            cluster_text::all(&view, &look, fixtures::now()),
            operation::text_of(&operation, &look, fixtures::now()),
            explain(&facts, &look, fixtures::now()),
        ]
        .join("\n----\n")
    );
}
