//! Many clusters, many operations, an abort each second, and a tenth of all requests failing.
//!
//! `make load` prints how long it took to accept each abort (`Canceling`) and to complete it (`Canceled`), how long a
//! watch takes to show the annotation itself, and how much memory the operator needed. It fails if an abort took more
//! than two seconds to be accepted, or if anything was lost.
//! `CLUSTERS=100 POOLS=5 OPERATIONS=20` makes the benchmark smaller.

#[path = "shared/clusters.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod clusters;
#[path = "../tests/faults/mod.rs"]
#[allow(dead_code, reason = "the tests need the rest")]
mod faults;
#[path = "load/fleet.rs"]
mod fleet;
#[path = "shared/kinds.rs"]
mod kinds;
#[path = "shared/numbers.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod numbers;
#[path = "shared/objects.rs"]
mod objects;
#[path = "shared/seen.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod seen;
#[path = "shared/spread.rs"]
mod spread;

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use belay::api::OperationPhase;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use testenv::{ControlPlane, Process};

use fleet::Fleet;
use numbers::of_environment;
use seen::{Seen, Spreads};

/// The environment variable that makes this program run as the operator.
const OPERATOR: &str = "LOAD_OPERATOR";
/// The file where the operator writes how many requests it made, and how many of them failed.
const COUNTS: &str = "LOAD_COUNTS";
/// One request of this many fails.
const FAILING: usize = 10;
/// The maximum time until an abort is accepted.
const BOUND: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if let Some(kubeconfig) = env::var_os(OPERATOR) {
        return operate(Path::new(&kubeconfig)).await;
    }
    let (clusters, pools) = (
        of_environment("CLUSTERS", 1_000)?,
        of_environment("POOLS", 5)?,
    );
    let operations = of_environment("OPERATIONS", 200)?;
    let control_plane = ControlPlane::start().await?;
    let client = control_plane.client().await?;
    let fleet = Fleet::new(client.clone());
    kinds::install(&client, &[fleet::NAMESPACE]).await?;
    let operator = Operator::start(&control_plane)?;
    let seen = Seen::watch(&client, fleet::NAMESPACE);
    let began = Instant::now();
    fleet.create(clusters, pools).await?;
    println!(
        "{clusters} clusters, {} pools: Ready after {:.0?}, {}",
        clusters * pools,
        began.elapsed(),
        operator.usage()?
    );
    let began = Instant::now();
    let names = fleet.begin(operations).await?;
    println!(
        "{operations} operations in flight after {:.1?}",
        began.elapsed()
    );
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for name in &names {
        every_second.tick().await;
        seen.abort(name).await?;
    }
    fleet.all_are(&names, OperationPhase::Canceled).await?;
    let Spreads {
        shown,
        canceling,
        canceled,
    } = seen.spreads(&names)?;
    println!("from the annotation on, {operations} aborts, one each second:");
    println!("  until a watch shows it  {shown}");
    println!("  until Canceling         {canceling}");
    println!("  until Canceled          {canceled}");
    println!(
        "  ratio of the medians of Canceling and shown: {:.1}",
        canceling.ratio(&shown, 50)
    );
    println!("{}", operator.usage()?);
    fleet.lost_nothing(clusters, pools, &names).await?;
    ensure!(
        canceling.at(100) <= BOUND,
        "an abort was accepted after more than {BOUND:?}"
    );
    Ok(())
}

/// The operator in its own process, so that its memory can be measured.
struct Operator {
    _process: Process,
    pid: u32,
    counts: PathBuf,
}

impl Operator {
    fn start(control_plane: &ControlPlane) -> anyhow::Result<Self> {
        let kubeconfig = control_plane.dir().join("admin.kubeconfig");
        let counts = control_plane.dir().join("requests");
        let environment: [(&str, &OsStr); 2] = [
            (OPERATOR, kubeconfig.as_os_str()),
            (COUNTS, counts.as_os_str()),
        ];
        let log = control_plane.logs_dir().join("belay.log");
        let process = Process::start_with(&env::current_exe()?, &[], &environment, &log)?;
        let pid = process.pid();
        Ok(Self {
            _process: process,
            pid,
            counts,
        })
    }

    /// Returns what the operator has used so far, in words.
    fn usage(&self) -> anyhow::Result<String> {
        let (now, most) = numbers::memory(self.pid)?;
        let counts = fs::read_to_string(&self.counts).unwrap_or_default();
        Ok(format!(
            "operator: {} MiB, at most {} MiB; {counts}",
            now / 1024,
            most / 1024
        ))
    }
}

/// Runs the operator under test, some of whose requests fail.
async fn operate(kubeconfig: &Path) -> anyhow::Result<()> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let counts = PathBuf::from(env::var_os(COUNTS).context("where to write the counts")?);
    let faults = faults::Faults::default();
    faults.fail_one_in(FAILING);
    let _operator = faults::Operator::start(&config, fleet::NAMESPACE, &faults);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (asked, failed) = faults.asked();
        fs::write(
            &counts,
            format!("{asked} requests, {failed} of them failed"),
        )?;
    }
}
