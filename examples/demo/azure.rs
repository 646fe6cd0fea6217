//! The same on an existing AKS cluster, on a fake of Azure: it is adopted, the same annotation aborts its upgrade, and
//! the upgrade goes on later. Then somebody scales a node pool with az.

use std::time::Duration;

use anyhow::ensure;
use belay::api::{OperationPhase, OperationType};
use serde_json::json;
use testenv::clouds::azure::{CLIENT, Pool, SECRET, SUBSCRIPTION, TENANT};

use crate::{
    adopted::{CLUSTER, adopt, ask_to_abort, is_ready, upgrade},
    screen,
    stage::Stage,
    story::{hold, install, is_canceled, reconcile},
};

const GROUP: &str = "fleet";
const OLD: &str = "1.33.4";
const NEW: &str = "1.34.1";
/// How long AKS takes for an operation, and to stop one.
const TAKES: Duration = Duration::from_secs(5);
const TAKES_TO_STOP: Duration = Duration::from_secs(2);

/// Plays the whole story.
pub async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    install(stage).await?;
    make(stage).await?;
    adopt(
        stage,
        &format!(
            "kubectl belay adopt azure {CLUSTER} --subscription {SUBSCRIPTION} --resource-group {GROUP} --credentials-secret azure"
        ),
    )
    .await?;
    let second = (2, "the upgrade of the second node pool");
    let upgrade = upgrade(stage, NEW, second, |step| step.percent_complete > Some(20)).await?;
    abort(stage, &upgrade).await?;
    hold(stage, &upgrade).await?;
    go_on(stage).await?;
    others(stage).await
}

async fn make(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading(&format!(
        "An AKS cluster on {OLD} with two node pools. Belay doesn't manage it yet"
    ))?;
    let azure = stage.clouds.azure()?;
    let pool = |name, count, mode| Pool { name, count, mode };
    let pools = [pool("system", 2, "System"), pool("np1", 3, "User")];
    azure.create(GROUP, CLUSTER, OLD, &pools);
    azure.takes(TAKES, TAKES_TO_STOP);
    stage
        .run(&format!(
            "kubectl create secret generic azure --from-literal=AZURE_TENANT_ID={TENANT} \
             --from-literal=AZURE_CLIENT_ID={CLIENT} --from-literal=AZURE_CLIENT_SECRET={SECRET}"
        ))
        .await
}

async fn abort(stage: &mut Stage, upgrade: &str) -> anyhow::Result<()> {
    let before = stage.clouds.azure()?.exchanges().len();
    ask_to_abort(stage, upgrade).await?;
    is_canceled(stage, upgrade).await?;
    screen::heading("Requests to Azure since the annotation")?;
    let azure = stage.clouds.azure()?;
    for exchange in azure.exchanges().iter().skip(before) {
        let state = &exchange.response["properties"]["provisioningState"];
        let state = state.as_str().unwrap_or_default();
        screen::say(&format!("{exchange} {state}"))?;
    }
    let state = azure.pool(GROUP, CLUSTER, "np1")["properties"]["provisioningState"].clone();
    ensure!(state == "Canceled", "the node pool is {state}");
    Ok(())
}

/// An operation that somebody else started is in the lock, and Belay leaves it alone.
async fn others(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading("Somebody scales the System pool to 3 nodes with az")?;
    let azure = stage.clouds.azure()?;
    azure.somebody_changes(GROUP, CLUSTER, Some("system"), &json!({"count": 3}));
    stage
        .until("the Scale that somebody began", |eyes| {
            eyes.operation(OperationType::Scale, "system").map(|_| ())
        })
        .await?;
    stage.run("kubectl get operations").await?;
    stage
        .until("its end", |eyes| {
            let scale = eyes.operation(OperationType::Scale, "system")?;
            let phase = scale.status.as_ref()?.phase;
            (phase == OperationPhase::Succeeded).then_some(())
        })
        .await?;
    screen::heading("Belay doesn't revert it. Write it into the spec, too")?;
    stage
        .run("kubectl scale agentpool system --replicas=3")
        .await?;
    is_ready(stage).await?;
    stage.run("kubectl get managedclusters,agentpools").await
}

async fn go_on(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading("Continue the upgrade")?;
    reconcile(stage).await?;
    is_ready(stage).await?;
    let runs = stage.clouds.azure()?.pool(GROUP, CLUSTER, "np1");
    let runs = &runs["properties"]["currentOrchestratorVersion"];
    ensure!(*runs == NEW, "np1 runs {runs}");
    Ok(())
}
