//! What the demo says between the commands that it runs: what comes now, and what is typed.

use std::io::{self, Write as _};

use console::style;

/// Shows a text.
pub fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// Shows what comes now.
pub fn heading(text: &str) -> io::Result<()> {
    say(&format!("\n{}", style(format!("== {text}")).bold()))
}

/// Shows a command, as it would be typed.
pub fn command(line: &str) -> io::Result<()> {
    say(&format!("{}", style(format!("$ {line}")).cyan()))
}
