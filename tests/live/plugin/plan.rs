//! `kubectl belay plan` shows what an apply would do, and changes nothing.

use std::{path::Path, sync::Arc};

use belay::api::{Operation, OperationType};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    changes::{refusal_message, wait_or_abort},
    plugin::{run, text},
};

/// Returns a folder with a manifest of these objects.
fn manifests(objects: &[Value]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    let written = std::fs::write(folder.path().join("all.yaml"), documents.join("\n---\n"));
    written.expect("written");
    folder
}

fn cluster(spec: &Value) -> Value {
    json!({"apiVersion": "belay.dev/v1alpha1", "kind": "ManagedCluster", "metadata": {"name": "demo"}, "spec": spec})
}

fn pool(name: &str, count: usize) -> Value {
    json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": name},
        "spec": {"clusterName": "demo", "count": count}})
}

fn quick(version: &str) -> Value {
    cluster(
        &json!({"kubernetesVersion": version, "provider": {"kwok": {"nodeProvisioningTime": "50ms"}}}),
    )
}

/// Returns the exit code of `plan` for a folder, and the plan as JSON.
async fn plan(belay: &Belay, folder: &Path) -> (Option<i32>, Value) {
    let folder = folder.display().to_string();
    let output = run(belay, &["plan", "-f", &folder, "-o", "json"]).await;
    let plan = serde_json::from_slice(&output.stdout);
    let plan = plan.unwrap_or_else(|_| panic!("not JSON: {}", text(&output.stderr)));
    (output.status.code(), plan)
}

/// Returns the planned operations of the cluster: order, type, target, and the changes.
fn operations(plan: &Value) -> Vec<(Option<u64>, String, String, Vec<String>)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let change = |change: &Value| {
        let place = change["pool"].as_str().unwrap_or("control-plane");
        let nodes = change["nodes"].as_u64().unwrap_or(1);
        format!("{place} {} {nodes}", word(&change["action"]))
    };
    let operations = plan["clusters"][0]["operations"].as_array();
    let operation = |planned: &Value| {
        let changes = planned["changes"].as_array().expect("changes");
        (
            planned["order"].as_u64(),
            word(&planned["type"]),
            word(&planned["target"]["name"]),
            changes.iter().map(change).collect(),
        )
    };
    operations
        .expect("operations")
        .iter()
        .map(operation)
        .collect()
}

/// Lists all of Belay's objects with their resourceVersions.
fn all_objects(belay: &Belay) -> String {
    let columns = "custom-columns=:.kind,:.metadata.name,:.metadata.resourceVersion";
    belay.kubectl(&["get", "mc,ap,op", "-o", columns])
}

/// Returns the steps of an Operation in the form of planned changes.
fn executed_changes(operation: &Operation) -> Vec<String> {
    let steps = operation.status.clone().unwrap_or_default().steps;
    let place = |name: &str| match name.strip_prefix("node/") {
        Some(node) => ["np1", "np2"]
            .into_iter()
            .find(|pool| node.starts_with(&format!("demo-{pool}-")))
            .expect("a pool")
            .to_owned(),
        None => name.to_owned(),
    };
    let steps: Vec<_> = steps
        .iter()
        .map(|step| format!("{} {:?}", place(&step.name), step.action))
        .collect();
    let groups = steps.chunk_by(|one, other| one == other);
    groups
        .map(|group| format!("{} {}", group[0], group.len()))
        .collect()
}

pub async fn a_plan_of_a_new_cluster_lists_its_creations_in_order(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let folder = manifests(&[pool("np1", 3), quick("1.35.7"), pool("np2", 2)]);
    let (code, planned) = plan(&belay, folder.path()).await;
    assert_eq!(code, Some(0), "{planned}");
    let create = |order, target: &str, change: &str| {
        let changes = vec![change.to_owned()];
        (Some(order), "Create".to_owned(), target.to_owned(), changes)
    };
    assert_eq!(
        operations(&planned),
        [
            create(1, "demo", "control-plane Create 1"),
            create(2, "np1", "np1 Create 3"),
            create(2, "np2", "np2 Create 2"),
        ]
    );
    assert_eq!(all_objects(&belay).trim(), "", "a plan writes nothing");
}

pub async fn an_apply_does_exactly_the_planned_upgrade(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let before = manifests(&[quick("1.35.7"), pool("np1", 3), pool("np2", 2)]);
    let before = before.path().display().to_string();
    belay.kubectl(&["apply", "-f", &before]);
    for pool in ["np1", "np2"] {
        belay.pool_is_ready(pool).await;
    }
    belay.lock_is_free().await;
    belay.is_idle().await;
    let objects = all_objects(&belay);

    let after = manifests(&[quick("1.36.3"), pool("np1", 3), pool("np2", 2)]);
    let (code, planned) = plan(&belay, after.path()).await;
    assert_eq!(code, Some(0), "{planned}");
    let [(order, type_, target, changes)] = operations(&planned).try_into().expect("one operation");
    assert_eq!(
        (order, type_.as_str(), target.as_str()),
        (Some(1), "Upgrade", "demo")
    );
    assert_eq!(
        changes,
        ["control-plane Upgrade 1", "np1 Replace 3", "np2 Replace 2"]
    );
    assert_eq!(all_objects(&belay), objects, "a plan writes nothing");

    belay.kubectl(&["apply", "-f", &after.path().display().to_string()]);
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    belay.lock_is_free().await;
    let all = belay.api::<Operation>();
    let all = all.list(&ListParams::default()).await.expect("operations");
    let is_new = |operation: &&Operation| operation.spec.type_ != OperationType::Create;
    let new: Vec<_> = all.items.iter().filter(is_new).collect();
    assert_eq!(new.len(), 1, "only the planned operation ran");
    assert_eq!(executed_changes(new[0]), changes);
    belay.check_history();
}

