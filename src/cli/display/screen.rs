//! Output that changes. On a terminal, the text is redrawn in place, with a live bar for each Operation. In a pipe,
//! each change is a line.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    api::Operation,
    cli::{
        cluster::{
            session::Session,
            view::{self, View},
        },
        display::{
            cluster_text::{self, BAR_WIDTH},
            progress,
        },
        terminal::{look::Look, output},
    },
};

/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(120);

/// Where changes are shown.
pub enum Screen {
    /// On a terminal.
    Live(Live),
    /// In a pipe: the last line that was written for each object.
    Lines(BTreeMap<String, String>),
}

/// Bars and the text around them.
pub struct Live {
    look: Look,
    bars: MultiProgress,
    above: ProgressBar,
    operations: Vec<LiveOperation>,
    below: ProgressBar,
}

struct LiveOperation {
    name: String,
    title: ProgressBar,
    bar: ProgressBar,
    details: ProgressBar,
}

impl Screen {
    /// Creates the screen for the current standard output.
    pub fn new(session: &Session) -> Self {
        if session.is_live {
            Self::Live(Live::new(session.look.clone()))
        } else {
            Self::Lines(BTreeMap::new())
        }
    }

    /// Shows a cluster as it is now.
    ///
    /// # Errors
    /// Returns an error if it can't be written.
    pub fn cluster(&mut self, view: &View, now: Timestamp) -> anyhow::Result<()> {
        match self {
            Self::Live(live) => {
                let look = live.look.now();
                let below = cluster_text::what_helps(view, &look).unwrap_or_default();
                live.draw(
                    &cluster_text::head(view, &look, now),
                    &view.operations,
                    &below,
                    now,
                );
            }
            Self::Lines(shown) => {
                let lines = std::iter::once(&view.cluster)
                    .map(|cluster| (cluster.name_any(), cluster_line(view)))
                    .chain(view.operations.iter().map(operation_line));
                write_lines(shown, lines, now)?;
            }
        }
        Ok(())
    }

    /// Shows an Operation as it is now.
    ///
    /// # Errors
    /// Returns an error if it can't be written.
    pub fn operation(&mut self, operation: &Operation, now: Timestamp) -> anyhow::Result<()> {
        match self {
            Self::Live(live) => live.draw("", std::slice::from_ref(operation), "", now),
            Self::Lines(shown) => {
                write_lines(shown, std::iter::once(operation_line(operation)), now)?;
            }
        }
        Ok(())
    }

    /// Writes permanently how an Operation ended.
    ///
    /// # Errors
    /// Returns an error if it can't be written.
    pub fn ended(&mut self, operation: &Operation, now: Timestamp) -> anyhow::Result<()> {
        match self {
            Self::Live(live) => {
                let look = live.look.now();
                let line = progress::line(operation);
                live.bars
                    .suspend(|| output::say(&look.wrap("", "  ", &line)))?;
            }
            Self::Lines(shown) => {
                write_lines(shown, std::iter::once(operation_line(operation)), now)?;
            }
        }
        Ok(())
    }

    /// Writes a text that stays.
    ///
    /// # Errors
    /// Returns an error if it can't be written.
    pub fn say(&self, text: &str) -> anyhow::Result<()> {
        match self {
            Self::Live(live) => live.bars.suspend(|| output::say(text))?,
            Self::Lines(_) => output::say(text)?,
        }
        Ok(())
    }

    /// Leaves the output as it is. Nothing moves from now on.
    pub fn leave(self) {
        if let Self::Live(live) = self {
            live.still();
        }
    }

    /// Removes the output that moves.
    pub fn clear(self) {
        if let Self::Live(live) = self {
            // If the screen can't be cleared, it only shows one bar too many.
            let _ = live.bars.clear();
        }
    }
}

/// Writes each line that changed, together with the time.
fn write_lines(
    shown: &mut BTreeMap<String, String>,
    lines: impl Iterator<Item = (String, String)>,
    now: Timestamp,
) -> anyhow::Result<()> {
    for (about, line) in lines {
        if shown.get(&about) != Some(&line) {
            let time = now.strftime("%Y-%m-%dT%H:%M:%SZ");
            output::say(&format!("{time}   {line}"))?;
            shown.insert(about, line);
        }
    }
    Ok(())
}

