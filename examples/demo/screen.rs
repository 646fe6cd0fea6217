//! What the demo shows: on a terminal a live bar for each Operation in flight, elsewhere a line for each
//! change.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use belay::api::{Blocked, Operation, OperationPhase, OperationStatus, StepPhase};
use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kube::ResourceExt as _;

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(120);

/// Standard output.
pub struct Screen {
    /// Where it is a terminal.
    bars: Option<MultiProgress>,
    shown: BTreeMap<String, Shown>,
}

/// What is shown of an Operation.
struct Shown {
    phase: OperationPhase,
    blocked: Option<String>,
    line: String,
    bar: Option<ProgressBar>,
}

impl Screen {
    /// Standard output as it is.
    pub fn new() -> Self {
        let target = ProgressDrawTarget::stdout;
        let is_terminal = io::stdout().is_terminal();
        Self {
            bars: is_terminal.then(|| MultiProgress::with_draw_target(target())),
            shown: BTreeMap::new(),
        }
    }

    /// Shows a text, above the bars.
    pub fn say(&self, text: &str) -> io::Result<()> {
        match &self.bars {
            Some(bars) => bars.suspend(|| writeln!(io::stdout(), "{text}")),
            None => writeln!(io::stdout(), "{text}"),
        }
    }

    /// Shows what comes now.
    pub fn heading(&self, text: &str) -> io::Result<()> {
        self.say(&format!("\n{}", style(format!("== {text}")).bold()))
    }

    /// Shows a command, as it would be typed.
    pub fn command(&self, line: &str) -> io::Result<()> {
        self.say(&format!("{}", style(format!("$ {line}")).cyan()))
    }

    /// Shows how far an Operation is, where that changed.
    pub fn operation(&mut self, operation: &Operation) -> io::Result<()> {
        let name = operation.name_any();
        let status = operation.status.clone().unwrap_or_default();
        let line = line(&name, &status);
        let blocked = in_the_way(&status).map(|blocked| blocked.message.clone());
        let before = self.shown.remove(&name);
        let is_same = before.as_ref().is_some_and(|before| before.line == line);
        let is_same_standing = before
            .as_ref()
            .is_some_and(|before| before.phase == status.phase && before.blocked == blocked);
        // Between these a bar moves, and elsewhere there are lines.
        let is_told = if self.bars.is_some() {
            is_same_standing
        } else {
            is_same
        };
        if !is_told {
            self.say(&line)?;
        }
        if let Some(message) = blocked.as_ref().filter(|_| !is_same_standing) {
            self.say(&format!("      {}", style(message).yellow()))?;
        }
        let bar = before.and_then(|before| before.bar);
        let bar = self
            .bars
            .as_ref()
            .map(|bars| bar.unwrap_or_else(|| new_bar(bars, &name)));
        if let Some(bar) = &bar {
            move_bar(bar, &status);
        }
        let phase = status.phase;
        let shown = Shown {
            phase,
            blocked,
            line,
            bar,
        };
        self.shown.insert(name, shown);
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        for bar in self.shown.values().filter_map(|shown| shown.bar.as_ref()) {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(bars: &MultiProgress, name: &str) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(100).with_prefix(name.to_owned()));
    let template = "  {spinner} {prefix:26} {bar:20.green/dim} {pos:>3}%  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━━─"));
    }
    bar.enable_steady_tick(TICK);
    bar
}

fn move_bar(bar: &ProgressBar, status: &OperationStatus) {
    bar.set_position(u64::try_from(status.percent_complete).unwrap_or_default());
    if status.phase.is_finished() {
        bar.finish_and_clear();
        return;
    }
    let message = doing(status);
    bar.set_message(if in_the_way(status).is_some() {
        style(message).yellow().to_string()
    } else {
        message
    });
}

fn line(name: &str, status: &OperationStatus) -> String {
    let phase = format!("{:<10}", format!("{:?}", status.phase));
    let phase = match status.phase {
        OperationPhase::Succeeded => style(phase).green(),
        OperationPhase::Failed => style(phase).red(),
        OperationPhase::Canceling | OperationPhase::Canceled => style(phase).yellow(),
        OperationPhase::Pending | OperationPhase::InProgress => style(phase),
    };
    let line = format!(
        "  {name:<26} {:>3}%  {phase}  {}",
        status.percent_complete,
        doing(status)
    );
    line.trim_end().to_owned()
}

/// What is going on, in a few words.
fn doing(status: &OperationStatus) -> String {
    if let Some(error) = &status.error {
        return format!("{}: {}", error.code, error.message);
    }
    if status.phase.is_finished() {
        let count = |phase| {
            status
                .steps
                .iter()
                .filter(|step| step.phase == phase)
                .count()
        };
        let ends = [
            StepPhase::Succeeded,
            StepPhase::Canceled,
            StepPhase::Skipped,
        ];
        let counts = ends.map(|phase| (count(phase), format!("{phase:?}").to_lowercase()));
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(count, phase)| format!("{count} {phase}"))
            .collect();
        return format!("steps: {}", counts.join(", "));
    }
    if status.phase == OperationPhase::Canceling {
        return "coming to a stop".into();
    }
    if let Some(blocked) = in_the_way(status) {
        return format!("blocked by {}", blocked.reason);
    }
    let running = status
        .steps
        .iter()
        .find(|step| step.phase == StepPhase::InProgress);
    running.map_or_else(String::new, |step| match step.message.as_str() {
        "" => format!("{}: {:?}", step.name, step.action),
        message => format!("{}: {message}", step.name),
    })
}

/// What stands in the way of an Operation that is to go on.
fn in_the_way(status: &OperationStatus) -> Option<&Blocked> {
    let blocked = status.blocked.as_ref();
    blocked.filter(|_| status.phase == OperationPhase::InProgress)
}
