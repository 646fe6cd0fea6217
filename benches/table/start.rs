//! From the start of the program until it has seen all there is, and the memory that it needs then: Belay beside a bare
//! reflector of the same kinds, and a cache of controller-runtime.

use std::{
    ffi::OsStr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use belay::api::{AgentPool, ManagedCluster, Operation};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, Config, Resource,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use testenv::Process;

use crate::{
    Size, clusters,
    fleet::Fleet,
    numbers,
    report::{Goal, Report},
    stage::Stage,
};

const NAMESPACE: &str = "belay";
/// Pools of each cluster.
const POOLS: usize = 5;
/// Operations of each cluster: as many as are kept.
const OPERATIONS: usize = 50;
/// How many requests are made at once.
const AT_ONCE: usize = 32;
/// The environment variable that has this program be the bare reflector, with its kubeconfig.
pub const REFLECTOR: &str = "BENCH_REFLECTOR";
/// What a program writes once it has seen all.
const SYNCED: &str = "synced";
/// How often each of them is started.
const STARTS: usize = 3;

/// Measures it.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    stage.namespace(NAMESPACE).await?;
    let fleet = Fleet::of(&stage.client, NAMESPACE);
    let idle = Started::belay(&stage).await?;
    report.note(
        "memory with nothing to do",
        format!("{:.1} MB", kilobytes(idle.memory) / 1_000.0),
        "15 MB",
        Some(kilobytes(idle.memory) / 15_000.0),
        Some(Goal::AtMost(1.0)),
    );
    let operator = stage.operate_in(NAMESPACE)?;
    fleet.create(size.clusters, POOLS).await?;
    fleet.is_ready(size.clusters, POOLS).await?;
    drop(operator);
    let few = All::start(&stage).await?;
    let more = size.clusters * (OPERATIONS - POOLS - 1);
    history(&stage.client, size.clusters).await?;
    let all = All::start(&stage).await?;
    let objects = size.clusters * (1 + POOLS + OPERATIONS);
    let mut note =
        |what: &str, belay: f64, beside: f64, unit: &str, peer: &str, goal: Option<Goal>| {
            report.note(
                &format!("{what}, {objects} objects"),
                format!("{belay:.1} {unit}"),
                format!("{peer}: {beside:.1} {unit}"),
                Some(belay / beside),
                goal,
            );
        };
    let seconds = |started: &Started| started.took.as_secs_f64();
    let megabytes = |started: &Started| kilobytes(started.memory) / 1_000.0;
    note(
        "start to ready",
        seconds(&all.belay),
        seconds(&all.reflector),
        "s",
        "a bare reflector",
        Some(Goal::AtMost(1.5)),
    );
    note(
        "memory",
        megabytes(&all.belay),
        megabytes(&all.reflector),
        "MB",
        "a bare reflector",
        Some(Goal::AtMost(1.3)),
    );
    if let Some(cache) = &all.cache {
        note(
            "start to ready",
            seconds(&all.belay),
            seconds(cache),
            "s",
            "a cache of controller-runtime",
            None,
        );
        note(
            "memory",
            megabytes(&all.belay),
            megabytes(cache),
            "MB",
            "a cache of controller-runtime",
            Some(Goal::AtMost(0.33)),
        );
    }
    let each = |few: &Started, all: &Started| {
        (kilobytes(all.memory) - kilobytes(few.memory)) / as_float(more)
    };
    let (belay, reflector) = (
        each(&few.belay, &all.belay),
        each(&few.reflector, &all.reflector),
    );
    report.note(
        "memory for each finished Operation",
        format!("{belay:.2} kB"),
        format!("2 kB (a bare reflector: {reflector:.2} kB)"),
        Some(belay / 2.0),
        Some(Goal::AtMost(1.0)),
    );
    Ok(())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "far below what a float counts exactly"
)]
fn kilobytes(of: u64) -> f64 {
    of as f64 * 1.024
}

#[allow(
    clippy::cast_precision_loss,
    reason = "far below what a float counts exactly"
)]
fn as_float(of: usize) -> f64 {
    of as f64
}

