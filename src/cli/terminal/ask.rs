//! Questions to the person at the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::bail;

/// Asks whether to continue. If nobody can be asked, returns an error that says which flag to add.
///
/// # Errors
/// Returns an error if there is no terminal to ask on.
pub async fn is_sure(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("{question} Standard input isn't a terminal, so nobody can be asked: add --yes");
    }
    let answer = answer(&format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a line of text.
///
/// # Errors
/// Returns an error if the line can't be read.
pub async fn answer(question: &str) -> anyhow::Result<String> {
    eprint!("{question}");
    io::stderr().flush()?;
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = read => Ok(line??.trim().to_owned()),
        _ = tokio::signal::ctrl_c() => Ok(String::new()),
    }
}
