//! The results, as a table and as JSON.

use std::{fmt::Write as _, fs, path::Path};

use serde::Serialize;

use crate::machine::Machine;

/// The path of the JSON file.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json");

/// The columns of the table.
const HEADER: &str = "| what | Belay | beside | ratio | goal | met |\n|---|---|---|---|---|---|";

/// All figures, and the machine that they were measured on.
#[derive(Serialize)]
pub struct Report {
    machine: Machine,
    rows: Vec<Row>,
}

/// One figure.
#[derive(Serialize)]
struct Row {
    what: String,
    belay: String,
    /// The floor or the peer, and its figure.
    beside: String,
    /// Belay's figure divided by the other one.
    ratio: Option<f64>,
    /// The maximum or the minimum of the ratio; `None` if the figure has no goal.
    goal: Option<Goal>,
    is_met: Option<bool>,
}

/// A limit for a ratio.
#[derive(Clone, Copy, Serialize)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {most}"),
            Self::AtLeast(least) => format!("at least {least}"),
        }
    }
}

impl Report {
    /// Creates a report without figures.
    pub fn new(machine: Machine) -> Self {
        println!("{}\n\n{HEADER}", machine.line());
        Self {
            machine,
            rows: Vec::new(),
        }
    }

    /// Adds a figure beside its floor or its peer, and prints it at once.
    pub fn note(
        &mut self,
        what: &str,
        belay: impl Into<String>,
        beside: impl Into<String>,
        ratio: Option<f64>,
        goal: Option<Goal>,
    ) {
        let is_met = ratio.zip(goal).map(|(ratio, goal)| goal.is_met(ratio));
        let row = Row {
            what: what.to_owned(),
            belay: belay.into(),
            beside: beside.into(),
            ratio,
            goal,
            is_met,
        };
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Returns the report as a table in Markdown.
    pub fn table(&self) -> String {
        let mut table = format!("{}\n\n{HEADER}\n", self.machine.line());
        for row in &self.rows {
            let _ = writeln!(table, "{}", row.line());
        }
        table
    }

    /// Writes the JSON.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn save(&self) -> anyhow::Result<()> {
        fs::write(Path::new(FILE), serde_json::to_string_pretty(self)?)?;
        Ok(())
    }
}

impl Row {
    fn line(&self) -> String {
        let ratio = self
            .ratio
            .map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let goal = self.goal.map_or(String::new(), Goal::words);
        let is_met = match self.is_met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let (what, belay, beside) = (&self.what, &self.belay, &self.beside);
        format!("| {what} | {belay} | {beside} | {ratio} | {goal} | {is_met} |")
    }
}
