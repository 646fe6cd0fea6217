//! Reports of a search: the steps of a counterexample, and the counts in `docs/model.md`.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use stateright::{Checker, Model as _, Property};

use crate::{api::FOR_GENERATION_LABEL, lifecycle::action::Action};

use super::{
    Lifecycle, liveness,
    scenario::Scenario,
    state::{Held, State, Step},
};

/// Panics with the steps that lead to a violated rule, or with a required condition that no state meets.
pub fn assert_kept(checker: &impl Checker<Lifecycle>) {
    let model = checker.model();
    let discoveries = checker.discoveries();
    for Property {
        name, expectation, ..
    } in model.properties()
    {
        match (discoveries.get(name), expectation.discovery_is_failure()) {
            (Some(path), true) => {
                let trace = trace(model, path.clone().into_vec());
                panic!("{}: '{name}' doesn't hold{trace}", model.scenario.name);
            }
            (None, false) => {
                panic!("{}: '{name}' is never met", model.scenario.name)
            }
            _ => {}
        }
    }
}

fn trace(model: &Lifecycle, path: Vec<(State, Option<Step>)>) -> String {
    let steps = path.iter().filter(|(_, step)| step.is_some()).count();
    let mut trace = format!(" after {steps} steps:\n");
    let mut why = None;
    for (number, (state, step)) in path.into_iter().enumerate() {
        if let Some(step) = step {
            let step = state.describe(&model.scenario, step);
            writeln!(trace, "{:>4} {step}", number + 1).expect("a text");
        }
        let broken = state.broken.clone();
        let broken = broken
            .or_else(|| liveness::settles(&state, &model.comes_to_rest).err())
            .or_else(|| liveness::aborts_end(&state, &model.aborts).err());
        why = broken.filter(|_| step.is_none()).or(why);
    }
    if let Some(broken) = why {
        writeln!(trace, "{}: {}", broken.rule, broken.why).expect("a text");
    }
    trace
}

impl State {
    /// Describes a step in words.
    pub fn describe(&self, scenario: &Scenario, step: Step) -> String {
        let next = |held: &Option<Held>| {
            let action = held.as_ref().and_then(Held::next);
            action.map(Self::describe_action).unwrap_or_default()
        };
        match step {
            Step::Act => format!("does: {}", next(&self.pass)),
            Step::ArriveLate => format!("arrives late: {}", next(&self.late)),
            Step::Happen(number) => format!("{:?}", scenario.may[number]),
            Step::Unseen(number, kind) => {
                format!(
                    "{:?}, and the cache of {kind:?} doesn't show it",
                    scenario.may[number]
                )
            }
            other => format!("{other:?}"),
        }
    }

    fn describe_action(action: &Action) -> String {
        match action {
            Action::WriteOperationStatus { name, status } => {
                format!("{name} is {:?} {}%", status.phase, status.percent_complete)
            }
            Action::WritePoolStatus { name, .. } => format!("the status of pool {name}"),
            Action::WriteClusterStatus(status) => {
                let held = status.operations.iter().map(|held| held.name.as_str());
                format!("the cluster's status, lock {:?}", held.collect::<Vec<_>>())
            }
            Action::CreateOperation(operation) => format!(
                "creates {:?} {:?} for generation {:?}",
                operation.metadata.name,
                operation.spec.type_,
                operation
                    .metadata
                    .labels
                    .as_ref()
                    .and_then(|all| all.get(FOR_GENERATION_LABEL)),
            ),
            Action::StartWork { job, stop } => format!("starts {} ({stop:?})", job.operation),
            other => format!("{other:?}"),
        }
    }
}

/// The markers around the table in the page.
const TABLE: (&str, &str) = ("<!-- counts -->\n", "<!-- end of counts -->\n");

/// Compares a search with its row in `docs/model.md`, or writes it there (`make generate`).
pub fn keep_row(name: &str, states: usize, unique: usize, depth: usize) {
    static PAGE: Mutex<()> = Mutex::new(());
    let _alone = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/model.md");
    let page = fs::read_to_string(&path).expect("the page");
    let row = format!("| {name} | {states} | {unique} | {depth} |");
    if std::env::var_os("BELAY_GENERATE").is_some() {
        fs::write(&path, with_row(&page, name, &row)).expect("written");
    } else {
        let is_shown = page.lines().any(|line| line == row);
        assert!(
            is_shown,
            "docs/model.md is not up to date ({row}): run make generate"
        );
    }
}

fn with_row(page: &str, name: &str, row: &str) -> String {
    let (before, rest) = page.split_once(TABLE.0).expect("the table");
    let (table, after) = rest.split_once(TABLE.1).expect("its end");
    let mut lines = table.lines();
    let head: Vec<_> = lines.by_ref().take(2).collect();
    let of_others = |line: &&str| !line.starts_with(&format!("| {name} |"));
    let mut rows: Vec<_> = lines.filter(of_others).chain([row]).collect();
    rows.sort_unstable();
    let table = [head, rows].concat().join("\n");
    format!("{before}{}{table}\n{}{after}", TABLE.0, TABLE.1)
}
