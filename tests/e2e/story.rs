//! The story, part by part. Each part ends when its final state was seen.

use std::{collections::BTreeMap, ops::Range};

use anyhow::{Context as _, ensure};
use belay::api::{Operation, OperationPhase, OperationType};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    audit,
    stage::{NAMESPACE, Stage, heading},
};

const INSTALL: &str = "helm install belay charts/belay --namespace belay-system --set kwok.enabled=true --wait --timeout 5m";
/// The previous version of the chart: each release replaces it by its own chart.
const PREVIOUS: &str = "tests/e2e/belay-0.0.9.tgz";
/// The image on the node, instead of the image of the previous chart.
const OUR_IMAGE: &str = concat!(
    "image.repository=belay,image.digest=,image.tag=",
    env!("CARGO_PKG_VERSION")
);
const NEW: &str = "1.36.3";
const NEWEST: &str = "1.37.2";

/// Plays the whole story.
pub async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    install(stage).await?;
    create_cluster(stage).await?;
    let upgrade = start_blocked_upgrade(stage, NEW).await?;
    delete_the_leaders_pod(stage, &upgrade).await?;
    abort(stage, &upgrade).await?;
    kill_the_leader(stage).await?;
    upgrade_the_chart(stage).await?;
    let uninstalling = uninstall(stage).await?;
    reinstall(stage).await?;
    clean_up(stage).await?;
    heading("No request was forbidden, and every granted right was used");
    println!(
        "{}",
        audit::check(&stage.audit_log()?, &uninstalling, &stage.client).await?
    );
    Ok(())
}

async fn install(stage: &Stage) -> anyhow::Result<()> {
    heading("Install into a namespace that allows only restricted pods");
    stage.run("kubectl create namespace belay-system").await?;
    stage
        .run("kubectl label namespace belay-system pod-security.kubernetes.io/enforce=restricted")
        .await?;
    check_each_combination(stage).await?;
    let install = INSTALL.replace("charts/belay", &previous(stage).await?);
    stage.run(&format!("{install} --set {OUR_IMAGE}")).await?;
    stage.run("kubectl -n belay-system get pods").await?;
    Ok(())
}

/// Returns the folder of the previous chart. It installs the current program in this test, so it gets the current CRDs
/// and rights.
async fn previous(stage: &Stage) -> anyhow::Result<String> {
    let folder = stage.files().display().to_string();
    let line = format!(
        "tar -xzf {PREVIOUS} -C {folder} && cp charts/belay/files/crds/* {folder}/belay/files/crds/ \
         && cp charts/belay/templates/_rules.tpl {folder}/belay/templates/"
    );
    let unpacked = stage.run_silently(&line).await?;
    ensure!(unpacked.is_some(), "failed to unpack {PREVIOUS}");
    Ok(format!("{folder}/belay"))
}

/// Checks that the API server accepts what the chart renders for each combination of values.
async fn check_each_combination(stage: &Stage) -> anyhow::Result<()> {
    for team in ["team-a", "team-b"] {
        stage
            .run(&format!("kubectl create namespace {team}"))
            .await?;
    }
    let combinations = std::fs::read_to_string("charts/combinations")?;
    for values in combinations.lines().filter(|line| !line.starts_with('#')) {
        let line = format!(
            "helm template belay charts/belay --skip-tests --namespace {NAMESPACE} {values} \
             | kubectl apply --dry-run=server --validate=strict -f -"
        );
        let accepted = stage.run_silently(&line).await?;
        ensure!(
            accepted.is_some(),
            "the API server doesn't accept the manifests for {values}: {line}"
        );
    }
    Ok(())
}

async fn create_cluster(stage: &Stage) -> anyhow::Result<()> {
    heading("A cluster with kwok nodes, and pods on them");
    stage.run("kubectl apply -f examples/quickstart/").await?;
    stage
        .run("kubectl wait --for=condition=Ready --timeout=5m mc/demo ap/demo-system ap/demo-np1")
        .await?;
    stage
        .run("kubectl rollout status deployment/web --timeout=5m")
        .await?;
    stage.run("kubectl get nodes").await?;
    Ok(())
}

