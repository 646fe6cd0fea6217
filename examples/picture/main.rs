//! Records a run of the demo on a pseudo-terminal, and writes a part of it as a picture: `make picture`.

mod svg;

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, bail};
use pty_process::Size;
use tokio::io::AsyncReadExt as _;

/// The width of the picture.
const COLUMNS: u16 = 100;
/// Higher than everything that the demo prints, so that nothing scrolls away.
const ROWS: u16 = 400;
/// The beginnings of the headings of the acts in the picture.
const ACTS: [&str; 3] = ["== Upgrade to", "== It hangs", "== Abort it"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let screen = record().await?;
    let acts = ACTS.iter().map(|heading| act(screen.screen(), heading));
    let acts: Vec<_> = acts.collect::<anyhow::Result<_>>()?;
    let picture = svg::picture(screen.screen(), &acts);
    std::io::stdout().write_all(picture.as_bytes())?;
    Ok(())
}

/// Runs the demo, and returns the terminal's contents at its end.
async fn record() -> anyhow::Result<vt100::Parser> {
    let program = std::env::current_exe()?;
    let folder = program.parent().map(Path::to_owned);
    let demo = folder.context("the program has no folder")?.join("demo");
    let (mut pty, pts) = pty_process::open()?;
    pty.resize(Size::new(ROWS, COLUMNS))?;
    let mut demo = pty_process::Command::new(demo)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("KEEP")
        .kill_on_drop(true)
        .spawn(pts)?;
    let mut screen = vt100::Parser::new(ROWS, COLUMNS, 0);
    let mut buffer = [0; 4096];
    // On Linux, the end is an error, because the other side is closed.
    while let Ok(read @ 1..) = pty.read(&mut buffer).await {
        screen.process(&buffer[..read]);
    }
    if !demo.wait().await?.success() {
        bail!("the demo failed:\n{}", screen.screen().contents());
    }
    Ok(screen)
}

/// Returns the rows of an act: from its heading to the empty line before the next heading.
fn act(screen: &vt100::Screen, heading: &str) -> anyhow::Result<std::ops::Range<u16>> {
    let rows: Vec<String> = screen.rows(0, COLUMNS).collect();
    let first = rows.iter().position(|row| row.starts_with(heading));
    let first = first.with_context(|| format!("the demo has no act {heading:?}"))?;
    let rest = rows[first + 1..].iter();
    let length = rest.take_while(|row| !row.starts_with("== ")).count();
    let act = &rows[first..=first + length];
    let blank = act.iter().rev().take_while(|row| row.trim().is_empty());
    let end = first + act.len() - blank.count();
    Ok(u16::try_from(first)?..u16::try_from(end)?)
}
