//! How figures grow with the number of clusters. All clusters are at rest in one namespace, with one pool each.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use belay::api::{AgentPool, Operation};
use kube::{Api, api::PostParams};
use serde_json::json;
use testenv::Component;

use crate::{
    Size,
    audit::{self, Requests},
    clusters,
    numbers::{self, exponent, float},
    operator::Operator,
    report::{Goal, Report},
    seed::Template,
    stage::Stage,
    turns::{FLOOR, Turns},
};

const BELAY: &str = "belay";
/// The number of aborts at each size.
const ABORTS: usize = 20;
/// The number of requests of each kind whose admission is measured, at each size; fewer if they take longer than
/// `LONG`.
const REQUESTS: usize = 100;
const LONG: Duration = Duration::from_secs(10);
/// How long Belay rests before its memory is read.
const REST: Duration = Duration::from_secs(5);
/// How long Belay's CPU is measured after that, while it has nothing to do.
const QUIET: Duration = Duration::from_secs(20);

/// The figures at one size.
struct Figures {
    clusters: usize,
    /// The median time from an abort's annotation to `Canceled`, in ms: Belay's, and the floor's.
    abort: f64,
    floor: f64,
    /// The time from Belay's start until it was ready, in s.
    ready: f64,
    /// Belay's resident memory, in MB.
    memory: f64,
    /// Belay's CPU time in a minute without anything to do, in ms.
    quiet: f64,
    /// The API server's CPU time for one request, in ms.
    pool: f64,
    operation: f64,
}

/// Measures it.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    numbers::check_exponent()?;
    let stage = Stage::set().await?;
    for name in [BELAY, FLOOR] {
        stage.namespace(name).await?;
    }
    let turns = {
        let _operator = Operator::start(&stage, BELAY).await?;
        let turns = Turns::prepare(&stage, BELAY).await?;
        // By then Belay has written everything that follows the last change.
        tokio::time::sleep(REST).await;
        turns
    };
    let template = Template::make(&stage, 1).await?;
    let mut all = Vec::new();
    let mut made = 0;
    for clusters in sizes(size)? {
        ensure!(clusters > made, "SIZES grow");
        template.copy(&stage, BELAY, made..clusters, 2).await?;
        made = clusters;
        let figures = Figures::at(&stage, &turns, clusters).await?;
        eprintln!("{clusters} clusters: {}", figures.words());
        all.push(figures);
    }
    note(report, &all);
    Ok(())
}

/// Returns the numbers of clusters, from `SIZES=10,100` or a suitable default.
fn sizes(size: Size) -> anyhow::Result<Vec<usize>> {
    let default = if size.is_small {
        "10,50,200"
    } else {
        "10,100,1000,5000"
    };
    let wanted = env::var("SIZES").unwrap_or_default();
    let wanted = if wanted.is_empty() { default } else { &wanted };
    let sizes = wanted.split(',').map(|size| size.trim().parse());
    sizes.collect::<Result<_, _>>().context("SIZES are numbers")
}

impl Figures {
    async fn at(stage: &Stage, turns: &Turns<'_>, clusters: usize) -> anyhow::Result<Self> {
        let mut requests = Requests::of(stage.audited.log.clone(), "belay-system:belay")?;
        let operator = Operator::start(stage, BELAY).await?;
        let pid = operator.process.pid();
        // Belay may still have writes left that follow the last abort.
        tokio::time::sleep(REST).await;
        requests.since()?;
        let (memory, _) = numbers::memory(pid)?;
        let used = numbers::precise_cpu(pid)?;
        tokio::time::sleep(QUIET).await;
        let used = numbers::precise_cpu(pid)?.saturating_sub(used);
        let asked = requests.since()?;
        ensure!(
            audit::writes(&asked) == 0,
            "all is at rest, and Belay writes: {asked:?}"
        );
        let (pool, operation) = (pools(stage).await?, operations(stage).await?);
        let times = turns.take(&format!("of-{clusters}"), ABORTS, None).await?;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
        Ok(Self {
            clusters,
            abort: milliseconds(times.belay.canceled.at(50)),
            floor: milliseconds(times.floor.canceled.at(50)),
            ready: operator.took.as_secs_f64(),
            memory: numbers::kilobytes(memory) / 1_000.0,
            quiet: milliseconds(used) * 60.0 / QUIET.as_secs_f64(),
            pool,
            operation,
        })
    }