/// Upgrades until the `PodDisruptionBudget` blocks the upgrade. Returns the Operation's name.
async fn start_blocked_upgrade(stage: &Stage, version: &str) -> anyhow::Result<String> {
    heading(&format!(
        "A PodDisruptionBudget blocks an upgrade to {version}"
    ));
    stage
        .run(&format!(
            r#"kubectl patch managedcluster demo --type=merge -p '{{"spec":{{"kubernetesVersion":"{version}"}}}}'"#
        ))
        .await?;
    let name = stage
        .until("the upgrade is blocked", async || {
            let all = operations(stage).await?;
            let upgrade = all
                .into_iter()
                .find(|operation| is_upgrade_to(operation, version));
            Ok(upgrade
                .filter(is_blocked)
                .map(|operation| operation.name_any()))
        })
        .await?;
    stage.run("kubectl get operations").await?;
    Ok(name)
}

async fn delete_the_leaders_pod(stage: &Stage, upgrade: &str) -> anyhow::Result<()> {
    heading("The leader's pod is deleted: another pod takes over, and the upgrade continues");
    let leader = leader(stage).await?;
    stage
        .run(&format!("kubectl -n {NAMESPACE} delete pod {leader}"))
        .await?;
    stage
        .run(&format!(
            "kubectl -n {NAMESPACE} rollout status deployment/belay --timeout=5m"
        ))
        .await?;
    let operation = operation(stage, upgrade).await?;
    ensure!(
        phase(&operation) == Some(OperationPhase::InProgress),
        "{upgrade} did not continue"
    );
    Ok(())
}

async fn abort(stage: &Stage, upgrade: &str) -> anyhow::Result<()> {
    heading("Abort the upgrade");
    stage
        .run(&format!(
            "kubectl annotate operation {upgrade} belay.dev/abort='stuck on a PDB'"
        ))
        .await?;
    until_phase(stage, upgrade, OperationPhase::Canceled).await?;
    stage
        .run("kubectl get nodes -L belay.dev/agentpool")
        .await?;
    stage.run("kubectl get mc,ap,op").await?;
    let versions = versions(stage).await?;
    ensure!(
        versions.len() == 2,
        "expected nodes of both versions: {versions:?}"
    );
    Ok(())
}

async fn kill_the_leader(stage: &Stage) -> anyhow::Result<()> {
    heading("Continue with a Reconcile; meanwhile, the leader's process is killed (kill -9)");
    stage
        .run("kubectl create -f examples/reconcile.yaml")
        .await?;
    stage
        .until("the Reconcile is blocked", async || {
            Ok(is_blocked(&operation(stage, "demo-go-on").await?).then_some(()))
        })
        .await?;
    let leader = leader(stage).await?;
    let process = process_of(&leader)?;
    stage.run(&format!("kill -9 {process}")).await?;
    stage
        .until("the container has restarted", async || {
            let pod = Api::<Pod>::namespaced(stage.client.clone(), NAMESPACE)
                .get(&leader)
                .await?;
            let statuses = pod
                .status
                .and_then(|status| status.container_statuses)
                .unwrap_or_default();
            Ok(statuses
                .iter()
                .any(|container| container.restart_count > 0 && container.ready)
                .then_some(()))
        })
        .await?;
    allow_evictions(stage).await?;
    until_phase(stage, "demo-go-on", OperationPhase::Succeeded).await?;
    stage.run("kubectl -n belay-system get pods").await?;
    stage.run("kubectl get mc,ap,op").await?;
    all_nodes_on(stage, NEW).await
}

async fn upgrade_the_chart(stage: &Stage) -> anyhow::Result<()> {
    forbid_evictions(stage).await?;
    let upgrade = start_blocked_upgrade(stage, NEWEST).await?;
    heading("The previous chart is upgraded while the cluster's upgrade is blocked");
    let uid = operation(stage, &upgrade).await?.metadata.uid;
    stage.run(&INSTALL.replace("install", "upgrade")).await?;
    stage.run("helm list --namespace belay-system").await?;
    ensure!(
        operation(stage, &upgrade).await?.metadata.uid == uid,
        "{upgrade} was replaced by another Operation"
    );
    allow_evictions(stage).await?;
    until_phase(stage, &upgrade, OperationPhase::Succeeded).await?;
    let all = operations(stage).await?;
    let upgrades = all
        .iter()
        .filter(|operation| is_upgrade_to(operation, NEWEST))
        .count();
    ensure!(
        upgrades == 1,
        "there are {upgrades} Upgrades to {NEWEST}, expected 1"
    );
    all_nodes_on(stage, NEWEST).await
}

