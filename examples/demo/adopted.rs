//! The common part of the stories about existing clusters: the cluster is adopted and upgraded.

use std::collections::BTreeSet;

use anyhow::ensure;
use belay::api::{Operation, OperationType, Step};
use kube::ResourceExt as _;

use crate::{screen, stage::Stage};

/// The `ManagedCluster`.
pub const CLUSTER: &str = "demo";
/// The number of its pools.
const POOLS: usize = 2;

/// Applies what adopt prints, and checks that this starts no operation.
pub async fn adopt(stage: &mut Stage, adopt: &str) -> anyhow::Result<()> {
    screen::heading("Adopt the cluster as it is")?;
    stage.run(adopt).await?;
    stage.run(&format!("{adopt} | kubectl apply -f -")).await?;
    is_ready(stage).await?;
    stage
        .run(&format!("kubectl belay status {CLUSTER}"))
        .await?;
    let begun = stage.eyes.names();
    ensure!(begun == BTreeSet::new(), "the adoption started {begun:?}");
    Ok(())
}

/// Upgrades until a step is far enough. Returns the Operation's name.
pub async fn upgrade(
    stage: &mut Stage,
    to: &str,
    (step, what): (usize, &str),
    is_far: impl Fn(&Step) -> bool,
) -> anyhow::Result<String> {
    screen::heading(&format!("Upgrade to {to}"))?;
    let patch = format!(r#"{{"spec":{{"kubernetesVersion":"{to}"}}}}"#);
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
    let watch = format!("kubectl belay status {CLUSTER} --watch");
    stage
        .follow(&watch, what, |eyes| {
            let upgrade = eyes.operation(OperationType::Upgrade, CLUSTER)?;
            let step = upgrade.status.as_ref()?.steps.get(step)?;
            is_far(step).then_some(())
        })
        .await?;
    Ok(name)
}

/// Requests the abort of an Operation.
pub async fn ask_to_abort(stage: &Stage, operation: &str) -> anyhow::Result<()> {
    screen::heading("Abort it")?;
    stage
        .run(&format!(
            "kubectl annotate operation {operation} belay.dev/abort='not today'"
        ))
        .await
}

/// Waits until the cluster and its pools are Ready.
pub async fn is_ready(stage: &mut Stage) -> anyhow::Result<()> {
    stage
        .until("the cluster and its pools Ready", |eyes| {
            eyes.all_is_ready(POOLS).then_some(())
        })
        .await
}
