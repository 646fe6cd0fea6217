//! `kubectl belay operation`: current and past operations.

pub mod record;

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    api::{Operation, OperationPhase, OperationStatus},
    cli::{
        cluster::{
            errors,
            session::Session,
            target::{self, Kind},
            view::{self, target_words},
        },
        display::{
            follow::{Followed, follow},
            progress,
        },
        terminal::{
            look::Look,
            output::{self, Format},
            table::Table,
            text,
        },
    },
    lifecycle::messages::LEFT_BEHIND,
    machinery::clock,
};

use super::duration;

use record::Record;

/// The largest number of operations that are listed, as in the clouds' tools.
const MOST: usize = 50;

/// See current and past operations, and wait for one.
#[derive(Args, Debug)]
pub struct OperationFlags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the 50 newest operations, newest first.
    List {
        /// The kind of the object NAME. Without it, the operations of the whole namespace are listed.
        #[arg(value_enum, requires = "name")]
        kind: Option<Kind>,
        /// The cluster's or pool's name.
        name: Option<String>,
        /// List the operations of all namespaces.
        #[arg(long, short = 'A', conflicts_with = "kind")]
        all_namespaces: bool,
        /// List only operations that haven't ended.
        #[arg(long)]
        in_flight: bool,
        /// The output format.
        #[arg(long, short, value_enum)]
        output: Option<Format>,
    },
    /// Show an operation with its steps.
    Show {
        /// The Operation's name.
        name: String,
        /// The output format.
        #[arg(long, short, value_enum)]
        output: Option<Format>,
    },
    /// Show the newest operation of a cluster or a pool.
    ShowLatest {
        /// The kind of the object NAME.
        #[arg(value_enum)]
        kind: Kind,
        /// The cluster's or pool's name.
        name: String,
        /// The output format.
        #[arg(long, short, value_enum)]
        output: Option<Format>,
    },
    /// Follow an operation until it has ended.
    ///
    /// Exit codes: 0 if it ended as --for says, 1 if it ended in another way or the time is up.
    Wait {
        /// The Operation's name.
        name: String,
        /// How the operation has to end.
        #[arg(long = "for", value_enum, default_value_t = End::Succeeded)]
        end: End,
        /// How long to wait, such as 10m.
        #[arg(long, value_parser = duration)]
        timeout: Option<Duration>,
    },
}

/// How an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum End {
    /// As planned.
    Succeeded,
    /// By an abort.
    Canceled,
    /// In any way.
    Finished,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if something can't be read, or if an operation was deleted or didn't end in the given time.