/// Uninstalls the chart. Returns the range of lines that this added to the audit log.
async fn uninstall(stage: &Stage) -> anyhow::Result<Range<usize>> {
    heading("Uninstalling changes no cluster and no node");
    let before = all_objects(stage).await?;
    let first_line = stage.audit_log()?.lines().count();
    stage
        .run("helm uninstall belay --namespace belay-system --wait")
        .await?;
    stage
        .until("the operator's pods are gone", async || {
            let listed = stage
                .run_silently("kubectl -n belay-system get pods -o name")
                .await?;
            Ok(listed.filter(|listed| !listed.contains("pod/")))
        })
        .await?;
    let last_line = stage.audit_log()?.lines().count();
    stage.run("kubectl get mc,ap,op,nodes").await?;
    let after = all_objects(stage).await?;
    ensure!(
        before == after,
        "uninstalling changed\n{before}\nto\n{after}"
    );
    Ok(first_line..last_line)
}

async fn reinstall(stage: &Stage) -> anyhow::Result<()> {
    heading("After a reinstall, Belay manages the cluster again");
    stage.run(INSTALL).await?;
    stage
        .run("helm test belay --namespace belay-system --logs --timeout 5m")
        .await?;
    stage
        .run("kubectl scale agentpool demo-np1 --replicas=4")
        .await?;
    stage
        .until("the pool has four nodes", async || {
            let versions = versions(stage).await?;
            Ok((versions.values().sum::<usize>() == 6).then_some(()))
        })
        .await
}

async fn clean_up(stage: &Stage) -> anyhow::Result<()> {
    heading(
        "An Operation on a missing target fails, old Operations are pruned, and a Delete Operation deletes the cluster",
    );
    stage
        .run(
            "kubectl create -f - <<END\n\
             {apiVersion: belay.dev/v1alpha1, kind: Operation, metadata: {name: missing-target},\n \
             spec: {type: Reconcile, target: {kind: ManagedCluster, name: missing}}}\nEND",
        )
        .await?;
    until_phase(stage, "missing-target", OperationPhase::Failed).await?;
    stage
        .run(
            "kubectl create -f - <<END\n\
             {apiVersion: belay.dev/v1alpha1, kind: Operation, metadata: {name: missing-pool},\n \
             spec: {type: Reconcile, target: {kind: AgentPool, name: missing}}}\nEND",
        )
        .await?;
    until_phase(stage, "missing-pool", OperationPhase::Failed).await?;
    stage
        .run(r#"kubectl patch managedcluster demo --type=merge -p '{"spec":{"operationHistoryLimit":1}}'"#)
        .await?;
    stage
        .run(
            "kubectl create -f - <<END\n\
             {apiVersion: belay.dev/v1alpha1, kind: Operation, metadata: {name: delete-demo},\n \
             spec: {type: Delete, target: {kind: ManagedCluster, name: demo}}}\nEND",
        )
        .await?;
    stage
        .until(
            "the cluster, its pools and its nodes are gone",
            async || {
                let listed = stage
                    .run_silently("kubectl get mc,ap --no-headers -o name")
                    .await?;
                let is_gone = listed.is_some_and(|listed| !listed.contains("belay.dev"));
                Ok((is_gone && versions(stage).await?.is_empty()).then_some(()))
            },
        )
        .await
}

async fn forbid_evictions(stage: &Stage) -> anyhow::Result<()> {
    budget(stage, 3, 0).await
}

async fn allow_evictions(stage: &Stage) -> anyhow::Result<()> {
    budget(stage, 2, 1).await
}

async fn budget(stage: &Stage, available: i32, allowed: i32) -> anyhow::Result<()> {
    stage
        .run(&format!(
            r#"kubectl patch pdb web --type=merge -p '{{"spec":{{"minAvailable":{available}}}}}'"#
        ))
        .await?;
    if allowed == 0 {
        stage
            .run("kubectl rollout status deployment/web --timeout=5m")
            .await?;
    }
    stage.run(&format!("kubectl wait pdb/web --for=jsonpath='{{.status.disruptionsAllowed}}'={allowed} --timeout=5m")).await?;
    Ok(())
}

/// Returns the pod that leads. Its name is the first part of the lease holder's identity.
async fn leader(stage: &Stage) -> anyhow::Result<String> {
    let line = "kubectl -n belay-system get lease belay -o jsonpath={.spec.holderIdentity}";
    stage
        .until("a leader", async || {
            let holder = stage.run_silently(line).await?.unwrap_or_default();
            let pod = holder.split('_').next().unwrap_or_default();
            Ok((!pod.is_empty()).then(|| pod.to_owned()))
        })
        .await
}

/// Returns the operator's process in a pod. The node's processes are in the test's own PID namespace.
fn process_of(pod: &str) -> anyhow::Result<u32> {
    let expected = format!("HOSTNAME={pod}");
    for process in std::fs::read_dir("/proc")? {
        let folder = process?.path();
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        let is_of_pod = environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == expected.as_bytes());
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse().ok());
        if let (true, Some(id)) = (is_of_pod, name) {
            return Ok(id);
        }
    }
    anyhow::bail!("there is no process of {pod}")
}