/// Makes finished Operations, as many as each cluster keeps.
async fn history(client: &Client, clusters: usize) -> anyhow::Result<()> {
    let operations = &Api::<Operation>::namespaced(client.clone(), NAMESPACE);
    let all = (0..clusters)
        .flat_map(|cluster| (POOLS + 1..OPERATIONS).map(move |number| (cluster, number)));
    let made = all.map(|(cluster, number)| async move {
        let name = format!("old-{cluster}-{number}");
        let spec = json!({"type": "Reconcile", "target": {"kind": "ManagedCluster", "name": clusters::name(cluster)}});
        let operation = Operation::new(&name, serde_json::from_value(spec)?);
        operations.create(&PostParams::default(), &operation).await?;
        let steps = json!([{"name": "control-plane", "action": "Upgrade", "phase": "Succeeded", "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:01Z"}]);
        let status = json!({"status": {"phase": "Succeeded", "percentComplete": 100, "steps": steps, "observedGeneration": 1,
            "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:02Z"}});
        operations.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        anyhow::Ok(())
    });
    stream::iter(made)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// A program that has seen all there is.
struct Started {
    took: Duration,
    /// In KiB.
    memory: u64,
}

/// All three programs.
struct All {
    belay: Started,
    reflector: Started,
    cache: Option<Started>,
}

impl All {
    /// The medians of some starts, in turns.
    async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let (mut belay, mut reflector, mut cache) = (Vec::new(), Vec::new(), Vec::new());
        let peer = testenv::binary("cache").ok();
        for _ in 0..STARTS {
            belay.push(Started::belay(stage).await?);
            let environment: [(&str, &OsStr); 1] = [(REFLECTOR, OsStr::new("1"))];
            reflector
                .push(Started::other(stage, &std::env::current_exe()?, &[], &environment).await?);
            if let Some(peer) = &peer {
                let args = [format!("--namespace={NAMESPACE}")];
                cache.push(Started::other(stage, peer, &args, &[]).await?);
            }
        }
        Ok(Self {
            belay: Started::median(belay).context("a start")?,
            reflector: Started::median(reflector).context("a start")?,
            cache: Started::median(cache),
        })
    }
}

impl Started {
    fn median(mut all: Vec<Self>) -> Option<Self> {
        all.sort_by_key(|started| started.took);
        let middle = all.len() / 2;
        all.into_iter().nth(middle)
    }

    async fn belay(stage: &Stage) -> anyhow::Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let began = Instant::now();
        let operator = stage.operate_with(&[
            &format!("--namespace={NAMESPACE}"),
            &format!("--metrics-address={address}"),
            "--leader-election=never",
        ])?;
        let url: http::Uri = format!("http://{address}/readyz").parse()?;
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Empty<axum::body::Bytes>>();
        while !client
            .get(url.clone())
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            anyhow::ensure!(began.elapsed() < Duration::from_mins(5), "never ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self::rested(began, &operator).await
    }

    /// A program that writes a line once it has seen all.
    async fn other(
        stage: &Stage,
        program: &Path,
        args: &[String],
        environment: &[(&str, &OsStr)],
    ) -> anyhow::Result<Self> {
        let log = stage.audited.control_plane.logs_dir().join("synced.log");
        let _ = std::fs::remove_file(&log);
        let kubeconfig = stage.operators.clone();
        let mut all = vec![("KUBECONFIG", kubeconfig.as_os_str())];
        all.extend(environment);
        let began = Instant::now();
        let process = Process::start_with(program, args, &all, &log)?;
        while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains(SYNCED)) {
            anyhow::ensure!(began.elapsed() < Duration::from_mins(5), "never synced");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self::rested(began, &process).await
    }

    /// The memory once nothing is decoded any more.
    async fn rested(began: Instant, process: &Process) -> anyhow::Result<Self> {
        let took = began.elapsed();
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(Self {
            took,
            memory: numbers::memory(process.pid())?.0,
        })
    }
}

/// Is the bare reflector: it lists and watches the three kinds, and keeps them as they are decoded.
///
/// # Errors
/// Where there is no control plane.
pub async fn reflect() -> anyhow::Result<()> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read()?, &options).await?;
    let client = belay::machinery::connection::builder(config)?.build();
    tokio::try_join!(
        mirror::<ManagedCluster>(&client),
        mirror::<AgentPool>(&client),
        mirror::<Operation>(&client)
    )?;
    println!("{SYNCED}");
    std::future::pending().await
}

async fn mirror<K>(client: &Client) -> anyhow::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let objects = Api::<K>::namespaced(client.clone(), NAMESPACE);
    let events = reflector::reflector(writer, watcher(objects, watcher::Config::default()));
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events.default_backoff().touched_objects());
        while events.next().await.is_some() {}
    });
    store.wait_until_ready().await?;
    // It is kept for as long as the program runs.
    std::mem::forget(store);
    Ok(())
}