    fn words(&self) -> String {
        format!(
            "abort {:.1} ms (floor {:.1} ms), ready {:.2} s, {:.1} MB, quiet minute {:.0} ms, new pool {:.2} ms, Operation {:.2} ms",
            self.abort, self.floor, self.ready, self.memory, self.quiet, self.pool, self.operation
        )
    }
}

/// Returns the CPU time that a new pool costs the API server, in ms. The pool isn't stored.
async fn pools(stage: &Stage) -> anyhow::Result<f64> {
    let spec = json!({"clusterName": clusters::name(0), "count": 0});
    let pool = AgentPool::new("new", serde_json::from_value(spec)?);
    let pools = Api::<AgentPool>::namespaced(stage.client.clone(), BELAY);
    cost(stage, async |params| {
        pools.create(params, &pool).await.map(drop)
    })
    .await
}

/// Returns the CPU time that a person's Operation costs the API server, in ms.
async fn operations(stage: &Stage) -> anyhow::Result<f64> {
    let target = json!({"kind": "AgentPool", "name": clusters::pool_of(0, 0)});
    let spec = json!({"type": "Scale", "target": target, "count": 1});
    let operation = Operation::new("new", serde_json::from_value(spec)?);
    let operations = Api::<Operation>::namespaced(stage.client.clone(), BELAY);
    cost(stage, async |params| {
        operations.create(params, &operation).await.map(drop)
    })
    .await
}

async fn cost(
    stage: &Stage,
    request: impl AsyncFn(&PostParams) -> kube::Result<()>,
) -> anyhow::Result<f64> {
    // With a dry run, admission is the same, and there are no consequences.
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    request(&params).await?;
    let server = stage.pid(Component::ApiServer)?;
    let (used, began) = (numbers::precise_cpu(server)?, Instant::now());
    let mut made = 0;
    while made < REQUESTS && began.elapsed() < LONG {
        request(&params).await?;
        made += 1;
    }
    let used = numbers::precise_cpu(server)?.saturating_sub(used);
    Ok(used.as_secs_f64() * 1_000.0 / float(made))
}

/// Reports the exponent with which each figure grows.
fn note(report: &mut Report, all: &[Figures]) {
    type Figure = (&'static str, fn(&Figures) -> f64, &'static str, Option<f64>);
    let figures: [Figure; 7] = [
        ("an abort to Canceled, 50 %", |it| it.abort, "ms", Some(0.1)),
        ("the same of a bare loop", |it| it.floor, "ms", None),
        ("start to ready", |it| it.ready, "s", Some(1.1)),
        ("memory", |it| it.memory, "MB", Some(1.1)),
        ("CPU of a quiet minute", |it| it.quiet, "ms", Some(1.1)),
        (
            "CPU of the API server for a new pool",
            |it| it.pool,
            "ms",
            None,
        ),
        (
            "CPU of the API server for a person's Operation",
            |it| it.operation,
            "ms",
            None,
        ),
    ];
    for (what, of, unit, goal) in figures {
        let values: Vec<_> = all.iter().map(|it| (float(it.clusters), of(it))).collect();
        let words: Vec<_> = all
            .iter()
            .map(|it| format!("{}: {:.2} {unit}", it.clusters, of(it)))
            .collect();
        // The part of a figure that exists without any cluster hides the growth at small sizes.
        let last = exponent(&values[values.len().saturating_sub(2)..]);
        report.note(
            &format!("growth with the clusters: {what}"),
            words.join(", "),
            last.map_or(String::new(), |last| {
                format!("exponent of the last step: {last:.2}")
            }),
            exponent(&values),
            goal.map(Goal::AtMost),
        );
    }
}
