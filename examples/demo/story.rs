//! The story, act by act. Each act ends when the state that it shows was seen.

use anyhow::ensure;
use belay::api::{Operation, OperationPhase, OperationType};
use kube::ResourceExt as _;

use crate::{screen, stage::Stage};

/// The cluster, the pools and the nodes of examples/quickstart.
const CLUSTER: &str = "demo";
const POOLS: usize = 2;
const NODES: usize = 5;
const BUDGET: &str = "default/web";
const OLD: &str = "1.35.7";
const NEW: &str = "1.36.3";
/// The Operation of examples/reconcile.yaml.
const RECONCILE: &str = "demo-go-on";

/// Plays the whole story.
pub async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    install(stage).await?;
    come_up(stage).await?;
    let upgrade = upgrade(stage).await?;
    ask_why(stage).await?;
    refuse(stage, &upgrade).await?;
    abort(stage, &upgrade).await?;
    hold(stage, &upgrade).await?;
    go_on(stage, &upgrade).await
}

pub async fn install(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading("Belay: its kinds and policies, and the operator as a process")?;
    stage
        .run("kubectl apply -f crds/ -f policies/ >/dev/null")
        .await?;
    stage
        .run("kubectl wait --for=condition=Established --timeout=2m -f crds/ >/dev/null")
        .await?;
    stage.start_operator()
}

async fn come_up(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading(&format!(
        "A cluster on {OLD}: 2 System nodes, 3 User nodes, and 3 pods whose PDB allows no eviction"
    ))?;
    stage.run("kubectl apply -f examples/quickstart/").await?;
    let versions = [(format!("v{OLD}"), NODES)].into();
    stage
        .follow(
            &format!("kubectl belay status {CLUSTER} --watch"),
            &format!("the cluster and its pools Ready, {NODES} nodes on {OLD}"),
            |eyes| (eyes.all_is_ready(POOLS) && eyes.versions() == versions).then_some(()),
        )
        .await?;
    stage
        .run("kubectl rollout status deployment/web --timeout=2m")
        .await
}

/// Upgrades until a PDB blocks the upgrade. Returns the Operation's name.
async fn upgrade(stage: &mut Stage) -> anyhow::Result<String> {
    screen::heading(&format!(
        "Upgrade to {NEW}: first show the plan, then apply the change"
    ))?;
    let change = format!("sed s/{OLD}/{NEW}/ examples/quickstart/cluster.yaml");
    stage
        .run(&format!("{change} | kubectl belay plan -f -"))
        .await?;
    stage.run(&format!("{change} | kubectl apply -f -")).await?;
    let name = stage
        .until("the Upgrade", |eyes| {
            let upgrade = eyes.operation(OperationType::Upgrade, CLUSTER);
            upgrade.map(Operation::name_any)
        })
        .await?;
    let blocked = stage
        .follow(
            &format!("kubectl belay status {CLUSTER} --watch"),
            "the Upgrade blocked",
            |eyes| eyes.blocked(&name),
        )
        .await?;
    ensure!(
        blocked.reason == "PodDisruptionBudget" && blocked.message.contains(BUDGET),
        "the Upgrade is blocked by something else: {blocked:?}"
    );
    Ok(name)
}

async fn ask_why(stage: &mut Stage) -> anyhow::Result<()> {
    screen::heading("It hangs: why?")?;
    stage.run(&format!("kubectl belay why {CLUSTER}")).await
}

/// Until then the API server refuses any other change.
async fn refuse(stage: &mut Stage, upgrade: &str) -> anyhow::Result<()> {
    screen::heading("One operation at a time: the API server refuses other changes until it ends")?;
    let scale = "kubectl scale agentpool demo-np1 --replicas=5";
    // Policies take effect some time after they were applied.
    stage
        .until_answered(&format!("{scale} --dry-run=server"), "denied request")
        .await?;
    let refused = stage.refused(scale).await?;
    let expected = format!(
        "denied request: (OperationNotAllowed) Operation is not allowed: Another operation ({upgrade}) is in progress, please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {upgrade} belay.dev/abort=<reason>"
    );
    ensure!(
        refused.trim_end().ends_with(&expected),
        "refused with another message"
    );
    Ok(())
}

