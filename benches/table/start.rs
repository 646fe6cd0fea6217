//! The time from the start of a program until it has seen all objects, and the memory that it needs then: Belay
//! compared with a bare reflector of the same kinds, and with a cache of controller-runtime. Also how much memory each
//! object of a kind takes.

use std::{
    ffi::OsStr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use testenv::Process;

use crate::{
    Size, audit,
    audit::Requests,
    fleet::Fleet,
    numbers::{self, float},
    operator::Operator,
    reflector::{REFLECTOR, SYNCED},
    report::{Goal, Report},
    seed::Template,
    stage::Stage,
};

/// Namespaces: empty, with clusters only, with clusters and pools, and with their finished Operations as well.
const IDLE: &str = "idle";
const CLUSTERS: &str = "clusters";
const POOLS: &str = "pools";
const ALL: &str = "all";
/// The number of pools of each cluster.
const POOLS_EACH: usize = 5;
/// The number of Operations of each cluster: as many as Belay keeps.
const OPERATIONS_EACH: usize = 50;
/// How often each program is started when its start is timed.
const STARTS: usize = 3;
/// How long a program rests before its memory is read.
const REST: Duration = Duration::from_secs(5);

/// Measures it.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    for name in [IDLE, CLUSTERS, POOLS, ALL] {
        stage.namespace(name).await?;
    }
    let began = Instant::now();
    let numbers = 0..size.clusters;
    let bare = Template::make(&stage, 0).await?;
    bare.copy(&stage, CLUSTERS, numbers.clone(), 0).await?;
    let full = Template::make(&stage, POOLS_EACH).await?;
    full.copy(&stage, POOLS, numbers.clone(), 0).await?;
    full.copy(&stage, ALL, numbers, OPERATIONS_EACH).await?;
    eprintln!("objects made after {:.0?}", began.elapsed());
    let idle = Both::start(&stage, IDLE).await?;
    report.note(
        "memory with nothing to do",
        format!("{:.1} MB", idle.belay / 1_000.0),
        "15 MB",
        Some(idle.belay / 15_000.0),
        Some(Goal::AtMost(1.0)),
    );
    let mut requests = Requests::of(stage.audited.log.clone(), "belay-system:belay")?;
    let all = All::start(&stage).await?;
    let writes = audit::writes(&requests.since()?);
    all.note(report, size, writes);
    let clusters = Both::start(&stage, CLUSTERS).await?;
    let pools = Both::start(&stage, POOLS).await?;
    let count = float(size.clusters);
    let mut note = |what: &str, more: &Both, less: &Both, count: f64, goal: Option<f64>| {
        let belay = (more.belay - less.belay) / count;
        let reflector = (more.reflector - less.reflector) / count;
        let bound = goal.map_or(String::new(), |goal| format!("{goal} kB; "));
        report.note(
            &format!("memory for each {what}"),
            format!("{belay:.2} kB"),
            format!("{bound}a bare reflector: {reflector:.2} kB"),
            goal.map(|goal| belay / goal),
            goal.map(|_| Goal::AtMost(1.0)),
        );
    };
    note("cluster without pools", &clusters, &idle, count, None);
    note("pool", &pools, &clusters, count * float(POOLS_EACH), None);
    note(
        "finished Operation",
        &all.both(),
        &pools,
        count * float(OPERATIONS_EACH),
        Some(2.0),
    );
    let operator = stage.operate_in(POOLS)?;
    Fleet::of(&stage.client, POOLS).hang(size.clusters).await?;
    drop(operator);
    let hanging = Both::start(&stage, POOLS).await?;
    note("Operation in flight", &hanging, &pools, count, None);
    Ok(())
}

/// A program that has seen all objects.
struct Started {
    took: Duration,
    /// In kB, after a rest.
    memory: f64,
}

/// The memory of Belay and of the bare reflector, in kB.
struct Both {
    belay: f64,
    reflector: f64,
}

impl Both {
    async fn start(stage: &Stage, namespace: &str) -> anyhow::Result<Self> {
        Ok(Self {
            belay: Started::belay(stage, namespace).await?.memory,
            reflector: Started::reflector(stage, namespace).await?.memory,
        })
    }
}

