//! The formats of `-o`, as in kubectl.

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
    /// One `kind/name` per line.
    Name,
    /// A table with more columns.
    Wide,
}

/// Writes a text and a line end to standard output. If the reader has gone (`| head`), the process ends without an
/// error.
///
/// # Errors
/// Returns an error if the text can't be written.
pub fn say(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other,
    }
}

/// Writes a value as JSON or YAML.
///
/// # Errors
/// Returns an error if the value can't be written.
pub fn value(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value)?,
        _ => serde_json::to_string_pretty(value)?,
    };
    Ok(say(text.trim_end())?)
}
