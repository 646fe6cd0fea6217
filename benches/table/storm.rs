//! A storm: all operations of a fleet are aborted at once.

use std::time::{Duration, Instant};

use belay::api::Operation;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use testenv::Component;

use crate::{
    Size,
    audit::Requests,
    fleet::Fleet,
    floor, numbers,
    report::{Goal, Report},
    seed::Template,
    seen::{Seen, Spreads},
    stage::{Stage, until},
};

const BELAY: &str = "belay";
const FLOOR: &str = "floor";
/// The number of requests that people make at once.
const AT_ONCE: usize = 32;

/// Measures this, compared with the same number of status writes in pairs, with the same number of concurrent requests.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    for name in [BELAY, FLOOR] {
        stage.namespace(name).await?;
    }
    let writes = plain_writes(&stage, size.clusters).await?;
    let template = Template::make(&stage, 1).await?;
    template.copy(&stage, BELAY, 0..size.clusters, 2).await?;
    let operator = stage.operate_in(BELAY)?;
    let fleet = Fleet::of(&stage.client, BELAY);
    let names = fleet.hang(size.clusters).await?;
    let seen = Seen::watch(&stage.client, BELAY);
    let mut requests = Requests::of(stage.audited.log.clone(), "belay-system:belay")?;
    let (server, used) = (
        stage.pid(Component::ApiServer)?,
        numbers::cpu(operator.pid())?,
    );
    let used_by_server = numbers::cpu(server)?;
    let began = Instant::now();
    let aborts = names.iter().map(|name| seen.abort(name));
    stream::iter(aborts)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let asked = began.elapsed();
    until(
        "Canceled",
        async || Ok(seen.canceled(&names) == names.len()),
    )
    .await?;
    let took = began.elapsed();
    let Spreads {
        canceling,
        canceled,
        ..
    } = seen.spreads(&names)?;
    let floor = asked + writes;
    report.note(
        &format!(
            "a storm of {} aborts, until the last is Canceled",
            names.len()
        ),
        format!("{:.1} s", took.as_secs_f64()),
        format!(
            "the annotations ({:.1} s), then two plain status writes each ({:.1} s)",
            asked.as_secs_f64(),
            writes.as_secs_f64()
        ),
        Some(floor.as_secs_f64() / took.as_secs_f64()),
        Some(Goal::AtLeast(0.7)),
    );
    report.note(
        "its CPU and requests",
        format!(
            "Belay {:.1} s, API server {:.1} s",
            (numbers::cpu(operator.pid())?.saturating_sub(used)).as_secs_f64(),
            (numbers::cpu(server)?.saturating_sub(used_by_server)).as_secs_f64()
        ),
        format!("{:?}", requests.since()?),
        None,
        None,
    );
    report.note(
        "one of them until Canceling",
        canceling.to_string(),
        "",
        None,
        None,
    );
    report.note(
        "one of them until Canceled",
        canceled.to_string(),
        "",
        None,
        None,
    );
    Ok(())
}

/// Returns how long the API server takes for two plain status writes of this many Operations.
async fn plain_writes(stage: &Stage, count: usize) -> anyhow::Result<Duration> {
    let operations = Api::<Operation>::namespaced(stage.client.clone(), FLOOR);
    for number in 0..count {
        floor::operation(&stage.client, FLOOR, &format!("op-{number}")).await?;
    }
    let began = Instant::now();
    let operations = &operations;
    let writes = (0..count)
        .map(|number| async move { floor::write_twice(operations, &format!("op-{number}")).await });
    stream::iter(writes)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(began.elapsed())
}
