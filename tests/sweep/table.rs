//! The table of scenarios, requests and results in docs/reliability.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
};

use crate::{disturbance::Disturbance, faults::Call};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");
const BEGIN: &str = "<!-- The sweep wrote this table: make sweep -->\n";
const END: &str = "<!-- end of the sweep's table -->";
const KINDS: [&str; 8] = [
    "crash before",
    "crash after",
    "two operators",
    "refused",
    "answered otherwise",
    "answer lost",
    "stale",
    "watch broken",
];

/// The column of the first kind, after the name of the row.
const KINDS_FROM: usize = 2;

/// The results of a scenario.
pub struct Row {
    pub scenario: &'static str,
    requests: usize,
    writes: usize,
    /// The number of disturbed runs, by kind.
    runs: BTreeMap<&'static str, usize>,
    /// The number of runs that ended before their disturbance.
    undisturbed: usize,
}

impl Row {
    pub fn new(scenario: &'static str, calls: &[Call]) -> Self {
        Self {
            scenario,
            requests: calls.len(),
            writes: calls.iter().filter(|call| call.is_write()).count(),
            runs: BTreeMap::new(),
            undisturbed: 0,
        }
    }

    /// Counts a run that ended as expected.
    pub fn count(&mut self, disturbance: Disturbance, applied: bool) {
        *self.runs.entry(disturbance.kind()).or_default() += 1;
        self.undisturbed += usize::from(!applied && disturbance.plan().is_some());
    }
}

/// Returns the table as Markdown.
pub fn text(rows: &[Row]) -> String {
    let mut text = String::from(
        "| Scenario | Requests | Writes | Crash before | Crash after | Two operators | 403 | 409 to 503 | Answer lost | Old view | Watch broken | Not applied |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row.scenario);
    let total = |of: &dyn Fn(&Row) -> usize| rows.iter().map(|row| of(row)).sum::<usize>();
    let kind = |row: &Row, kind| row.runs.get(kind).copied().unwrap_or_default();
    let mut line = |name: &str, requests, writes, kinds: [usize; 8], undisturbed| {
        let kinds = kinds.map(|runs| runs.to_string()).join(" | ");
        let line = format!("| {name} | {requests} | {writes} | {kinds} | {undisturbed} |");
        writeln!(text, "{line}").expect("a string accepts all writes");
    };
    for row in &rows {
        let kinds = KINDS.map(|name| kind(row, name));
        line(
            row.scenario,
            row.requests,
            row.writes,
            kinds,
            row.undisturbed,
        );
    }
    let kinds = KINDS.map(|name| total(&|row| kind(row, name)));
    line(
        "**All**",
        total(&|row| row.requests),
        total(&|row| row.writes),
        kinds,
        total(&|row| row.undisturbed),
    );
    text
}

/// Writes the table into the documentation if `BELAY_GENERATE=1` is set. Keeps the results of an earlier sweep for
/// kinds that this sweep didn't run or that had a failure.
pub fn write(rows: &[Row], failed: &BTreeSet<&'static str>, part: &str) {
    if env::var_os("BELAY_GENERATE").is_none() {
        return;
    }
    let page = fs::read_to_string(FILE).expect("docs/reliability.md");
    let (before, rest) = page.split_once(BEGIN).expect("the table's begin");
    let (table, after) = rest.split_once(END).expect("the table's end");
    let old: BTreeMap<_, _> = table.lines().filter_map(cells).collect();
    let has_run = KINDS.map(|kind| {
        let mut rows = rows.iter();
        !failed.contains(kind) && rows.any(|row| row.runs.contains_key(kind))
    });
    let new = format!("{}{}", text(rows), part_of_all(part, has_run));
    let mut merged = String::new();
    for line in new.lines() {
        let of_old = cells(line).and_then(|(name, new)| Some((name, new, old.get(name)?)));
        if let Some((name, mut new, old)) = of_old {
            let kinds = KINDS_FROM..KINDS_FROM + KINDS.len();
            for (at, has_run) in kinds.zip(has_run) {
                if !has_run && at < old.len() {
                    new[at] = old[at];
                }
            }
            writeln!(merged, "| {name} | {} |", new.join(" | "))
                .expect("a string accepts all writes");
        } else {
            writeln!(merged, "{line}").expect("a string accepts all writes");
        }
    }
    let page = format!("{before}{BEGIN}{merged}{END}{after}");
    fs::write(FILE, page).expect("written");
}

/// Returns the row that shows which part of all runs was executed.
fn part_of_all(part: &str, has_run: [bool; KINDS.len()]) -> String {
    let parts = has_run.map(|has_run| if has_run { part } else { "none" });
    let parts = parts.join(" | ");
    format!("| **Part of all runs** | | | {parts} | |\n")
}

/// Returns the first cell of a table's line, and the other cells.
fn cells(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|');
    let name = cells.next()?.trim();
    Some((name, cells.map(str::trim).collect()))
}
