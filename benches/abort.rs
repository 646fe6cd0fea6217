//! From an abort's annotation to `Canceled`: Belay beside its floor, in turns on the same control plane.
//!
//! The floor is a loop that does nothing but watch Operations and write `Canceling`, then `Canceled`. Belay
//! aborts the making of a node: it stops the work, takes the half-made node away, and frees the lock.
//!
//! `cargo bench --bench abort` prints the medians and their ratio; `ROUNDS=100` makes more of them.

#[path = "shared/kinds.rs"]
mod kinds;

use std::{
    ffi::OsStr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use belay::api::{AgentPool, ManagedCluster, Operation, OperationPhase, OperationType};
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use testenv::{ControlPlane, Process};

const BELAY: &str = "belay";
const FLOOR: &str = "floor";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rounds = std::env::var("ROUNDS").map_or(Ok(30), |rounds| rounds.parse())?;
    let control_plane = ControlPlane::start().await?;
    let client = control_plane.client().await?;
    kinds::install(&client, &[BELAY, FLOOR]).await?;
    let environment = [
        ("KUBECONFIG", control_plane.dir().join("admin.kubeconfig")),
        ("BELAY_NAMESPACE", BELAY.into()),
    ];
    let environment: Vec<(&str, &OsStr)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_os_str()))
        .collect();
    let log = control_plane.logs_dir().join("belay.log");
    let program = Path::new(env!("CARGO_BIN_EXE_belay"));
    let _operator = Process::start_with(program, &[], &environment, &log)?;
    tokio::spawn(cancel_at_once(Api::namespaced(client.clone(), FLOOR)));
    prepare(&client).await?;
    let (mut belay, mut floor) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        belay.push(abort_of_belay(&client, round).await?);
        floor.push(abort_of_floor(&client, round).await?);
    }
    let (belay, floor) = (Spread::of(belay), Spread::of(floor));
    println!("abort to Canceled, {rounds} rounds in turns");
    println!("  belay  {belay}");
    println!("  floor  {floor}");
    let ratio = belay.median.as_secs_f64() / floor.median.as_secs_f64();
    println!("  ratio of the medians: {ratio:.1}");
    Ok(())
}

/// A cluster with an empty pool, whose nodes would take ten minutes to come up.
async fn prepare(client: &Client) -> anyhow::Result<()> {
    let cluster = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}});
    let cluster = ManagedCluster::new("demo", serde_json::from_value(cluster)?);
    let clusters = Api::<ManagedCluster>::namespaced(client.clone(), BELAY);
    clusters.create(&PostParams::default(), &cluster).await?;
    await_condition(
        clusters.clone(),
        "demo",
        |cluster: Option<&ManagedCluster>| {
            let status = cluster.and_then(|cluster| cluster.status.as_ref());
            status.is_some_and(|status| status.last_operation.is_some())
        },
    )
    .await?;
    let slow = json!({"spec": {"provider": {"kwok": {"nodeProvisioningTime": "10m"}}}});
    clusters
        .patch("demo", &PatchParams::default(), &Patch::Merge(slow))
        .await?;
    let pool = serde_json::from_value(json!({"clusterName": "demo", "count": 0}))?;
    let pools = Api::<AgentPool>::namespaced(client.clone(), BELAY);
    pools
        .create(&PostParams::default(), &AgentPool::new("np1", pool))
        .await?;
    await_condition(pools, "np1", |pool: Option<&AgentPool>| {
        let status = pool.and_then(|pool| pool.status.as_ref());
        status.is_some_and(|status| status.last_operation.is_some())
    })
    .await?;
    Ok(())
}

