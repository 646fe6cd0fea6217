//! A fleet of Cluster API: all its Clusters are upgraded at once, and some of the upgrades are aborted.
//!
//! `make load-capi` prints what Belay needed beside Cluster API's controllers: requests, CPU time and memory, in a
//! quiet minute and during the upgrades. It also prints how long each abort took. The machines are in memory;
//! everything else is real. `CLUSTERS=100 ABORTS=20` sets the size: each Cluster has a control plane and two pools of
//! two Machines.

#[path = "shared/audited.rs"]
mod audited;
#[path = "cluster_api/fleet.rs"]
mod fleet;
#[path = "shared/kinds.rs"]
mod kinds;
#[path = "../tests/capi/machines.rs"]
mod machines;
#[path = "cluster_api/need.rs"]
mod need;
#[path = "shared/numbers.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod numbers;
#[path = "shared/objects.rs"]
mod objects;
#[path = "../tests/capi/rights.rs"]
mod rights;
#[path = "shared/seen.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod seen;
#[path = "shared/spread.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod spread;
#[path = "cluster_api/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use belay::api::{OperationPhase, OperationType};

use fleet::Fleet;
use need::Need;
use numbers::of_environment;
use seen::{Seen, Spreads};
use stage::Stage;

/// How long the load of a quiet fleet is measured.
const QUIET: Duration = Duration::from_mins(1);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (clusters, aborts) = (
        of_environment("CLUSTERS", 100)?,
        of_environment("ABORTS", 20)?,
    );
    let stage = Stage::set().await?;
    let fleet = Fleet::new(stage.client.clone(), clusters);

    let began = Instant::now();
    fleet.create(&stage).await?;
    println!(
        "{clusters} Clusters, {} Machines: made by Cluster API after {:.0?}",
        clusters * fleet::MACHINES,
        began.elapsed()
    );

    let began = Instant::now();
    fleet.adopt(&stage)?;
    let operator = stage.operate()?;
    fleet.is_ready().await?;
    println!("adopted, all Ready after {:.0?}", began.elapsed());

    let before = Need::read(&stage, &operator)?;
    tokio::time::sleep(QUIET).await;
    let after = Need::read(&stage, &operator)?;
    println!("\na quiet minute\n{}", after.since(&before));

    let seen = Seen::watch(&stage.client, fleet::NAMESPACE);
    let began = Instant::now();
    fleet.upgrade().await?;
    let upgrades = fleet.operations(OperationType::Upgrade).await?;
    let aborted = upgrades
        .get(..aborts)
        .context("more aborts than Clusters")?;
    for name in aborted {
        seen.abort(name).await?;
    }
    fleet.all_are(aborted, OperationPhase::Canceled).await?;
    let stopped = began.elapsed();
    fleet
        .all_are(&upgrades[aborts..], OperationPhase::Succeeded)
        .await?;
    let all = Need::read(&stage, &operator)?;
    println!(
        "\n{clusters} upgrades begun at once, {aborts} of them aborted: the last Canceled after {stopped:.0?}, the \
         last Succeeded after {:.0?}\n{}",
        began.elapsed(),
        all.since(&after)
    );
    let Spreads {
        shown,
        canceling,
        canceled,
    } = seen.spreads(aborted)?;
    println!("from the annotation on, {aborts} aborts:");
    println!("  until a watch shows it  {shown}");
    println!("  until Canceling         {canceling}");
    println!("  until Canceled          {canceled}");
    fleet.has_kept_what_was_aborted(aborted).await
}
