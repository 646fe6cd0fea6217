//! Kinds of a newer version, with values that this program doesn't know: the log names objects that can't be read,
//! Belay leaves them alone, and everything else goes on.

use std::sync::Arc;

use belay::api::OperationType;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    belay::{Belay, World},
    guard::Guard,
};

/// Adds a value to an enum of a kind's schema, wherever the enum has the value `beside`.
fn add(schema: &mut Value, beside: &str, value: &str) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(values)) = members.get_mut("enum")
                && values.iter().any(|known| known == beside)
            {
                values.push(json!(value));
            }
            members.values_mut().for_each(|it| add(it, beside, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|it| add(it, beside, value)),
        _ => {}
    }
}

/// Applies the kinds as a newer version would define them, and waits until the API server serves them.
async fn apply_newer_kinds(belay: &Belay) {
    for kind in ["managedclusters", "agentpools", "operations"] {
        let crd = belay.kubectl(&["get", "crd", &format!("{kind}.belay.dev"), "-o", "json"]);
        let crd: Value = serde_json::from_str(&crd).expect("a kind");
        let mut versions = crd["spec"]["versions"].clone();
        for (beside, value) in [
            ("Reconcile", "Hibernate"),
            ("RollingBack", "Hibernating"),
            ("Queue", "Merge"),
            ("InProgress", "Paused"),
        ] {
            add(&mut versions, beside, value);
        }
        let patch = json!({"spec": {"versions": versions}}).to_string();
        let name = format!("{kind}.belay.dev");
        belay.kubectl(&["patch", "crd", &name, "--type=merge", "-p", &patch]);
    }
    let state = r#"{"status":{"provisioningState":"Hibernating"}}"#;
    for object in ["managedcluster/demo", "agentpool/np1"] {
        let try_it = [
            "patch",
            object,
            "--subresource=status",
            "--dry-run=server",
            "--type=merge",
            "-p",
            state,
        ];
        belay
            .eventually("takes what is newer", || async {
                belay.try_kubectl(&try_it).is_ok()
            })
            .await;
    }
    belay
        .eventually("serves all kinds", || async {
            belay.try_kubectl(&["get", "mc,ap,op"]).is_ok()
        })
        .await;
}

fn objects(belay: &Belay, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "belay.dev".into(),
        version: "v1alpha1".into(),
        api_version: "belay.dev/v1alpha1".into(),
        kind: kind.into(),
        plural: plural.into(),
    };
    Api::namespaced_with(belay.client.clone(), &belay.namespace, &resource)
}

impl Belay {
    /// Waits until the log names an object that can't be read.
    async fn names_unreadable(&self, kind: &str, name: &str) {
        let what = format!("names {kind} {name}");
        let is_named = || async {
            self.log().lines().any(|line| {
                line.contains("can't be read")
                    && line.contains(kind)
                    && line.contains(&format!("name=\"{name}\""))
            })
        };
        self.eventually(&what, is_named).await;
    }
}

/// Writes a value that this program doesn't know into a status. The API server refuses the value until the new kinds
/// are in effect everywhere.
async fn write_status(belay: &Belay, objects: &Api<DynamicObject>, name: &str, status: Value) {
    let what = format!("takes {status} of {name}");
    let patch = Patch::Merge(json!({"status": status}));
    let params = PatchParams::default();
    belay
        .eventually(&what, || async {
            objects.patch_status(name, &params, &patch).await.is_ok()
        })
        .await;
}

pub async fn objects_with_values_of_a_newer_version_are_logged_and_left_alone(_: Arc<World>) {
    // A separate control plane, because its kinds affect everybody who uses it.
    let world = World::start().await;
    let belay = Belay::start(&world).await;
    let other = Belay::start(&world).await;
    belay.guarded_cluster(2).await;
    belay.create_pool("np2", 1).await;
    belay.pool_is_ready("np2").await;
    let guard = Guard::watch(&belay, 3, 2).await;
    belay.lock_is_free().await;
    apply_newer_kinds(&belay).await;
    let (clusters, pools, operations) = (
        objects(&belay, "ManagedCluster", "managedclusters"),
        objects(&belay, "AgentPool", "agentpools"),
        objects(&belay, "Operation", "operations"),
    );
    // An upgrade hangs, and a newer operator gives it a phase that this one doesn't know.
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    write_status(&belay, &operations, &upgrade, json!({"phase": "Paused"})).await;
    belay.names_unreadable("Operation", &upgrade).await;
    write_status(
        &belay,
        &pools,
        "np2",
        json!({"provisioningState": "Hibernating"}),
    )
    .await;
    belay.names_unreadable("AgentPool", "np2").await;
    let spec = json!({"type": "Hibernate", "target": {"kind": "AgentPool", "name": "np1"}});
    let asked = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": "newer"}, "spec": spec});
    let asked = serde_json::from_value(asked).expect("an object");
    // This test doesn't check whether admission accepts it while another operation is in flight.
    let _ = operations.create(&PostParams::default(), &asked).await;
    let policy = Patch::Merge(json!({"spec": {"concurrencyPolicy": "Merge"}}));
    let params = PatchParams::default();
    let patched = clusters.patch("demo", &params, &policy).await;
    patched.expect("it is a value of the newer kind");
    belay.names_unreadable("ManagedCluster", "demo").await;
    // Everything else goes on: another namespace's operator, and this one on another cluster.
    other.ready_cluster(0, 1).await;
    let spec = json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}});
    belay
        .make::<belay::api::ManagedCluster>("readable", spec)
        .await;
    belay
        .make::<belay::api::AgentPool>("np3", json!({"clusterName": "readable", "count": 1}))
        .await;
    belay
        .eventually("makes the other cluster's node", || async {
            belay.nodes().await.len() >= 4
        })
        .await;
    // Nothing of the unreadable objects is deleted, evicted or created twice.
    guard.check(2, 3, 6);
    for (objects, name) in [
        (&clusters, "demo"),
        (&pools, "np2"),
        (&operations, &*upgrade),
    ] {
        let object = objects.get(name).await.expect("it is there");
        assert_eq!(object.metadata.deletion_timestamp, None, "{name}");
    }
    // Belay continues with objects that are readable again.
    let policy = Patch::Merge(json!({"spec": {"concurrencyPolicy": "Forbid"}}));
    let patched = clusters.patch("demo", &params, &policy).await;
    patched.expect("patched");
    write_status(
        &belay,
        &pools,
        "np2",
        json!({"provisioningState": "Upgrading"}),
    )
    .await;
    write_status(
        &belay,
        &operations,
        &upgrade,
        json!({"phase": "InProgress"}),
    )
    .await;
    belay.abort(&upgrade, "enough of it").await;
    belay.is_canceled(&upgrade).await;
    // The test can't read the Operation of the newer type either.
    let listed = operations.list(&ListParams::default()).await;
    let listed = listed.expect("operations").items.into_iter();
    let upgrades = listed.filter(|operation| operation.data["spec"]["type"] == "Upgrade");
    assert_eq!(upgrades.count(), 1);
    // Each is named when it changes, not again and again.
    let named = belay.log().matches("can't be read").count();
    assert!(named < 100, "named {named} times");
}