pub async fn run(session: &Session, flags: &OperationFlags) -> anyhow::Result<ExitCode> {
    match &flags.command {
        Command::List {
            kind,
            name,
            all_namespaces,
            in_flight,
            output,
        } => {
            let mut operations = match (kind, name) {
                (Some(kind), Some(name)) => {
                    target::operations_on(session, &kind.named(name)).await?
                }
                _ => target::all_operations(session, *all_namespaces).await?,
            };
            if *in_flight {
                operations.retain(|operation| !view::phase(operation).is_finished());
            } else {
                operations.truncate(MOST);
            }
            list(session, &operations, *all_namespaces, *output)?;
        }
        Command::Show { name, output } => {
            let operation = errors::get(&session.api(), name).await?;
            show(session, &operation, *output)?;
        }
        Command::ShowLatest { kind, name, output } => {
            let target = kind.named(name);
            let operations = target::operations_on(session, &target).await?;
            let Some(latest) = operations.first() else {
                target::cluster_of(session, &target).await?;
                bail!(
                    "{} has no operations, or they were deleted",
                    view::target_name(&target)
                );
            };
            show(session, latest, *output)?;
        }
        Command::Wait { name, end, timeout } => {
            let operation: Operation = errors::get(&session.api(), name).await?;
            return wait(session, &operation, *end, *timeout).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(
    session: &Session,
    operations: &[Operation],
    all_namespaces: bool,
    format: Option<Format>,
) -> anyhow::Result<()> {
    match format {
        Some(Format::Name) => {
            for operation in operations {
                output::say(&name(operation))?;
            }
        }
        Some(format @ (Format::Json | Format::Yaml)) => {
            let records: Vec<_> = operations.iter().map(Record::from).collect();
            output::value(format, &records)?;
        }
        None | Some(Format::Wide) if operations.is_empty() => {
            eprintln!("There are no operations.");
        }
        None | Some(Format::Wide) => {
            let is_wide = format == Some(Format::Wide);
            let text = table(
                operations,
                all_namespaces,
                is_wide,
                &session.look,
                clock::now(),
            );
            output::say(&text)?;
        }
    }
    Ok(())
}

fn name(operation: &Operation) -> String {
    format!("operation.belay.dev/{}", operation.name_any())
}

/// Returns a table with a line for each Operation.
pub fn table(
    operations: &[Operation],
    all_namespaces: bool,
    is_wide: bool,
    look: &Look,
    now: Timestamp,
) -> String {
    let mut columns = vec![
        ("OPERATION", 0),
        ("TARGET", 1),
        ("TYPE", 2),
        ("PHASE", 0),
        ("PERCENT", 0),
        ("STARTED", 3),
        ("TOOK", 4),
    ];
    if all_namespaces {
        columns.insert(0, ("NAMESPACE", 0));
    }
    if is_wide {
        columns.push(("MESSAGE", 0));
    }
    let mut table = Table::new(&columns);
    for operation in operations {
        let status = view::status(operation);
        let ended = status.end_time.as_ref().map_or(now, |end| end.0);
        let ago = status
            .start_time
            .as_ref()
            .map(|_| " ago")
            .unwrap_or_default();
        let mut cells = vec![
            operation.name_any(),
            target_words(&operation.spec.target),
            format!("{:?}", operation.spec.type_),
            progress::phase_word(operation, look),
            format!("{}%", status.percent_complete),
            format!("{}{ago}", text::since(status.start_time.as_ref(), now)),
            text::since(status.start_time.as_ref(), ended),
        ];
        if all_namespaces {
            cells.insert(0, operation.namespace().unwrap_or_default());
        }
        if is_wide {
            cells.push(progress::doing(&status));
        }
        table.push(cells);
    }
    table.page(look)
}

fn show(session: &Session, operation: &Operation, format: Option<Format>) -> anyhow::Result<()> {
    match format {
        Some(Format::Name) => output::say(&name(operation))?,
        Some(format @ (Format::Json | Format::Yaml)) => {
            output::value(format, &Record::from(operation))?;
        }
        None | Some(Format::Wide) => {
            output::say(&text_of(operation, &session.look.now(), clock::now()))?;
        }
    }
    Ok(())
}

/// Returns the text about an Operation and its steps.
pub fn text_of(operation: &Operation, look: &Look, now: Timestamp) -> String {
    let status = view::status(operation);
    let phase = progress::phase_word(operation, look);
    let mut parts = vec![
        progress::title(operation, look),
        look.wrap(
            "  ",
            "  ",
            &format!(
                "{phase} {}: {}",
                progress::beside_bar(operation, now),
                progress::doing(&status)
            ),
        ),
    ];
    if let Some(refused) = progress::refused_abort(&status) {
        parts.push(look.wrap("  ", "  ", &progress::refusal(refused)));
    }
    if let Some(forced) = progress::forced(&status, now) {
        parts.push(look.wrap("  ", "  ", &forced));
    }
    if !status.steps.is_empty() {
        let mut table = Table::new(&[
            ("STEP", 0),
            ("ACTION", 2),
            ("PHASE", 0),
            ("TOOK", 3),
            ("MESSAGE", 0),
        ]);
        for step in &status.steps {
            let end = step.end_time.as_ref().map_or(now, |end| end.0);
            table.push([
                step.name.clone(),
                format!("{:?}", step.action),
                format!("{:?}", step.phase),
                text::since(step.start_time.as_ref(), end),
                step.message.clone(),
            ]);
        }
        parts.push(String::new());
        parts.push(table.page(look));
    }
    parts.extend(left_behind(&status, look));
    parts.join("\n")
}

/// Returns the lines about what couldn't be restored when the Operation stopped.
fn left_behind(status: &OperationStatus, look: &Look) -> Vec<String> {
    let canceled = status.cancellation.iter();
    let failed = status.error.iter();
    let left = canceled
        .flat_map(|cancellation| &cancellation.left_behind)
        .chain(failed.flat_map(|error| &error.details))
        .filter(|detail| detail.code == LEFT_BEHIND);
    let lines = left.map(|detail| {
        let left = format!("{}: {}", detail.target, detail.message);
        look.wrap("  ", "    ", &left)
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return lines;
    }
    let heading = "Left behind. Belay tries again until it succeeds:";
    [String::new(), heading.into()]
        .into_iter()
        .chain(lines)
        .collect()
}

async fn wait(
    session: &Session,
    operation: &Operation,
    end: End,
    timeout: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    let name = operation.name_any();
    match follow(session, operation, timeout, |_| false).await? {
        Followed::Reached(operation) => {
            let phase = view::phase(&operation);
            let is_so = match end {
                End::Succeeded => phase == OperationPhase::Succeeded,
                End::Canceled => phase == OperationPhase::Canceled,
                End::Finished => true,
            };
            Ok(if is_so {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Followed::Gone => bail!("Operation {name} was deleted"),
        Followed::TimedOut => bail!("Operation {name} has not ended yet: --timeout has passed"),
        Followed::Interrupted => Ok(super::INTERRUPTED.into()),
    }
}
