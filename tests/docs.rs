//! Checks that the docs agree with the code and name existing tests.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use belay::api::{OperationPhase, OperationType, StepAction};

fn path(of: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// Returns the names of the live tests as `tests/live/main.rs` lists them, and the names of the outage tests.
fn live_tests() -> BTreeSet<String> {
    let lists = ["tests/live/main.rs", "tests/outages/main.rs"];
    lists.into_iter().flat_map(listed).collect()
}

fn listed(main: &str) -> Vec<String> {
    let harness = fs::read_to_string(path(main)).expect("the harness");
    let (_, list) = harness.split_once("= tests![").expect("the list");
    let (list, _) = list.split_once("];").expect("the end of the list");
    let lines = list.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_suffix(','));
    names.map(String::from).collect()
}

/// Returns the rows of the tables under a heading, as lists of cells.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let mut sections = page.split("\n## ");
    let section = sections.find(|section| section.lines().next() == Some(heading));
    let rows = section.unwrap_or_default().lines();
    let rows = rows.filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn each_type_and_action_has_a_row_and_each_row_names_a_test() {
    let page = fs::read_to_string(path("docs/operations.md")).expect("the page");
    let tests = live_tests();
    let mut steps = String::new();
    for type_ in OperationType::ALL {
        let rows = rows(&page, &format!("{type_:?}"));
        assert!(
            !rows.is_empty(),
            "docs/operations.md has no row for type {type_:?}"
        );
        for row in rows {
            let [step, .., test] = row.as_slice() else {
                panic!("too few cells: {row:?}");
            };
            let test = test.trim_matches('`');
            assert!(
                tests.contains(test),
                "docs/operations.md, {type_:?}: there is no test {test}"
            );
            write!(steps, "{step},").expect("written");
        }
    }
    for action in StepAction::ALL {
        let has_row = steps
            .split(',')
            .any(|word| word.trim() == format!("{action:?}"));
        assert!(
            has_row,
            "docs/operations.md has no row for action {action:?}"
        );
    }
}

#[test]
fn each_row_about_others_and_engines_names_a_test() {
    let page = fs::read_to_string(path("docs/operations.md")).expect("the page");
    let tests = live_tests();
    for section in [
        "What others do meanwhile",
        "Where an engine does the work itself",
    ] {
        let rows = rows(&page, section);
        assert!(
            !rows.is_empty(),
            "docs/operations.md has no table {section}"
        );
        for row in rows {
            let test = row.last().map(|test| test.trim_matches('`'));
            assert!(
                test.is_some_and(|test| tests.contains(test)),
                "docs/operations.md: there is no test {test:?}"
            );
        }
    }
}

#[test]
fn each_fault_case_and_threat_names_a_test_or_says_why_not() {
    let mut tests = live_tests();
    tests.insert("sweep".into());
    for (page, section, min_rows) in [
        ("docs/reliability.md", "Fault cases", 48),
        ("docs/security.md", "Threats", 15),
    ] {
        let text = fs::read_to_string(path(page)).expect("the page");
        let rows = rows(&text, section);
        assert!(rows.len() >= min_rows, "{page}: {} rows", rows.len());
        for row in rows {
            let last = row.last().expect("a cell");
            let named: Vec<_> = last.split('`').skip(1).step_by(2).collect();
            for test in &named {
                assert!(tests.contains(*test), "{page}: there is no test {test}");
            }
            assert!(
                !named.is_empty() || last.starts_with("none: "),
                "{page}: {row:?} names no test, and doesn't say why"
            );
        }
    }
}