/// All three programs, with all objects.
struct All {
    belay: Started,
    reflector: Started,
    cache: Option<Started>,
}

impl All {
    /// Returns the medians of some starts, taken in turns.
    async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let (mut belay, mut reflector, mut cache) = (Vec::new(), Vec::new(), Vec::new());
        let peer = testenv::binary("cache").ok();
        for _ in 0..STARTS {
            belay.push(Started::belay(stage, ALL).await?);
            reflector.push(Started::reflector(stage, ALL).await?);
            if let Some(peer) = &peer {
                let args = [format!("--namespace={ALL}")];
                cache.push(Started::other(stage, peer, &args, &[]).await?);
            }
        }
        Ok(Self {
            belay: Started::median(belay).context("a start")?,
            reflector: Started::median(reflector).context("a start")?,
            cache: Started::median(cache),
        })
    }

    fn both(&self) -> Both {
        Both {
            belay: self.belay.memory,
            reflector: self.reflector.memory,
        }
    }

    /// Reports Belay's figures beside the other programs' figures.
    fn note(&self, report: &mut Report, size: Size, writes: u64) {
        let objects = size.clusters * (1 + POOLS_EACH + OPERATIONS_EACH);
        let reflector = (
            "a bare reflector",
            Some(&self.reflector),
            [Some(1.5), Some(1.3)],
        );
        let cache = (
            "a cache of controller-runtime",
            self.cache.as_ref(),
            [None, Some(0.33)],
        );
        for (peer, of_peer, [of_time, of_memory]) in [reflector, cache] {
            let Some(of_peer) = of_peer else { continue };
            let mut note = |what: &str, of: fn(&Started) -> f64, unit: &str, goal: Option<f64>| {
                report.note(
                    &format!("{what}, {objects} objects"),
                    format!("{:.1} {unit}", of(&self.belay)),
                    format!("{peer}: {:.1} {unit}", of(of_peer)),
                    Some(of(&self.belay) / of(of_peer)),
                    goal.map(Goal::AtMost),
                );
            };
            note("start to ready", |it| it.took.as_secs_f64(), "s", of_time);
            note("memory", |it| it.memory / 1_000.0, "MB", of_memory);
        }
        report.note(
            &format!("writes in {STARTS} starts, all at rest"),
            writes.to_string(),
            "",
            None,
            None,
        );
    }
}

impl Started {
    fn median(mut all: Vec<Self>) -> Option<Self> {
        all.sort_by_key(|started| started.took);
        let middle = all.len() / 2;
        all.into_iter().nth(middle)
    }

    async fn belay(stage: &Stage, namespace: &str) -> anyhow::Result<Self> {
        let operator = Operator::start(stage, namespace).await?;
        Self::rested(operator.took, &operator.process).await
    }

    async fn reflector(stage: &Stage, namespace: &str) -> anyhow::Result<Self> {
        let environment = [(REFLECTOR, OsStr::new(namespace))];
        Self::other(stage, &std::env::current_exe()?, &[], &environment).await
    }

    /// Starts a program that prints a line once it has seen all objects.
    async fn other(
        stage: &Stage,
        program: &Path,
        args: &[String],
        environment: &[(&str, &OsStr)],
    ) -> anyhow::Result<Self> {
        let log = stage.audited.control_plane.logs_dir().join("synced.log");
        let _ = std::fs::remove_file(&log);
        let mut all = vec![("KUBECONFIG", stage.operators.as_os_str())];
        all.extend(environment);
        let began = Instant::now();
        let process = Process::start_with(program, args, &all, &log)?;
        while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains(SYNCED)) {
            ensure!(began.elapsed() < Duration::from_mins(5), "never synced");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self::rested(began.elapsed(), &process).await
    }

    /// Reads the memory after a rest, when nothing is being decoded any more.
    async fn rested(took: Duration, process: &Process) -> anyhow::Result<Self> {
        tokio::time::sleep(REST).await;
        let (kibibytes, _) = numbers::memory(process.pid())?;
        Ok(Self {
            took,
            memory: numbers::kilobytes(kibibytes),
        })
    }
}
