//! Snapshots of the objects at each moment of an operation's life, for the tests of GitOps tools (tests/gitops).
//! Those tests must judge exactly what the core writes.

use std::{fs, path::PathBuf};

use kube::CustomResourceExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    api::{
        AgentPool, ManagedCluster, Operation,
        OperationPhase::{Canceled, Canceling, Failed, Pending, Succeeded},
        OperationType::{Create, Delete, Upgrade},
    },
    lifecycle::{
        fixtures::{NEW, World, cluster},
        snapshot::ObjectId,
    },
};

use super::{blocked_upgrade, failed_upgrade};

/// The file with the snapshots. `make generate` writes it.
const FILE: &str = "tests/gitops/testdata/moments.json";

/// Returns a world with an upgrade that is canceled during a drain, up to the given phase.
fn canceled(phase: crate::api::OperationPhase) -> (World, String) {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "stuck on a PDB");
    world.until(Upgrade, phase);
    (world, upgrade)
}

fn moment(name: &str, world: &World, operation: Option<&str>) -> (String, Value) {
    let snapshot = world.snapshot();
    let operation = operation.map(|name| snapshot.operation(name).expect("an operation"));
    let value = json!({
        "ManagedCluster": snapshot.cluster.as_ref(),
        "AgentPool": snapshot.pool("np1").expect("a pool"),
        "Operation": operation,
    });
    (name.to_owned(), value)
}

/// Returns an object as the API server creates it, before Belay has seen it: with the defaults of the schema.
fn unseen<K: CustomResourceExt + Serialize + DeserializeOwned>(mut object: Value) -> Value {
    let crd = K::crd();
    let schema = crd.spec.versions[0].schema.as_ref();
    let properties = schema
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .and_then(|schema| schema.properties.as_ref());
    let status = properties.and_then(|properties| properties["status"].default.clone());
    object["status"] = status.expect("a default").0;
    json!(serde_json::from_value::<K>(object).expect("an object"))
}

fn new() -> Value {
    let mut world = World::new().with_pool("np1", 2);
    world.ask("create", Create, &cluster());
    let (_, objects) = moment("new", &world, Some("create"));
    json!({
        "ManagedCluster": unseen::<ManagedCluster>(objects["ManagedCluster"].clone()),
        "AgentPool": unseen::<AgentPool>(objects["AgentPool"].clone()),
        "Operation": unseen::<Operation>(objects["Operation"].clone()),
    })
}

fn moments() -> Value {
    let mut all = serde_json::Map::new();
    all.insert("new".into(), new());
    let mut add = |name: &str, world: &World, operation: Option<&str>| {
        let (name, value) = moment(name, world, operation);
        all.insert(name, value);
    };
    let mut world = World::new().with_pool("np1", 2);
    let create = world.begin(Create);
    add("creating", &world, Some(&create));
    world.settle();
    add("at rest", &world, None);
    world.set_version(NEW);
    add("changed, not yet seen", &world, None);
    let upgrade = world.until(Upgrade, Pending);
    add("waiting for the lock", &world, Some(&upgrade));
    while !world.lock().contains(&upgrade) {
        world.stride();
    }
    assert_eq!(world.phase(&upgrade), Pending);
    add("pending", &world, Some(&upgrade));
    world.begin(Upgrade);
    add("in progress", &world, Some(&upgrade));
    let upgrade = world.until(Upgrade, Succeeded);
    world.settle();
    add("succeeded", &world, Some(&upgrade));
    let (world, upgrade) = blocked_upgrade();
    add("blocked", &world, Some(&upgrade));
    let (world, upgrade) = canceled(Canceling);
    add("canceling", &world, Some(&upgrade));
    let (mut world, upgrade) = canceled(Canceled);
    world.settle();
    add("canceled", &world, Some(&upgrade));
    let (mut world, upgrade) = failed_upgrade();
    world.until(Upgrade, Failed);
    world.settle();
    add("failed", &world, Some(&upgrade));
    let mut world = World::settled();
    let window = json!({"start": "22:00", "duration": "2h", "atEnd": "Pause"});
    world
        .edit_cluster(&json!({"maintenanceWindows": [window]}))
        .settle();
    world.set_version(NEW).settle();
    let upgrade = world.until(Upgrade, Pending);
    add("waiting for a window", &world, Some(&upgrade));
    world.wait(22 * 3600);
    let upgrade = world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    world.wait(2 * 3600).settle();
    assert_eq!(world.phase(&upgrade), Canceled);
    add("paused by its window", &world, Some(&upgrade));
    let mut world = World::settled();
    world
        .delete(&ObjectId::Cluster)
        .delete(&ObjectId::Pool("np1".into()));
    let delete = world.begin(Delete);
    add("deleting", &world, Some(&delete));
    Value::Object(all)
}

#[test]
fn the_test_data_of_the_gitops_tools_matches_the_core() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = serde_json::to_string_pretty(&moments()).expect("JSON") + "\n";
    if std::env::var_os("BELAY_GENERATE").is_some() {
        fs::write(&path, &text).expect("a file that can be written");
    }
    let kept = fs::read_to_string(&path).expect("a file");
    assert!(
        kept == text,
        "{FILE} differs from what the core writes: make generate, and commit it"
    );
}
