//! The same on a Cluster of Cluster API that exists already: it is adopted, its upgrade is aborted by the same
//! annotation, and goes on later.

use std::collections::BTreeSet;

use anyhow::ensure;
use belay::api::{Operation, OperationType};
use kube::ResourceExt as _;

use crate::{
    screen,
    stage::Stage,
    story::{hold, install, is_canceled, reconcile},
};

/// What examples/cluster-api makes.
const CLUSTER: &str = "demo";
const POOLS: usize = 2;
const OLD: &str = "1.35.0";
const NEW: &str = "1.36.0";

/// Tells it all.
pub async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    install(stage).await?;
    make(stage).await?;
    adopt(stage).await?;
    let upgrade = upgrade(stage).await?;
    abort(stage, &upgrade).await?;
    hold(stage, &upgrade).await?;
    go_on(stage).await
}

async fn make(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading(&format!(
        "A Cluster of Cluster API on {OLD}: a control plane and 6 Machines. Belay has no part in it yet"
    ))?;
    stage.run("kubectl apply -f examples/cluster-api/").await?;
    let cluster = format!("cluster.cluster.x-k8s.io/{CLUSTER}");
    stage
        .run(&format!(
            "kubectl wait --for=condition=Available {cluster} --timeout=5m"
        ))
        .await?;
    stage.run("kubectl get machines").await
}

/// What adopt prints is applied, and begins no operation.
async fn adopt(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading("Take it under Belay's operations, as it is")?;
    let adopt = format!("kubectl belay adopt cluster-api {CLUSTER}");
    stage.run(&adopt).await?;
    stage.run(&format!("{adopt} | kubectl apply -f -")).await?;
    stage
        .until("the cluster and its pools Ready", |eyes| {
            eyes.all_is_ready(POOLS).then_some(())
        })
        .await?;
    stage
        .run(&format!("kubectl belay status {CLUSTER}"))
        .await?;
    let begun = stage.eyes.names();
    ensure!(begun == BTreeSet::new(), "adopting it began {begun:?}");
    Ok(())
}

/// Upgrades until the first pool has Machines of both versions; gives the Operation's name.
async fn upgrade(stage: &mut Stage) -> anyhow::Result<String> {
    screen::heading(&format!("Upgrade to {NEW}"))?;
    let patch = format!(r#"{{"spec":{{"kubernetesVersion":"{NEW}"}}}}"#);
    stage
        .run(&format!(
            "kubectl patch managedcluster {CLUSTER} --type=merge -p '{patch}'"
        ))
        .await?;
    let name = stage
        .until("the Upgrade", |eyes| {
            let upgrade = eyes.operation(OperationType::Upgrade, CLUSTER);
            upgrade.map(Operation::name_any)
        })
        .await?;
    stage
        .follow(
            &format!("kubectl belay status {CLUSTER} --watch"),
            "a Machine of the first pool replaced",
            |eyes| {
                let upgrade = eyes.operation(OperationType::Upgrade, CLUSTER)?;
                let pool = upgrade.status.as_ref()?.steps.get(1)?;
                (pool.nodes_done? > 0).then_some(())
            },
        )
        .await?;
    Ok(name)
}

async fn abort(stage: &mut Stage, upgrade: &str) -> anyhow::Result<()> {
    screen::heading("Abort it")?;
    stage
        .run(&format!(
            "kubectl annotate operation {upgrade} belay.dev/abort='not today'"
        ))
        .await?;
    is_canceled(stage, upgrade).await?;
    screen::heading("No Machine more is made, and none more is deleted")?;
    stage.run("kubectl get machines").await
}

async fn go_on(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading("Ask for the rest")?;
    reconcile(stage).await?;
    stage
        .until("everything Ready", |eyes| {
            eyes.all_is_ready(POOLS).then_some(())
        })
        .await?;
    stage.run("kubectl get machines").await?;
    stage.run("kubectl get operations").await
}
