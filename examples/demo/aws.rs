//! The same on an existing EKS cluster, on a fake of AWS: it is adopted and upgraded. EKS can't stop an upgrade, and
//! says so. The same annotation stops the rollback of an EKS Auto Mode cluster while its nodes roll back.

use std::time::Duration;

use anyhow::ensure;
use belay::api::{CancellationStatus, Operation, OperationPhase, OperationType, Step};
use kube::ResourceExt as _;
use testenv::clouds::aws::{ACCESS_KEY, Nodegroup, REGION, SECRET_KEY};

use crate::{
    adopted::{CLUSTER, adopt, ask_to_abort, is_ready, upgrade},
    screen,
    stage::Stage,
    story::{install, is_canceled},
};

const OLD: &str = "1.33.0";
const NEW: &str = "1.34.0";
/// How long EKS takes for an update, and for its cancellation.
const TAKES: Duration = Duration::from_secs(4);
const TAKES_TO_CANCEL: Duration = Duration::from_secs(2);

/// Plays the whole story.
pub async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    install(stage).await?;
    make(stage).await?;
    let command =
        format!("kubectl belay adopt aws {CLUSTER} --region {REGION} --credentials-secret aws");
    adopt(stage, &command).await?;
    go_up(stage).await?;
    go_back(stage).await?;
    follow(stage).await
}

async fn make(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading(&format!(
        "A cluster of EKS Auto Mode on {OLD}, with two additional nodegroups. Belay doesn't manage it yet"
    ))?;
    let aws = stage.clouds.aws()?;
    let group = |name, size| Nodegroup { name, size };
    aws.create(CLUSTER, "1.33", true, &[group("np0", 2), group("np1", 3)]);
    aws.takes(TAKES, TAKES_TO_CANCEL);
    stage
        .run(&format!(
            "kubectl create secret generic aws --from-literal=AWS_ACCESS_KEY_ID={ACCESS_KEY} \
             --from-literal=AWS_SECRET_ACCESS_KEY={SECRET_KEY}"
        ))
        .await
}

/// An upgrade can't be stopped, and Belay says why.
async fn go_up(stage: &mut Stage) -> anyhow::Result<()> {
    let second = (1, "the upgrade of the first nodegroup");
    let has_begun = |step: &Step| step.handle.is_some();
    let upgrade = upgrade(stage, NEW, second, has_begun).await?;
    ask_to_abort(stage, &upgrade).await?;
    let reason = stage
        .until("why EKS can't", |eyes| {
            let upgrade = eyes.operation(OperationType::Upgrade, CLUSTER)?;
            let cancellation = upgrade.status.as_ref()?.cancellation.as_ref()?;
            let has_failed = cancellation.status == CancellationStatus::Failed;
            has_failed.then(|| cancellation.reason.clone())
        })
        .await?;
    screen::say(&reason)?;
    ensure!(
        reason.starts_with("EKS can't stop"),
        "refused with another reason: {reason}"
    );
    screen::heading("It continues to its end")?;
    stage
        .run(&format!("kubectl belay operation wait {upgrade}"))
        .await?;
    is_ready(stage).await
}

/// A rollback is stopped while the nodes roll back.
async fn go_back(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading(&format!(
        "Roll back to {OLD}: nodegroups first, then EKS's own nodes, the control plane last"
    ))?;
    stage.clouds.aws()?.hold(CLUSTER, true);
    let patch = format!(r#"{{"spec":{{"kubernetesVersion":"{OLD}"}}}}"#);
    stage
        .run(&format!(
            "kubectl patch managedcluster {CLUSTER} --type=merge -p '{patch}'"
        ))
        .await?;
    let watch = format!("kubectl belay status {CLUSTER} --watch");
    let rollback = stage
        .follow(&watch, "the rollback of EKS's own nodes", |eyes| {
            let rollback = eyes.operation(OperationType::Rollback, CLUSTER)?;
            let last = rollback.status.as_ref()?.steps.last()?;
            let has_begun = last.name == "control-plane" && last.handle.is_some();
            has_begun.then(|| Operation::name_any(rollback))
        })
        .await?;
    let before = stage.clouds.aws()?.exchanges().len();
    ask_to_abort(stage, &rollback).await?;
    is_canceled(stage, &rollback).await?;
    screen::heading("Requests to EKS since the annotation")?;
    let aws = stage.clouds.aws()?;
    aws.hold(CLUSTER, false);
    for exchange in aws.exchanges().iter().skip(before) {
        let update = &exchange.response["update"];
        let (status, cancellation) = (&update["status"], &update["cancellation"]["status"]);
        let words = [status, cancellation].map(|word| word.as_str().unwrap_or_default());
        screen::say(format!("{exchange} {}", words.join(" ")).trim_end())?;
    }
    let runs = aws.cluster(CLUSTER)["version"].clone();
    ensure!(runs == "1.34", "the control plane runs {runs}");
    Ok(())
}

/// The nodegroups follow the control plane, which kept its version.
async fn follow(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading(
        "A separate Operation brings the nodegroups to the version of the control plane",
    )?;
    stage
        .until(
            "the nodegroups on the version of the control plane",
            |eyes| {
                let upgrade = eyes.operation(OperationType::Upgrade, "np1")?;
                let phase = upgrade.status.as_ref()?.phase;
                (phase == OperationPhase::Succeeded).then_some(())
            },
        )
        .await?;
    let aws = stage.clouds.aws()?;
    let runs = ["np0", "np1"].map(|group| aws.nodegroup(CLUSTER, group)["version"].clone());
    ensure!(runs == ["1.34", "1.34"], "the nodegroups run {runs:?}");
    stage.run("kubectl get operations").await
}