async fn abort(stage: &mut Stage, upgrade: &str) -> anyhow::Result<()> {
    screen::heading("Abort it")?;
    stage
        .run(&format!(
            "kubectl belay abort cluster {CLUSTER} --reason 'stuck on a PDB' --yes --wait"
        ))
        .await?;
    is_canceled(stage, upgrade).await?;
    screen::heading("It has stopped: upgraded nodes stay upgraded, and every node accepts pods")?;
    let versions = stage
        .until("nodes of both versions, none cordoned", |eyes| {
            let versions = eyes.versions();
            let both = [OLD, NEW].map(|version| format!("v{version}"));
            let is_mixed = versions.keys().eq(&both);
            (is_mixed && !eyes.has_cordoned_nodes()).then_some(versions)
        })
        .await?;
    stage
        .run("kubectl get nodes -L belay.dev/agentpool")
        .await?;
    let counts: Vec<_> = versions
        .iter()
        .map(|(version, count)| format!("{count} on {version}"))
        .collect();
    screen::say(&counts.join(", "))?;
    Ok(())
}

pub async fn hold(stage: &mut Stage, upgrade: &str) -> anyhow::Result<()> {
    screen::heading("It doesn't start again: the cluster is on hold until somebody acts")?;
    let hold = stage
        .until("the cluster on hold", crate::eyes::Eyes::hold)
        .await?;
    ensure!(
        hold.reason == "OperationCanceled" && hold.message.contains(upgrade),
        "the cluster is stalled by something else: {hold:?}"
    );
    stage.run(&format!("kubectl belay why {CLUSTER}")).await
}

async fn go_on(stage: &mut Stage, upgrade: &str) -> anyhow::Result<()> {
    screen::heading("Relax the PDB, and continue the upgrade")?;
    stage
        .run(r#"kubectl patch pdb web --type=merge -p '{"spec":{"minAvailable":2}}'"#)
        .await?;
    stage
        .run("kubectl wait pdb/web --for=jsonpath='{.status.disruptionsAllowed}'=1 --timeout=2m")
        .await?;
    let before = stage.eyes.names();
    reconcile(stage).await?;
    let versions = [(format!("v{NEW}"), NODES)].into();
    stage
        .until(
            &format!("everything Ready, {NODES} nodes on {NEW}"),
            |eyes| (eyes.all_is_ready(POOLS) && eyes.versions() == versions).then_some(()),
        )
        .await?;
    stage
        .run(&format!("kubectl belay status {CLUSTER}"))
        .await?;
    stage.run("kubectl get operations").await?;
    let phases = stage.eyes.phases(upgrade);
    ensure!(
        phases.last() == Some(&OperationPhase::Canceled),
        "{upgrade} is {phases:?}"
    );
    let mut expected = before;
    expected.insert(RECONCILE.to_owned());
    let names = stage.eyes.names();
    ensure!(
        names == expected,
        "the Operations are {names:?} instead of {expected:?}"
    );
    Ok(())
}

/// Waits until an aborted Operation is Canceled, and checks that it was in progress before.
pub async fn is_canceled(stage: &mut Stage, operation: &str) -> anyhow::Result<()> {
    use OperationPhase::{Canceled, Canceling, InProgress, Pending};
    stage
        .until(&format!("{operation} Canceled"), |eyes| {
            eyes.phases(operation).contains(&Canceled).then_some(())
        })
        .await?;
    in_order(
        stage,
        operation,
        &[Pending, InProgress, Canceling, Canceled],
    )
}

/// Requests the rest of the upgrade, and waits until it has Succeeded.
pub async fn reconcile(stage: &mut Stage) -> anyhow::Result<()> {
    use OperationPhase::{InProgress, Pending, Succeeded};
    stage
        .run("kubectl create -f examples/reconcile.yaml")
        .await?;
    stage
        .run(&format!("kubectl belay operation wait {RECONCILE}"))
        .await?;
    stage
        .until(&format!("{RECONCILE} Succeeded"), |eyes| {
            eyes.phases(RECONCILE).contains(&Succeeded).then_some(())
        })
        .await?;
    in_order(stage, RECONCILE, &[Pending, InProgress, Succeeded])
}

/// Checks that an Operation was seen in these phases, in this order, and in no other.
fn in_order(stage: &Stage, operation: &str, expected: &[OperationPhase]) -> anyhow::Result<()> {
    let phases = stage.eyes.phases(operation);
    ensure!(
        phases == expected,
        "{operation} was seen in {phases:?} instead of {expected:?}"
    );
    Ok(())
}
