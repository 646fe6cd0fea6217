//! All clusters and pools of a fleet are applied at once, as a GitOps tool would do after a disaster.

use std::time::{Duration, Instant};

use belay::api::{AgentPool, ManagedCluster};
use testenv::Component;

use crate::{
    Size,
    fleet::Fleet,
    numbers,
    report::{Goal, Report},
    stage::Stage,
};

const NAMESPACE: &str = "belay";
/// The number of pools of each cluster.
const POOLS: usize = 5;

/// Measures this, compared with the same creates without Belay and without its policies.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let bare = creates(&Stage::without_policies().await?, size).await?;
    let stage = Stage::set().await?;
    stage.namespace(NAMESPACE).await?;
    let operator = stage.operate_in(NAMESPACE)?;
    let server = stage.pid(Component::ApiServer)?;
    let (used, began) = (numbers::cpu(server)?, Instant::now());
    let fleet = Fleet::of(&stage.client, NAMESPACE);
    fleet.create(size.clusters, POOLS).await?;
    let created = began.elapsed();
    fleet.is_ready(size.clusters, POOLS).await?;
    let took = began.elapsed();
    let used = numbers::cpu(server)?.saturating_sub(used);
    let objects = size.clusters * (1 + POOLS);
    report.note(
        &format!("{objects} clusters and pools applied at once, until all are Ready"),
        format!(
            "{:.1} s (created after {:.1} s)",
            took.as_secs_f64(),
            created.as_secs_f64()
        ),
        format!(
            "the creates alone, without policies: {:.1} s",
            bare.took.as_secs_f64()
        ),
        Some(took.as_secs_f64() / bare.took.as_secs_f64()),
        Some(Goal::AtMost(2.0)),
    );
    report.note(
        "CPU of it",
        format!(
            "API server {:.1} s, Belay {:.1} s",
            used.as_secs_f64(),
            numbers::cpu(operator.pid())?.as_secs_f64()
        ),
        format!("API server {:.1} s", bare.used.as_secs_f64()),
        None,
        None,
    );
    Ok(())
}

struct Bare {
    took: Duration,
    used: Duration,
}

async fn creates(stage: &Stage, size: Size) -> anyhow::Result<Bare> {
    stage.namespace(NAMESPACE).await?;
    let server = stage.pid(Component::ApiServer)?;
    let (used, began) = (numbers::cpu(server)?, Instant::now());
    let fleet = Fleet::of(&stage.client, NAMESPACE);
    fleet.create(size.clusters, POOLS).await?;
    let took = began.elapsed();
    let made = (
        fleet.objects.list::<ManagedCluster>().await?.len(),
        fleet.objects.list::<AgentPool>().await?.len(),
    );
    anyhow::ensure!(made == (size.clusters, size.clusters * POOLS), "{made:?}");
    Ok(Bare {
        took,
        used: numbers::cpu(server)?.saturating_sub(used),
    })
}