fn operation_line(operation: &Operation) -> (String, String) {
    (
        format!("operation/{}", operation.name_any()),
        progress::line(operation),
    )
}

/// Describes a cluster in one line, without its Operations.
fn cluster_line(view: &View) -> String {
    let status = view.cluster.status.clone().unwrap_or_default();
    let state = cluster_text::state(status.provisioning_state, status.hold.as_ref());
    let pools: Vec<_> = view
        .pools
        .iter()
        .map(|pool| {
            let status = pool.status.clone().unwrap_or_default();
            let versions = status.version_summary.unwrap_or_else(|| "no nodes".into());
            format!(
                "{} {}/{} {versions}",
                pool.name_any(),
                status.ready_count,
                pool.spec.count
            )
        })
        .collect();
    let ready = view::condition(&status.conditions, "Ready");
    let is_ready = ready.map_or("Unknown", |ready| ready.status.as_str());
    let why = ready.filter(|_| view.operations.is_empty());
    let why = why.map_or(String::new(), |ready| format!("   {}", ready.message));
    let name = view.cluster.name_any();
    format!(
        "{name}   {state}   Ready={is_ready}   {}{why}",
        pools.join("; ")
    )
}

impl Live {
    fn new(look: Look) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let (above, below) = (bars.add(text_bar()), bars.add(text_bar()));
        Self {
            look,
            bars,
            above,
            operations: Vec::new(),
            below,
        }
    }

    fn draw(&mut self, above: &str, operations: &[Operation], below: &str, now: Timestamp) {
        let look = self.look.now();
        let is_same = self.operations.len() == operations.len()
            && self
                .operations
                .iter()
                .zip(operations)
                .all(|(shown, it)| shown.name == it.name_any());
        if !is_same {
            self.lay_out(operations);
        }
        let has_text = !above.is_empty();
        set(&self.above, above, if has_text { "\n" } else { "" });
        for (shown, operation) in self.operations.iter().zip(operations) {
            set(&shown.title, &progress::title(operation, &look), "");
            shown.bar.set_position(cluster_text::progress_of(operation));
            shown.bar.set_prefix(progress::phase_word(operation, &look));
            shown.bar.set_message(progress::beside_bar(operation, now));
            let end = if has_text { "\n" } else { "" };
            set(
                &shown.details,
                &progress::details(operation, &look, now),
                end,
            );
        }
        set(&self.below, below, "");
    }

    /// Creates the bars again, in the order in which the Operations are shown.
    fn lay_out(&mut self, operations: &[Operation]) {
        for shown in self.operations.drain(..) {
            for bar in [&shown.title, &shown.bar, &shown.details] {
                bar.finish_and_clear();
                self.bars.remove(bar);
            }
        }
        for operation in operations {
            let add = |bar| self.bars.insert_before(&self.below, bar);
            let (title, bar, details) =
                (add(text_bar()), add(live_bar(&self.look)), add(text_bar()));
            bar.enable_steady_tick(TICK);
            let name = operation.name_any();
            self.operations.push(LiveOperation {
                name,
                title,
                bar,
                details,
            });
        }
    }

    fn still(&self) {
        self.above.abandon();
        for shown in &self.operations {
            shown.title.abandon();
            shown.bar.abandon();
            shown.details.abandon();
        }
        self.below.abandon();
    }
}

/// Returns a "bar" that only shows a text.
fn text_bar() -> ProgressBar {
    let bar = ProgressBar::new(1);
    styled(bar, "{msg}")
}

fn live_bar(look: &Look) -> ProgressBar {
    let colour = if look.colour { ".green" } else { "" };
    let template = format!("{{spinner}} {{prefix}}  {{bar:{BAR_WIDTH}{colour}}} {{msg}}");
    styled(ProgressBar::new(100), &template)
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━━─"));
    }
    bar
}

fn set(bar: &ProgressBar, text: &str, end: &str) {
    let text = format!("{text}{end}");
    if bar.message() != text {
        bar.set_message(text);
    }
}
