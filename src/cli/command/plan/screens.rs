//! Tests that the output for a plan stays the same at each width.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    api::Operation,
    cli::{
        cluster::manifests::Manifest,
        command::check::{self, Checked},
        screens::at_each_width,
    },
    lifecycle::{
        Finding, FindingKind, Preflight,
        forecast::{Foreseen, Part},
    },
};

use super::{
    dry_run::{Effect, Ours, Tried},
    outlook::Outlook,
    report::Report,
    text,
};

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

fn manifest(kind: &str, name: &str, document: usize) -> Manifest {
    Manifest {
        place: format!("pools.yaml, document {document}"),
        object: json!({"kind": kind, "metadata": {"name": name}}),
    }
}

fn tried(kind: &str, name: &str, document: usize, result: Result<(Effect, Ours), String>) -> Tried {
    Tried {
        manifest: manifest(kind, name, document),
        namespace: "default".into(),
        result,
    }
}

fn cluster(effect: Effect) -> Tried {
    let spec = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {}}});
    let object = Ours::Cluster(from(json!({"metadata": {"name": "demo"}, "spec": spec})));
    tried("ManagedCluster", "demo", 1, Ok((effect, object)))
}

fn pool(name: &str, effect: Effect) -> Tried {
    let spec = json!({"clusterName": "demo", "count": 3});
    let object = Ours::Pool(from(json!({"metadata": {"name": name}, "spec": spec})));
    tried("AgentPool", name, 2, Ok((effect, object)))
}

fn steps(pool: Option<&str>, steps: &[(&str, &str)]) -> Part {
    let step = |(action, message): &(&str, &str)| {
        from(json!({"name": "x", "action": action, "phase": "Pending", "message": message}))
    };
    Part {
        pool: pool.map(Into::into),
        steps: steps.iter().map(step).collect(),
        drained: Vec::new(),
        most_nodes: 0,
    }
}

fn foreseen(name: &str, turn: Option<usize>, spec: &Value, status: &Value) -> Foreseen {
    let metadata = json!({"name": name, "uid": name});
    let operation: Operation = from(json!({"metadata": metadata, "spec": spec, "status": status}));
    Foreseen {
        operation,
        turn,
        window: None,
        is_new: turn != Some(0),
        parts: Vec::new(),
    }
}

fn outlook(operations: Vec<Foreseen>, notes: &[&str]) -> Outlook {
    Outlook {
        namespace: "default".into(),
        cluster: "demo".into(),
        operations,
        notes: notes.iter().map(|&note| note.to_owned()).collect(),
        preflight: Preflight::default(),
    }
}

fn upgrade(name: &str, turn: usize, status: &Value) -> Foreseen {
    let target = json!({"kind": "ManagedCluster", "name": "demo"});
    let spec = json!({"type": "Upgrade", "target": target, "kubernetesVersion": "1.36.3"});
    foreseen(name, Some(turn), &spec, status)
}

fn scale(turn: Option<usize>) -> Foreseen {
    let target = json!({"kind": "AgentPool", "name": "demo-np1"});
    let spec = json!({"type": "Scale", "target": target, "count": 5});
    Foreseen {
        parts: vec![steps(Some("demo-np1"), &[("Create", ""), ("Create", "")])],
        ..foreseen(
            "demo-np1-scale-4x9wq",
            turn,
            &spec,
            &json!({"phase": "Succeeded"}),
        )
    }
}

fn shown(tried: &[Tried], outlooks: &[Outlook], others: &[Manifest]) -> String {
    let report = Report::new(tried, outlooks, others);
    at_each_width(|look| text::of(&report, look))
}

#[test]
fn a_plan_of_an_upgrade_that_waits_for_a_window() {
    let opens = "2026-11-28T21:00:00Z".parse().ok();
    let upgrade = Foreseen {
        parts: vec![steps(None, &[("Upgrade", "1.35.7 to 1.36.3")])],
        window: opens,
        ..upgrade("demo-upgrade-mqxdz", 2, &json!({"phase": "Succeeded"}))
    };
    let outlooks = [outlook(vec![scale(Some(1)), upgrade], &[])];
    assert_snapshot!(shown(&[cluster(Effect::Changed)], &outlooks, &[]));
}