async fn operations(stage: &Stage) -> anyhow::Result<Vec<Operation>> {
    let all = Api::<Operation>::default_namespaced(stage.client.clone());
    Ok(all.list(&ListParams::default()).await?.items)
}

async fn operation(stage: &Stage, name: &str) -> anyhow::Result<Operation> {
    Ok(Api::default_namespaced(stage.client.clone())
        .get(name)
        .await?)
}

fn is_upgrade_to(operation: &Operation, version: &str) -> bool {
    let to = operation
        .spec
        .kubernetes_version
        .as_ref()
        .map(ToString::to_string);
    operation.spec.type_ == OperationType::Upgrade && to.as_deref() == Some(version)
}

fn is_blocked(operation: &Operation) -> bool {
    operation
        .status
        .as_ref()
        .is_some_and(|status| status.blocked.is_some())
}

fn phase(operation: &Operation) -> Option<OperationPhase> {
    operation.status.as_ref().map(|status| status.phase)
}

async fn until_phase(stage: &Stage, name: &str, expected: OperationPhase) -> anyhow::Result<()> {
    stage
        .until(&format!("{name} is {expected:?}"), async || {
            Ok((phase(&operation(stage, name).await?) == Some(expected)).then_some(()))
        })
        .await
}

/// Returns the number of the cluster's nodes of each version.
async fn versions(stage: &Stage) -> anyhow::Result<BTreeMap<String, usize>> {
    let of_clusters = ListParams::default().labels("belay.dev/cluster");
    let mut versions = BTreeMap::new();
    for node in Api::<Node>::all(stage.client.clone())
        .list(&of_clusters)
        .await?
    {
        let info = node.status.and_then(|status| status.node_info);
        let version = info.map(|info| info.kubelet_version).unwrap_or_default();
        *versions.entry(version).or_default() += 1;
    }
    Ok(versions)
}

async fn all_nodes_on(stage: &Stage, version: &str) -> anyhow::Result<()> {
    let versions = versions(stage).await?;
    let expected = BTreeMap::from([(format!("v{version}"), 5)]);
    ensure!(versions == expected, "{versions:?}, expected {expected:?}");
    Ok(())
}

/// Returns all objects that Belay creates or manages, with their kind, name, uid and generation. The generation shows
/// changes of the specs of clusters and pools.
async fn all_objects(stage: &Stage) -> anyhow::Result<String> {
    let line = "kubectl get crd,mc,ap,op,nodes,configmaps -o jsonpath='{range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.metadata.generation}{\"\\n\"}{end}'";
    stage
        .run_silently(line)
        .await?
        .context("kubectl lists no object")
}
