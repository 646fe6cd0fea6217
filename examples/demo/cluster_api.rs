//! The same on an existing Cluster of Cluster API: it is adopted, the same annotation aborts its upgrade, and the
//! upgrade goes on later.

use crate::{
    adopted::{CLUSTER, adopt, ask_to_abort, is_ready, upgrade},
    screen,
    stage::Stage,
    story::{hold, install, is_canceled, reconcile},
};

/// The version in examples/cluster-api, and the version of the upgrade.
const OLD: &str = "1.35.0";
const NEW: &str = "1.36.0";

/// Plays the whole story.
pub async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    install(stage).await?;
    make(stage).await?;
    adopt(stage, &format!("kubectl belay adopt cluster-api {CLUSTER}")).await?;
    let replaces = (1, "a Machine of the first pool replaced");
    let upgrade = upgrade(stage, NEW, replaces, |step| step.nodes_done > Some(0)).await?;
    abort(stage, &upgrade).await?;
    hold(stage, &upgrade).await?;
    go_on(stage).await
}

async fn make(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading(&format!(
        "A Cluster of Cluster API on {OLD}: a control plane and 6 Machines. Belay doesn't manage it yet"
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

async fn abort(stage: &mut Stage, upgrade: &str) -> anyhow::Result<()> {
    ask_to_abort(stage, upgrade).await?;
    is_canceled(stage, upgrade).await?;
    screen::heading("No more Machines are created or deleted")?;
    stage.run("kubectl get machines").await
}

async fn go_on(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading("Continue the upgrade")?;
    reconcile(stage).await?;
    is_ready(stage).await?;
    stage.run("kubectl get machines").await?;
    stage.run("kubectl get operations").await
}
