//! The upgrade of a cluster's nodes with pods, compared with a script that does the same with kubectl only, and with a
//! bare loop.
//!
//! All of them upgrade one pool after the other, with the same number of nodes in progress at once. For each node they
//! create its replacement, wait until the replacement is Ready, drain the node through the Eviction API and delete it.
//! Belay also reports, and takes care of budgets and volumes. The script's kubectl calls use CPU of the same machine.

mod bare;
mod objects;
mod script;

use std::time::{Duration, Instant};

use anyhow::ensure;
use belay::api::{ManagedCluster, OperationPhase, OperationType};
use serde_json::json;

use crate::{
    Size,
    audit::{Counts, Requests},
    clusters,
    fleet::Fleet,
    numbers::{self, float},
    operator::Operator,
    report::{Goal, Report},
    spread::Spread,
    stage::{Stage, until},
};
use bare::Bare;
use objects::{make_pods, pods_run};
use script::Script;

const BELAY: &str = "belay";
const CLUSTER: &str = "demo";
/// The owners of the other nodes, and their service accounts in the chart's namespace.
const SCRIPT: &str = "script";
const BARE: &str = "bare";
const POOLS: usize = 3;
/// The versions. Each round upgrades to the next one.
const VERSIONS: [&str; 3] = ["1.36.3", "1.36.4", "1.36.5"];
const ROUNDS: usize = VERSIONS.len() - 1;

/// Measures all of them, in turns.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let (nodes, at_once) = if size.is_small { (20, 5) } else { (100, 10) };
    let stage = Stage::set().await?;
    stage.namespace(BELAY).await?;
    let operator = Operator::start(&stage, BELAY).await?;
    let belay = OfBelay::prepare(&stage, nodes, at_once).await?;
    let script = Script::prepare(&stage, nodes, at_once).await?;
    let bare = Bare::prepare(&stage, nodes, at_once).await?;
    make_pods(&stage, nodes)?;
    pods_run(&stage).await?;
    let mut of_belay = Side::of(&stage, BELAY)?;
    let mut of_script = Side::of(&stage, SCRIPT)?;
    let mut of_bare = Side::of(&stage, BARE)?;
    let used = numbers::cpu(operator.process.pid())?;
    for versions in VERSIONS.windows(2) {
        let (from, to) = (versions[0], versions[1]);
        of_belay.times.push(belay.upgrade(to).await?);
        pods_run(&stage).await?;
        of_script.times.push(script.upgrade(from, to).await?);
        pods_run(&stage).await?;
        of_bare.times.push(bare.upgrade(from, to).await?);
        pods_run(&stage).await?;
    }
    let used = numbers::cpu(operator.process.pid())?.saturating_sub(used);
    let what = format!("{POOLS} pools of {nodes} nodes under a pod each, {at_once} at once");
    let of_belay = of_belay.end()?;
    for (peer, of_peer, goal) in [
        (
            "kubectl create, wait, drain, delete",
            of_script.end()?,
            Some(1.2),
        ),
        ("a bare loop", of_bare.end()?, None),
    ] {
        let (time, of_peers) = (&of_belay.times, &of_peer.times);
        report.note(
            &format!("upgrade of {what}"),
            time.to_string(),
            format!("{peer}: {of_peers}"),
            Some(time.ratio(of_peers, 50)),
            goal.map(Goal::AtMost),
        );
        report.note(
            "requests of such an upgrade",
            of_belay.words(),
            format!("{peer}: {}", of_peer.words()),
            Some(of_belay.requests() / of_peer.requests()),
            None,
        );
    }
    report.note(
        "CPU of Belay for such an upgrade",
        format!("{:.1} s", used.as_secs_f64() / float(ROUNDS)),
        "",
        None,
        None,
    );
    Ok(())
}

/// One of the programs that upgrade, and how long it took each time.
struct Side {
    times: Vec<Duration>,
    requests: Requests,
}

/// The result of all rounds.
struct Took {
    times: Spread,
    counts: Counts,
}

impl Side {
    fn of(stage: &Stage, account: &str) -> anyhow::Result<Self> {
        let log = stage.audited.log.clone();
        Ok(Self {
            times: Vec::new(),
            requests: Requests::of(log, &format!("belay-system:{account}"))?,
        })
    }

    fn end(mut self) -> anyhow::Result<Took> {
        Ok(Took {
            times: Spread::of(self.times),
            counts: self.requests.since()?,
        })
    }
}

impl Took {
    /// Returns the number of requests of one upgrade.
    fn requests(&self) -> f64 {
        float(self.counts.values().sum::<u64>()) / float(ROUNDS)
    }

    /// Returns the same in words, with the most frequent requests.
    fn words(&self) -> String {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let words = all.iter().take(9).map(|(what, count)| {
            let each = float(**count) / float(ROUNDS);
            // Discovery requests name no resource.
            format!("{each:.0} {}", what.trim_end())
        });
        let words: Vec<_> = words.collect();
        format!("{:.0}: {}", self.requests(), words.join(", "))
    }
}

/// The cluster that Belay upgrades.
struct OfBelay {
    fleet: Fleet,
}

impl OfBelay {
    async fn prepare(stage: &Stage, nodes: usize, at_once: usize) -> anyhow::Result<Self> {
        let fleet = Fleet::of(&stage.client, BELAY);
        let options = json!({"controlPlaneUpgradeTime": "0s"});
        clusters::create_cluster(&fleet.objects, CLUSTER, options).await?;
        let surge = json!({"upgradeSettings": {"maxSurge": at_once}});
        for pool in 0..POOLS {
            let name = format!("{CLUSTER}-p{pool}");
            let count = i32::try_from(nodes)?;
            clusters::create_pool_with(&fleet.objects, &name, CLUSTER, count, surge.clone())
                .await?;
        }
        fleet.is_ready(1, POOLS).await?;
        Ok(Self { fleet })
    }

    async fn upgrade(&self, version: &str) -> anyhow::Result<Duration> {
        let newer = json!({"spec": {"kubernetesVersion": version}});
        let began = Instant::now();
        self.fleet
            .objects
            .patch::<ManagedCluster>(CLUSTER, &newer)
            .await?;
        until("upgraded", async || {
            let clusters = self.fleet.objects.api::<ManagedCluster>();
            let cluster = clusters.get(CLUSTER).await?;
            let last = cluster.status.and_then(|status| status.last_operation);
            let Some(last) = last.filter(|last| {
                Some(last.target_generation) == cluster.metadata.generation
                    && last.type_ == OperationType::Upgrade
            }) else {
                return Ok(false);
            };
            ensure!(last.phase == OperationPhase::Succeeded, "{}", last.message);
            Ok(true)
        })
        .await?;
        Ok(began.elapsed())
    }
}
