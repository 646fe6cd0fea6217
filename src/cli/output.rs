//! The formats of `-o`, as kubectl has them.

use std::io::{self, Write as _};

use clap::ValueEnum;
use serde::Serialize;

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// One `kind/name` a line.
    Name,
    /// A table with more columns.
    Wide,
}

/// Writes a text to standard output, with an end of line. A reader that went away (`| head`) is no error.
///
/// # Errors
/// Where it can't be written.
pub fn say(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other,
    }
}

/// Writes a value as JSON or YAML.
///
/// # Errors
/// Where it can't be written.
pub fn value(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value)?,
        _ => serde_json::to_string_pretty(value)?,
    };
    Ok(say(text.trim_end())?)
}
