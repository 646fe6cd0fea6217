//! What the demo prints between the commands that it runs: the next act, and the command line.

use std::io::{self, Write as _};

use console::style;

/// Prints a text.
pub fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Prints the heading of the next act.
pub fn heading(text: &str) -> io::Result<()> {
    say(&format!("\n{}", style(format!("== {text}")).bold()))
}

/// Prints a command as a person would type it.
pub fn command(line: &str) -> io::Result<()> {
    say(&format!("{}", style(format!("$ {line}")).cyan()))
}