pub async fn a_plan_shows_the_refusal_of_the_api_server_word_for_word(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    let refusal = format!(
        "(OperationNotAllowed) Operation is not allowed: Another operation ({upgrade}) is in progress, {}",
        wait_or_abort(&upgrade)
    );
    let folder = manifests(&[pool("np1", 5)]);
    belay.is_idle().await;
    let objects = all_objects(&belay);
    let (code, planned) = plan(&belay, folder.path()).await;
    assert_eq!(code, Some(1), "{planned}");
    assert_eq!(planned["objects"][0]["refused"], refusal.as_str());
    let shown = run(
        &belay,
        &["plan", "-f", &folder.path().display().to_string()],
    )
    .await;
    assert!(
        text(&shown.stdout).contains(&refusal),
        "{}",
        text(&shown.stdout)
    );
    assert_eq!(all_objects(&belay), objects, "a plan writes nothing");
    let path = folder.path().display().to_string();
    let applied = belay.try_kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &path]);
    assert_eq!(
        refusal_message(applied),
        refusal,
        "an apply gets the same refusal"
    );
}

pub async fn a_plan_shows_the_refusal_of_belay_itself(world: Arc<World>) {
    let belay = Belay::start(&world.without_policies().await).await;
    belay.ready_cluster(50, 2).await;
    belay.lock_is_free().await;
    let target = json!({"kind": "AgentPool", "name": "np1"});
    let no_change = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": "no-change"},
        "spec": {"type": "Scale", "target": target, "count": 2}});
    let folder = manifests(std::slice::from_ref(&no_change));
    let (code, planned) = plan(&belay, folder.path()).await;
    assert_eq!(code, Some(1), "{planned}");
    assert_eq!(operations(&planned), []);
    belay.create(&no_change.to_string()).expect("admitted");
    let error = belay.fails("no-change").await;
    let message = format!("({}) {}", error.code, error.message);
    assert_eq!(planned["objects"][0]["refused"], message.as_str());
}

pub async fn a_plan_shows_what_a_change_waits_for(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    belay
        .set_cluster(json!({"concurrencyPolicy": "Queue"}))
        .await;
    let folder = manifests(&[pool("np1", 5)]);
    // Belay copies the policy to the cluster's pools, where admission reads it.
    let is_allowed = || async { plan(&belay, folder.path()).await.0 == Some(0) };
    belay
        .eventually("the plan shows no refusal", is_allowed)
        .await;
    let (_, planned) = plan(&belay, folder.path()).await;
    let waiting = operations(&planned);
    let order: Vec<_> = waiting
        .iter()
        .map(|(order, type_, target, _)| (*order, type_.as_str(), target.as_str()))
        .collect();
    assert_eq!(
        order,
        [(Some(0), "Upgrade", "demo"), (Some(1), "Scale", "np1")]
    );
    let after = &planned["clusters"][0]["operations"][1]["after"];
    assert_eq!(*after, json!([upgrade]));
}

pub async fn a_plan_without_changes_says_so(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart");
    belay.kubectl(&["apply", "-f", quickstart]);
    belay.pool_is_ready("demo-np1").await;
    belay.pool_is_ready("demo-system").await;
    belay.lock_is_free().await;
    belay.is_idle().await;
    let objects = all_objects(&belay);
    let planned = run(&belay, &["plan", "-f", quickstart]).await;
    let shown = text(&planned.stdout);
    assert_eq!(planned.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("No changes: everything is as these manifests say."),
        "{shown}"
    );
    let ignored =
        "Not shown, because Belay doesn't manage them: Deployment web and PodDisruptionBudget web.";
    assert!(shown.contains(ignored), "{shown}");
    assert_eq!(all_objects(&belay), objects, "a plan writes nothing");
}

pub async fn an_invalid_manifest_is_reported_with_its_file_and_line(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let folder = manifests(&[]);
    let path = folder.path().join("broken.yaml");
    let broken = format!("{}\n---\nkind: AgentPool\n  count: 3\n", pool("np1", 3));
    std::fs::write(&path, broken).expect("written");
    let output = run(
        &belay,
        &["plan", "-f", &folder.path().display().to_string()],
    )
    .await;
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let expected = format!("error: {}, document 2 isn't valid YAML: ", path.display());
    assert!(error.starts_with(&expected), "{error}");
    assert!(
        error.contains("line 4") && error.lines().count() == 1,
        "{error}"
    );
}