#[test]
fn a_plan_of_an_upgrade() {
    let parts = vec![
        steps(None, &[("Upgrade", "1.35.7 to 1.36.3")]),
        steps(Some("demo-system"), &[("Replace", ""); 2]),
        steps(
            Some("demo-np1"),
            &[("Delete", ""), ("Replace", ""), ("Replace", "")],
        ),
    ];
    let upgrade = Foreseen {
        parts,
        ..upgrade("demo-upgrade-mqxdz", 1, &json!({"phase": "Succeeded"}))
    };
    let others = [
        manifest("Deployment", "web", 3),
        manifest("Service", "web", 4),
    ];
    let tried = [
        cluster(Effect::Changed),
        pool("demo-np1", Effect::Unchanged),
    ];
    assert_snapshot!(shown(&tried, &[outlook(vec![upgrade], &[])], &others));
}

/// Returns two findings, and something that couldn't be read.
fn preflight() -> Preflight {
    let finding = |reason, message: &str, help: &str| Finding {
        reason,
        message: message.into(),
        help: help.into(),
    };
    Preflight {
        findings: vec![
            finding(
                FindingKind::BudgetNeverAllows,
                "PodDisruptionBudget default/web (minAvailable 3) requires 3 of 3 pods, so it never allows an eviction: 3 pods on the nodes of AgentPool demo-np1 (default/web-1, default/web-2, default/web-3)",
                "kubectl -n default scale deployment web --replicas=4",
            ),
            finding(
                FindingKind::NoController,
                "no controller makes these pods again: 1 pod on the nodes of AgentPool demo-np1 (default/debug)",
                "kubectl -n default get pod debug -o yaml",
            ),
        ],
        unseen: vec!["the PersistentVolumes: persistentvolumes is forbidden".into()],
    }
}

#[test]
fn a_plan_with_what_will_be_in_the_way() {
    let upgrade = Foreseen {
        parts: vec![steps(Some("demo-np1"), &[("Replace", ""); 3])],
        ..upgrade("demo-upgrade-mqxdz", 1, &json!({"phase": "Succeeded"}))
    };
    let outlook = Outlook {
        preflight: preflight(),
        ..outlook(vec![upgrade], &[])
    };
    assert_snapshot!(shown(&[cluster(Effect::Changed)], &[outlook], &[]));
}

#[test]
fn a_check_of_two_clusters() {
    let checked = [("demo", preflight()), ("other", Preflight::default())];
    let checked = checked.map(|(cluster, preflight)| Checked {
        namespace: "default".into(),
        cluster: cluster.into(),
        preflight,
    });
    assert_snapshot!(at_each_width(|look| check::shown(&checked, look)));
}

#[test]
fn a_plan_whose_change_waits_or_takes_a_place() {
    let goes_on = Foreseen {
        parts: vec![steps(Some("demo-np1"), &[("Replace", ""); 3])],
        ..upgrade("demo-upgrade-mqxdz", 0, &json!({"phase": "Succeeded"}))
    };
    let is_canceled = upgrade(
        "demo-upgrade-mqxdz",
        0,
        &json!({"phase": "Canceled", "cancellation":
            {"status": "Successful", "reason": "replaced by Operation demo-np1-scale-4x9wq"}}),
    );
    let plans = [goes_on, is_canceled].map(|in_flight| {
        let tried = [pool("demo-np1", Effect::Changed)];
        shown(
            &tried,
            &[outlook(vec![in_flight, scale(Some(1))], &[])],
            &[],
        )
    });
    assert_snapshot!(plans.join("\n"));
}

#[test]
fn a_plan_with_refusals_and_notes() {
    let refusal = "(OperationNotAllowed) Operation is not allowed: Another operation (demo-upgrade-mqxdz) is in progress, please wait for it to finish before starting a new operation";
    let tried = [
        tried("AgentPool", "demo-np1", 1, Err(refusal.into())),
        pool("demo-np2", Effect::Made),
    ];
    let note = "AgentPool demo-np2 waits: there is no ManagedCluster demo";
    assert_snapshot!(shown(&tried, &[outlook(Vec::new(), &[note])], &[]));
}

#[test]
fn a_plan_of_nothing() {
    let nothing = shown(&[cluster(Effect::Unchanged)], &[], &[]);
    let no_operation = shown(
        &[cluster(Effect::Changed)],
        &[outlook(Vec::new(), &[])],
        &[],
    );
    let not_ours = shown(&[], &[], &[manifest("Deployment", "web", 1)]);
    assert_snapshot!([nothing, no_operation, not_ours].join("\n"));
}
