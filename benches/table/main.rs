//! How fast Belay is, and what it needs: each figure beside its floor or its peer, measured in turns in the same run.
//!
//! `make bench` prints the table, and writes it as JSON to `target/bench.json`. `ROWS=abort,storm` measures only those
//! rows, `SMALL=1` all of them with fewer objects and rounds, `CLUSTERS=200` with so many clusters.

mod abort;
mod apply;
mod audit;
#[path = "../shared/audited.rs"]
mod audited;
#[path = "../shared/clusters.rs"]
mod clusters;
mod fleet;
mod floor;
#[path = "../shared/numbers.rs"]
mod numbers;
#[path = "../shared/objects.rs"]
mod objects;
mod peers;
mod report;
mod requests;
#[path = "../shared/seen.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod seen;
#[path = "../shared/spread.rs"]
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
    let (rounds, clusters) = if is_small { (20, 50) } else { (100, 1_000) };
    let size = Size {
        rounds,
        clusters: numbers::of_environment("CLUSTERS", clusters)?,
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