/// Asks for a node, and aborts once it is being made.
async fn abort_of_belay(client: &Client, round: usize) -> anyhow::Result<Duration> {
    let pools = Api::<AgentPool>::namespaced(client.clone(), BELAY);
    let operations = Api::<Operation>::namespaced(client.clone(), BELAY);
    // Back to none, so that each round's spec differs from the last: the hold ends with its change.
    for count in [0, 1] {
        let patch = Patch::Merge(
            json!({"spec": {"count": count, "nodeLabels": {"round": round.to_string()}}}),
        );
        pools.patch("np1", &PatchParams::default(), &patch).await?;
        let generation = pools.get("np1").await?.metadata.generation;
        await_condition(pools.clone(), "np1", move |pool: Option<&AgentPool>| {
            let Some(status) = pool.and_then(|pool| pool.status.as_ref()) else {
                return false;
            };
            let is_done = status
                .last_operation
                .as_ref()
                .is_some_and(|last| Some(last.target_generation) == generation);
            let is_begun = status.operation.as_ref().is_some_and(|operation| {
                operation.phase == OperationPhase::InProgress
                    && operation.type_ == OperationType::Scale
            });
            if count == 0 { is_done } else { is_begun }
        })
        .await?;
    }
    let list = operations.list(&ListParams::default()).await?;
    let in_flight = list.items.into_iter().find(|operation| {
        let status = operation.status.as_ref();
        operation.spec.type_ == OperationType::Scale
            && status.is_some_and(|status| status.phase == OperationPhase::InProgress)
    });
    let name = in_flight.context("an operation in flight")?.name_any();
    abort(&operations, &name).await
}

/// An Operation that the floor's loop takes for one in flight.
async fn abort_of_floor(client: &Client, round: usize) -> anyhow::Result<Duration> {
    let operations = Api::<Operation>::namespaced(client.clone(), FLOOR);
    let spec = json!({"type": "Reconcile", "target": {"kind": "AgentPool", "name": "np1"}});
    let name = format!("op-{round}");
    let operation = Operation::new(&name, serde_json::from_value(spec)?);
    operations
        .create(&PostParams::default(), &operation)
        .await?;
    abort(&operations, &name).await
}

async fn abort(operations: &Api<Operation>, name: &str) -> anyhow::Result<Duration> {
    let watch = WatchParams::default().fields(&format!("metadata.name={name}"));
    let version = operations
        .get(name)
        .await?
        .resource_version()
        .unwrap_or_default();
    let mut events = operations.watch(&watch, &version).await?.boxed();
    let began = Instant::now();
    let patch =
        Patch::Merge(json!({"metadata": {"annotations": {"belay.dev/abort": "a benchmark"}}}));
    operations
        .patch(name, &PatchParams::default(), &patch)
        .await?;
    while let Some(event) = events.next().await {
        if let WatchEvent::Modified(operation) = event?
            && operation
                .status
                .is_some_and(|status| status.phase == OperationPhase::Canceled)
        {
            return Ok(began.elapsed());
        }
    }
    anyhow::bail!("the watch ended before {name} was Canceled")
}

/// The floor: two writes for each annotation, and nothing else.
async fn cancel_at_once(operations: Api<Operation>) -> anyhow::Result<()> {
    let mut events = operations
        .watch(&WatchParams::default(), "0")
        .await?
        .boxed();
    while let Some(event) = events.next().await {
        let WatchEvent::Modified(operation) = event? else {
            continue;
        };
        let status = operation.status.as_ref();
        let is_pending = status.is_none_or(|status| status.phase == OperationPhase::Pending);
        if operation.annotations().contains_key("belay.dev/abort") && is_pending {
            for phase in ["Canceling", "Canceled"] {
                let status: Value = json!({"status": {"phase": phase}});
                operations
                    .patch_status(
                        &operation.name_any(),
                        &PatchParams::default(),
                        &Patch::Merge(status),
                    )
                    .await?;
            }
        }
    }
    Ok(())
}

struct Spread {
    median: Duration,
    least: Duration,
    most: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self {
            median: times[times.len() / 2],
            least: times[0],
            most: times[times.len() - 1],
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "median {:.1?}, from {:.1?} to {:.1?}",
            self.median, self.least, self.most
        )
    }
}
