//! How fast Belay is, and what it needs: each figure beside its floor or its peer, measured in turns in the same run.
//!
//! `make bench` prints the table, and writes it as JSON to `target/bench.json`. `ROWS=abort,storm` measures only those
//! rows, `SMALL=1` all of them with fewer objects and rounds,
//! `CLUSTERS=200` with so many clusters.

mod abort;
mod apply;
mod fleet;
mod floor;
mod need;
mod peers;
mod report;
mod requests;
mod seen;
mod spread;
mod stage;
mod start;
mod storm;
mod writes;

use std::env;

use report::Report;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Size {
    /// How often what takes milliseconds is repeated.
    pub rounds: usize,
    /// How many clusters a fleet has.
    pub clusters: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if env::var_os(start::REFLECTOR).is_some() {
        return start::reflect().await;
    }
    let is_small = env::var("SMALL").is_ok_and(|small| !small.is_empty());
    let size = if is_small {
        Size {
            rounds: 20,
            clusters: 50,
        }
    } else {
        Size {
            rounds: 100,
            clusters: 1_000,
        }
    };
    let size = match env::var("CLUSTERS") {
        Ok(clusters) if !clusters.is_empty() => Size {
            clusters: clusters.parse()?,
            ..size
        },
        _ => size,
    };
    let wanted = env::var("ROWS").unwrap_or_default();
    let is_wanted = |row: &str| wanted.is_empty() || wanted.split(',').any(|it| it == row);
    let mut report = Report::default();
    if is_wanted("abort") {
        abort::measure(&mut report, size).await?;
    }
    if is_wanted("storm") {
        storm::measure(&mut report, size).await?;
    }
    if is_wanted("requests") {
        requests::measure(&mut report).await?;
    }
    if is_wanted("apply") {
        apply::measure(&mut report, size).await?;
    }
    if is_wanted("start") {
        start::measure(&mut report, size).await?;
    }
    if is_wanted("writes") {
        writes::measure(&mut report, size).await?;
    }
    println!("\n{}", report.table());
    report.save()?;
    Ok(())
}
