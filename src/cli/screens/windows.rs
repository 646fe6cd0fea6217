//! Tests of the output about what waits for a maintenance window.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    api::{MaintenanceWindow, Operation, OperationPhase},
    cli::{
        cluster::view::View,
        command::why::{Facts, Subject},
        display::progress,
    },
};

use super::{fixtures, status};

const WAITS: &str = "waits for the window that opens at 2026-11-28T21:00:00Z";

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn windows() -> Vec<MaintenanceWindow> {
    from(json!([
        {"days": ["Saturday", "Sunday"], "start": "22:00", "duration": "4h", "timeZone": "Europe/Berlin"},
        {"start": "01:00", "duration": "1h30m"},
    ]))
}

fn conditions(status: &str, message: &str) -> Value {
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": "WaitsForWindow", "message": message,
            "lastTransitionTime": "2026-11-24T21:11:29Z"})
    };
    json!([condition("Ready", status), condition("Stalled", "False")])
}

/// An upgrade that waits for a window.
fn waiting_upgrade() -> Operation {
    let mut operation = json!(fixtures::hanging_upgrade());
    operation["status"] = json!({"phase": "Pending", "conditions": conditions("False", WAITS)});
    from(operation)
}

/// A cluster whose new version waits for a window.
fn waiting() -> View {
    let message = format!("the control plane runs 1.35.7; the change to 1.36.3 {WAITS}");
    let conditions = conditions("True", &message);
    let runs = json!({"kubernetesVersion": "1.35.7"});
    View::new(
        fixtures::cluster("Succeeded", &conditions, &runs),
        Vec::new(),
        [waiting_upgrade()],
    )
}

/// A cluster whose upgrade was paused because its window closed.
fn paused() -> View {
    let message = format!(
        "the control plane runs 1.36.3; Operation demo-upgrade-mqxdz was paused when its maintenance window closed, and the rest of it {WAITS}"
    );
    let conditions = conditions("True", &message);
    let reason = "canceled: paused: the maintenance window closed";
    let hold = json!({"operation": {"name": "demo-upgrade-mqxdz", "uid": "u1"}, "phase": "Canceled", "message": reason,
        "target": {"kind": "ManagedCluster", "name": "demo"}, "since": "2026-11-24T21:15:00Z",
        "aspects": ["Version"], "untilWindow": ["Version"]});
    let mut operation = json!(fixtures::canceled_upgrade());
    operation["status"]["phase"] = json!(OperationPhase::Canceled);
    View::new(
        fixtures::cluster("Canceled", &conditions, &json!({"hold": hold})),
        Vec::new(),
        [from(operation)],
    )
}

fn why(subject: Subject, operation: Option<Operation>) -> String {
    let facts = Facts {
        subject,
        operation,
        in_the_way: None,
        pools: Vec::new(),
        lock: Vec::new(),
        windows: windows(),
        can_force: false,
    };
    super::why(&facts)
}

#[test]
fn a_cluster_whose_new_version_waits() {
    let view = waiting();
    assert_snapshot!(status(&view));
}

#[test]
fn a_cluster_that_its_window_paused() {
    let view = paused();
    assert_snapshot!(status(&view));
}

#[test]
fn why_a_new_version_waits() {
    let cluster = Subject::Cluster(Box::new(waiting().cluster));
    assert_snapshot!(why(cluster, Some(waiting_upgrade())));
}

#[test]
fn why_an_upgrade_was_paused_by_its_window() {
    let cluster = Subject::Cluster(Box::new(paused().cluster));
    assert_snapshot!(why(cluster, None));
}

#[test]
fn a_line_of_an_operation_says_which_window_it_waits_for() {
    let line = progress::line(&waiting_upgrade());
    assert!(line.ends_with(WAITS), "{line}");
}
