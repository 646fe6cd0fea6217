//! People edit without a pause: how many edits the API server accepts from them, with Belay and without, and what Belay
//! needs for this.

use std::time::{Duration, Instant};

use belay::api::{AgentPool, ManagedCluster};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use testenv::Component;

use crate::{
    Size, clusters,
    numbers::{self, float},
    objects::Objects,
    operator::Operator,
    report::{Goal, Report},
    seed::Template,
    stage::{Stage, until},
};

const BELAY: &str = "belay";
/// The namespace without an operator.
const NOBODY: &str = "nobody";
/// The number of people who edit. Each of them sends the next edit when the last one is answered.
const WRITERS: usize = 16;
/// The maximum number of cores that Belay may use.
const CORES: f64 = 0.5;

/// The kind of an edit.
#[derive(Clone, Copy)]
enum Edit {
    /// An annotation of a cluster: it has no consequences.
    Annotation,
    /// The label of a pool's nodes: each edit leads to its own Operation.
    Settings,
}

/// The result.
struct Done {
    /// The time until the last edit was answered.
    edited: Duration,
    /// The time until nothing was left to do.
    took: Duration,
    /// The API server's CPU time.
    server: Duration,
}

/// Measures it.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let template = Template::make(&stage, 1).await?;
    for namespace in [NOBODY, BELAY] {
        stage.namespace(namespace).await?;
        let numbers = 0..size.clusters;
        template.copy(&stage, namespace, numbers, 2).await?;
    }
    let operator = Operator::start(&stage, BELAY).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for (what, edit, edits) in [
        ("annotations", Edit::Annotation, size.clusters * 4),
        (
            "edits that each begin an Operation",
            Edit::Settings,
            size.clusters,
        ),
    ] {
        let bare = edit
            .make(&stage, NOBODY, size, edits, async || Ok(true))
            .await?;
        let finished = operator.counter("belay_operations_finished_total").await?;
        let reconciled = operator
            .counter("controller_runtime_reconcile_total")
            .await?;
        let used = numbers::cpu(operator.process.pid())?;
        let done = edit
            .make(&stage, BELAY, size, edits, async || {
                let now = operator.counter("belay_operations_finished_total").await?;
                Ok(now - finished >= edit.operations(edits))
            })
            .await?;
        let used = numbers::cpu(operator.process.pid())?.saturating_sub(used);
        let reconciled = operator
            .counter("controller_runtime_reconcile_total")
            .await?
            - reconciled;
        let what = format!("{edits} {what} by {WRITERS} writers");
        note(report, &what, &done, &bare, edits);
        note_load(report, &what, &done, &bare, (used, reconciled));
        // By then Belay has written everything that follows the end.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

impl Edit {
    /// Returns how many Operations follow.
    fn operations(self, edits: usize) -> f64 {
        match self {
            Self::Annotation => 0.0,
            Self::Settings => float(edits),
        }
    }

    /// Makes this many edits, one cluster after the other, and waits until their consequences are done.
    async fn make(
        self,
        stage: &Stage,
        namespace: &str,
        size: Size,
        edits: usize,
        is_done: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<Done> {
        let server = stage.pid(Component::ApiServer)?;
        let objects = &Objects::new(stage.client.clone(), namespace);
        let (used, began) = (numbers::cpu(server)?, Instant::now());
        stream::iter((0..edits).map(|edit| self.edit(objects, edit % size.clusters, edit)))
            .buffer_unordered(WRITERS)
            .try_collect::<()>()
            .await?;
        let edited = began.elapsed();
        until("done", || is_done()).await?;
        Ok(Done {
            edited,
            took: began.elapsed(),
            server: numbers::cpu(server)?.saturating_sub(used),
        })
    }

    async fn edit(self, objects: &Objects, cluster: usize, edit: usize) -> anyhow::Result<()> {
        let value = edit.to_string();
        match self {
            Self::Annotation => {
                let patch = json!({"metadata": {"annotations": {"edit": value}}});
                let name = clusters::name(cluster);
                objects.patch::<ManagedCluster>(&name, &patch).await
            }
            Self::Settings => {
                let patch = json!({"spec": {"nodeLabels": {"edit": value}}});
                let name = clusters::pool_of(cluster, 0);
                objects.patch::<AgentPool>(&name, &patch).await
            }
        }
    }
}

fn note(report: &mut Report, what: &str, done: &Done, bare: &Done, edits: usize) {
    let each_second = |time: Duration| float(edits) / time.as_secs_f64();
    let (with, without) = (each_second(done.edited), each_second(bare.edited));
    report.note(
        what,
        format!(
            "{with:.0} edits/s; {:.0}/s until all was done",
            each_second(done.took)
        ),
        format!("without Belay: {without:.0} edits/s"),
        Some(with / without),
        None,
    );
}

fn note_load(
    report: &mut Report,
    what: &str,
    done: &Done,
    bare: &Done,
    (used, reconciled): (Duration, f64),
) {
    let cores = |used: Duration, took: Duration| used.as_secs_f64() / took.as_secs_f64();
    let of_belay = cores(used, done.took);
    report.note(
        &format!("cores for {what}"),
        format!(
            "{of_belay:.2}, with {:.0} reconciles/s; the API server {:.2}",
            reconciled / done.took.as_secs_f64(),
            cores(done.server, done.took)
        ),
        format!(
            "{CORES} cores; the API server without Belay: {:.2}",
            cores(bare.server, bare.took)
        ),
        Some(of_belay / CORES),
        Some(Goal::AtMost(1.0)),
    );
}