#[test]
fn the_state_diagrams_match_the_code() {
    let (path, text) = (path("docs/states.md"), states());
    if std::env::var_os("BELAY_GENERATE").is_some() {
        fs::write(&path, &text).expect("written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/states.md is not up to date: run make generate"
    );
}

/// Returns the page of the states.
fn states() -> String {
    format!(
        "<!-- Generated from src/api/common.rs by `make generate`. -->\n\
         # States\n\n\
         An Operation has a phase. A cluster or a pool has a provisioning state, which follows from its operations. In both\n\
         diagrams, an arrow leads from a state to each state that may come next.\n\n\
         ## The phases of an Operation\n\n\
         The field `status.phase` has the phase. It changes as follows:\n\n\
         - A new Operation is Pending until it gets the lock of its cluster. Then it is InProgress. If it is refused, or aborted\n  \
           before, it is Failed or Canceled at once.\n\
         - If somebody aborts it while it is InProgress, it is Canceling until its work has stopped, and then Canceled. If it\n  \
           ends before the abort takes hold, it is Succeeded or Failed.\n\
         - If the provider can't stop the work any more, the Operation goes back from Canceling to InProgress. For example, a\n  \
           rollback goes back if its control plane has already begun to roll back.\n\
         - Succeeded, Failed and Canceled are final.\n\n{}\n\
         ## The provisioning states of a cluster and a pool\n\n\
         The field `status.provisioningState` has the state. While an operation is in flight, the state follows from the type and\n\
         the phase of this operation. Afterwards it says how the last operation ended:\n\n\
         - After Succeeded, the next operation starts when somebody changes the spec.\n\
         - After Failed and Canceled, the remaining work is on hold until somebody changes the spec or creates a Reconcile\n  \
           (see [the hold](operations.md#the-hold)).\n\n{}",
        phases(),
        provisioning_states(),
    )
}

fn phases() -> String {
    let mut text = String::from("```mermaid\nstateDiagram-v2\n    [*] --> Pending\n");
    for phase in OperationPhase::ALL {
        for next in phase.successors() {
            writeln!(text, "    {phase:?} --> {next:?}").expect("written");
        }
        if phase.is_finished() {
            writeln!(text, "    {phase:?} --> [*]").expect("written");
        }
    }
    text + "```\n"
}

/// The states of an operation that starts or runs are drawn as one state, with the others inside it.
fn provisioning_states() -> String {
    let group = |type_: OperationType, phase: OperationPhase| {
        let state = type_.provisioning_state_in(phase);
        let runs = type_.provisioning_state();
        if state == runs {
            "InFlight".to_owned()
        } else {
            format!("{state:?}")
        }
    };
    let (mut within, mut edges) = (BTreeSet::new(), BTreeSet::new());
    for type_ in OperationType::ALL {
        within.insert(format!("        {:?}", type_.provisioning_state()));
        for phase in OperationPhase::ALL {
            let from = group(type_, phase);
            for next in phase.successors() {
                let to = group(type_, *next);
                if from != to {
                    edges.insert(format!("    {from} --> {to}"));
                }
            }
            if phase.is_finished() {
                edges.insert(format!("    {from} --> InFlight"));
            }
        }
    }
    let mut text = String::from("```mermaid\nstateDiagram-v2\n");
    text += "    state \"an operation is in flight\" as InFlight {\n";
    for state in within {
        writeln!(text, "{state}").expect("written");
    }
    text += "    }\n    [*] --> InFlight\n    InFlight --> [*]\n";
    for edge in edges {
        writeln!(text, "{edge}").expect("written");
    }
    text += "```\n\n| Operation | State while it runs |\n|---|---|\n";
    for type_ in OperationType::ALL {
        writeln!(text, "| {type_:?} | {:?} |", type_.provisioning_state()).expect("written");
    }
    text
}

#[test]
fn each_row_of_the_permissions_names_a_test() {
    let page = fs::read_to_string(path("docs/security.md")).expect("the page");
    let tests = live_tests();
    let policies = path("policies");
    for heading in ["Operations", "Clusters and pools", "Nodes"] {
        let rows = rows(&page, heading);
        assert!(
            !rows.is_empty(),
            "docs/security.md has no rows of {heading}"
        );
        for row in rows {
            let [_, _, _, kept_by, test] = row.as_slice() else {
                panic!("not five cells: {row:?}");
            };
            let test = test.trim_matches('`');
            assert!(
                tests.contains(test),
                "docs/security.md: there is no test {test}"
            );
            let policy = kept_by.split('`').skip(1).step_by(2);
            for policy in policy {
                let file = policies.join(format!("{policy}.yaml"));
                assert!(
                    file.exists(),
                    "docs/security.md: there is no policy {policy}"
                );
            }
        }
    }
}
