//! CRDs of a newer version with values that this version doesn't know. The log names the unreadable objects, Belay
//! doesn't change them, and its work on all other objects continues.

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

/// Adds a value to each enum of a schema that has the value `beside`.
fn add(schema: &mut Value, beside: &str, value: &str) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(values)) = members.get_mut("enum")
                && values.iter().any(|known| known == beside)
            {
                values.push(json!(value));
            }
            members
                .values_mut()
                .for_each(|part| add(part, beside, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|part| add(part, beside, value)),
        _ => {}
    }
}

/// Changes the kinds like a newer version would, and waits until the API server serves them.
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
        let probe = [
            "patch",
            object,
            "--subresource=status",
            "--dry-run=server",
            "--type=merge",
            "-p",
            state,
        ];
        belay
            .eventually("the API server accepts the new values", || async {
                belay.try_kubectl(&probe).is_ok()
            })
            .await;
    }
    belay
        .eventually("the API server serves all kinds", || async {
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
    /// Waits until the log names an object that Belay cannot read.
    async fn logs_unreadable(&self, kind: &str, name: &str) {
        let what = format!("the log names {kind} {name}");
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

/// Writes a value into a status that this version doesn't know. The API server refuses the value until the new kinds
/// are in effect everywhere.
async fn write_status(belay: &Belay, objects: &Api<DynamicObject>, name: &str, status: Value) {
    let what = format!("the API server accepts {status} of {name}");
    let patch = Patch::Merge(json!({"status": status}));
    let params = PatchParams::default();
    belay
        .eventually(&what, || async {
            objects.patch_status(name, &params, &patch).await.is_ok()
        })
        .await;
}

pub async fn objects_with_values_of_a_newer_version_are_logged_and_left_alone(_: Arc<World>) {
    // A separate control plane, because changed kinds affect all tests that use it.
    let world = World::start().await;
    let belay = Belay::start(&world).await;
    let other = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
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
    // An upgrade is blocked, and a newer operator gives it a phase that this version doesn't know.
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    write_status(&belay, &operations, &upgrade, json!({"phase": "Paused"})).await;
    belay.logs_unreadable("Operation", &upgrade).await;
    write_status(
        &belay,
        &pools,
        "np2",
        json!({"provisioningState": "Hibernating"}),
    )
    .await;
    belay.logs_unreadable("AgentPool", "np2").await;
    let spec = json!({"type": "Hibernate", "target": {"kind": "AgentPool", "name": "np1"}});
    let newer = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": "newer"}, "spec": spec});
    let newer = serde_json::from_value(newer).expect("an object");
    // Admission may refuse it because of the upgrade. This test accepts both answers.
    let _ = operations.create(&PostParams::default(), &newer).await;
    let policy = Patch::Merge(json!({"spec": {"concurrencyPolicy": "Merge"}}));
    let params = PatchParams::default();
    let patched = clusters.patch("demo", &params, &policy).await;
    patched.expect("the new kind has this value");
    belay.logs_unreadable("ManagedCluster", "demo").await;
    // All other work continues: the operator of another namespace, and this operator on another cluster.
    other.ready_cluster(0, 1).await;
    let spec = json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}});
    belay
        .create_object::<belay::api::ManagedCluster>("readable", spec)
        .await;
    belay
        .create_object::<belay::api::AgentPool>(
            "np3",
            json!({"clusterName": "readable", "count": 1}),
        )
        .await;
    belay
        .eventually("the other cluster's node exists", || async {
            belay.nodes().await.len() >= 4
        })
        .await;
    // Belay deletes, evicts and duplicates nothing that belongs to the unreadable objects.
    guard.check(2, 3, 6);
    for (objects, name) in [
        (&clusters, "demo"),
        (&pools, "np2"),
        (&operations, &*upgrade),
    ] {
        let object = objects.get(name).await.expect("the object");
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
    belay.abort(&upgrade, "enough").await;
    belay.is_canceled(&upgrade).await;
    // The test itself cannot read the Operation of the newer type as an `Operation`.
    let listed = operations.list(&ListParams::default()).await;
    let listed = listed.expect("operations").items.into_iter();
    let upgrades = listed.filter(|operation| operation.data["spec"]["type"] == "Upgrade");
    assert_eq!(upgrades.count(), 1);
    // The log names an object when the object changes, not in each reconcile.
    let reports = belay.log().matches("can't be read").count();
    assert!(reports < 100, "{reports} reports");
}
