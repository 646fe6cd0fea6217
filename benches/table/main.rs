//! How fast Belay is, and what it needs. Each figure is compared with its floor or its peer, measured in turns in the
//! same run.
//!
//! `make bench` prints the table, and writes it as JSON to `target/bench.json`. `ROWS=abort,storm` measures only those
//! rows, `SMALL=1` all of them with fewer objects and rounds, `CLUSTERS=200` with this many clusters, `SIZES=10,100`
//! the row `growth` with these numbers of clusters, and `FSYNC=1` with an etcd that waits for the disk.

mod abort;
mod apply;
mod audit;
#[path = "../shared/audited.rs"]
mod audited;
#[path = "../shared/clusters.rs"]
mod clusters;
mod fleet;
mod floor;
mod growth;
mod machine;
#[path = "../shared/numbers.rs"]
mod numbers;
#[path = "../shared/objects.rs"]
mod objects;
mod operator;
mod peers;
mod reflector;
mod report;
mod requests;
mod seed;
#[path = "../shared/seen.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod seen;
#[path = "../shared/spread.rs"]
mod spread;
mod stage;
mod start;
mod steady;
mod storm;
mod turns;
mod upgrade;
mod writes;

use std::env;

use machine::Machine;
use report::Report;

/// The size of the measurement.
#[derive(Clone, Copy)]
pub struct Size {
    /// How often measurements in the range of milliseconds are repeated.
    pub rounds: usize,
    /// The number of clusters of a fleet.
    pub clusters: usize,
    /// Whether the whole run should take only minutes.
    pub is_small: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if env::var_os(reflector::REFLECTOR).is_some() {
        return reflector::reflect().await;
    }
    let is_small = env::var("SMALL").is_ok_and(|small| !small.is_empty());
    let (rounds, clusters) = if is_small { (20, 50) } else { (100, 1_000) };
    let size = Size {
        rounds,
        clusters: numbers::of_environment("CLUSTERS", clusters)?,
        is_small,
    };
    let wanted = env::var("ROWS").unwrap_or_default();
    let is_wanted = |row: &str| wanted.is_empty() || wanted.split(',').any(|it| it == row);
    let mut report = Report::new(Machine::of_this_run(size)?);
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
    if is_wanted("upgrade") {
        upgrade::measure(&mut report, size).await?;
    }
    if is_wanted("steady") {
        steady::measure(&mut report, size).await?;
    }
    if is_wanted("growth") {
        growth::measure(&mut report, size).await?;
    }
    if is_wanted("writes") {
        writes::measure(&mut report, size).await?;
    }
    println!("\n{}", report.table());
    report.save()?;
    Ok(())
}
