//! Belay survives any JSON that the API server accepts: it never panics, and its work on other objects continues.

use std::sync::Arc;

use belay::api::{AgentPool, ManagedCluster, Operation, OperationPhase, OperationType};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use proptest::{
    collection::{hash_map, vec},
    prelude::*,
    sample::select,
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use serde_json::{Map, Value, json};

use crate::stage::belay::{Belay, World};

const ATTACKS: usize = 400;

/// An attempt of a user: which value is written where.
#[derive(Clone, Debug)]
struct Attack {
    kind: Kind,
    /// An existing object, or a new one.
    name: String,
    field: String,
    value: Value,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    ManagedCluster,
    AgentPool,
    Operation,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Apply,
    Merge,
    /// By a user who may write statuses.
    Status,
}

const SPEC: [&str; 20] = [
    "kubernetesVersion",
    "powerState",
    "concurrencyPolicy",
    "operationHistoryLimit",
    "provider",
    "clusterName",
    "mode",
    "count",
    "vmSize",
    "nodeLabels",
    "nodeTaints",
    "upgradeSettings",
    "type",
    "target",
    "scaleSetPriority",
    "unknown",
    "metadata.annotations",
    "metadata.labels",
    "metadata.finalizers",
    "metadata.ownerReferences",
];
const STATUS: [&str; 19] = [
    "provisioningState",
    "powerState",
    "kubernetesVersion",
    "operations",
    "agentPools",
    "lastOperation",
    "observedGeneration",
    "observedAbort",
    "conditions",
    "count",
    "readyCount",
    "versions",
    "operation",
    "cluster",
    "phase",
    "percentComplete",
    "steps",
    "cancellation",
    "plan",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[0-9]{1,5}[.][0-9]{1,5}[.][0-9]{1,5}",
        "[0-9]{20}[.][0-9]{1,9}[.][0-9]{1,9}",
        Just("-5s".to_owned()),
        Just("é".repeat(120_000)),
        select(vec![
            "Running",
            "Stopped",
            "Forbid",
            "Replace",
            "victim",
            "belay.dev/abort"
        ])
        .prop_map(str::to_owned),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3..4).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            hash_map(text(), inner, 0..6)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Statuses that the schema accepts and that are false.
fn false_statuses() -> impl Strategy<Value = Value> {
    let target = json!({"kind": "AgentPool", "name": "victim"});
    let ghost = json!({"name": "ghost", "type": "Upgrade", "target": target, "phase": "Canceling", "percentComplete": 100, "targetGeneration": -9, "startTime": "2999-01-01T00:00:00Z"});
    let step = json!({"name": "node/x", "action": "Replace", "phase": "InProgress", "nodes": -1, "nodesDone": 5});
    let condition = json!({"type": "Ready", "status": "True", "reason": "False", "message": "", "lastTransitionTime": "0001-01-01T00:00:00Z"});
    let version = json!({"kubernetesVersion": "not.a.version", "count": -4});
    let annotations =
        json!({"belay.dev/abort": "x".repeat(200 * 1024), "belay.dev/abort-policy": "?"});
    select(vec![
        json!([ghost.clone()]),
        json!([ghost.clone(), {"name": "other", "type": "Delete", "target": {"kind": "ManagedCluster", "name": "victim"}, "phase": "Succeeded"}]),
        ghost,
        json!([step]),
        json!([condition]),
        json!([version]),
        annotations,
        json!({"code": "Stopped"}),
        json!({"concurrencyPolicy": "Forbid", "systemPools": -1, "operation": "ghost", "kubernetesVersion": "9"}),
        json!({"status": "Failed", "requestedBy": "nobody"}),
        json!({"kind": "ManagedCluster", "name": "victim"}),
        json!({"maxSurge": "100%", "maxUnavailable": 1000, "drainTimeout": "1s"}),
        json!(["example.com/mine"]),
        json!("Succeeded"),
        json!("Failed"),
        json!("Creating"),
        json!(i64::MAX),
        json!(-1),
        json!(1000),
    ])
}

fn attack() -> impl Strategy<Value = Attack> {
    let kind = select(vec![Kind::ManagedCluster, Kind::AgentPool, Kind::Operation]);
    let name = prop_oneof![
        4 => Just("victim".to_owned()),
        1 => "[a-z]{1,8}",
        1 => Just("x".repeat(200)),
        1 => "\\PC{1,12}",
    ];
    let place = prop_oneof![
        (select(&SPEC[..]), select(vec![Way::Apply, Way::Merge])),
        (select(&STATUS[..]), Just(Way::Status)),
    ];
    (kind, name, place, prop_oneof![anything(), false_statuses()]).prop_map(
        |(kind, name, (field, way), value)| Attack {
            kind,
            name,
            field: field.to_owned(),
            value,
            way,
        },
    )
}

/// Returns a valid object of a kind.
fn valid_object(kind: Kind, name: &str) -> Value {
    let (kind, spec) = match kind {
        Kind::ManagedCluster => (
            "ManagedCluster",
            json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}}),
        ),
        Kind::AgentPool => ("AgentPool", json!({"clusterName": "victim", "count": 1})),
        Kind::Operation => (
            "Operation",
            json!({"type": "Reconcile", "target": {"kind": "ManagedCluster", "name": "victim"}}),
        ),
    };
    json!({"apiVersion": "belay.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

impl Attack {
    fn object(&self) -> Value {
        let (part, field) = self
            .field
            .split_once('.')
            .unwrap_or(("spec", self.field.as_str()));
        match self.way {
            Way::Status => json!({"status": {field: self.value}}),
            Way::Merge => json!({part: {field: self.value}}),
            Way::Apply => {
                let mut object = valid_object(self.kind, &self.name);
                object[part][field] = self.value.clone();
                object
            }
        }
    }

    async fn send(&self, belay: &Belay) -> kube::Result<DynamicObject> {
        let resource = match self.kind {
            Kind::ManagedCluster => resource::<ManagedCluster>(),
            Kind::AgentPool => resource::<AgentPool>(),
            Kind::Operation => resource::<Operation>(),
        };
        let api = Api::<DynamicObject>::namespaced_with(
            belay.client.clone(),
            &belay.namespace,
            &resource,
        );
        let object = self.object();
        let merge = PatchParams::default();
        match self.way {
            Way::Apply => {
                let params = PatchParams::apply("hostile").force();
                api.patch(&self.name, &params, &Patch::Apply(object)).await
            }
            Way::Merge => api.patch(&self.name, &merge, &Patch::Merge(object)).await,
            Way::Status => {
                let patch = Patch::Merge(object);
                api.patch_status(&self.name, &merge, &patch).await
            }
        }
    }
}

fn resource<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

pub async fn hostile_objects_do_not_stop_the_work_on_other_objects(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    for kind in [Kind::ManagedCluster, Kind::AgentPool, Kind::Operation] {
        let manifest = valid_object(kind, "victim").to_string();
        // Admission allows the Operation only after the operations of the other objects have ended.
        belay
            .eventually("a valid object is accepted", || async {
                belay.create(&manifest).is_ok()
            })
            .await;
    }
    let mut runner = TestRunner::default();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..ATTACKS {
        let attack = attack().new_tree(&mut runner).expect("an attack").current();
        match attack.send(&belay).await {
            Ok(_) => accepted += 1,
            Err(kube::Error::Api(status)) => {
                refused += 1;
                // A policy refuses with a code and a message, never with an evaluation error.
                let message = &status.message;
                let by_policy = message.contains("AdmissionPolicy");
                assert!(
                    !by_policy || message.contains(" denied request: ("),
                    "{attack:?}: {message}"
                );
            }
            // A name that cannot be part of a URL: the client refuses it, or the server closes the connection.
            Err(kube::Error::BuildRequest(_) | kube::Error::Service(_)) => refused += 1,
            Err(error) => panic!("{attack:?}: {error}"),
        }
    }
    println!("accepted {accepted}, refused {refused}");
    assert!(accepted > ATTACKS / 20 && refused > ATTACKS / 20);
    // Belay still works on the other cluster in the namespace.
    belay.lock_is_free().await;
    belay.set_count("np1", 2).await;
    belay.pool_is_ready("np1").await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    assert!(
        belay.phases(&scale).await.ends_with(&[
            OperationPhase::Pending,
            OperationPhase::InProgress,
            OperationPhase::Succeeded
        ]),
        "{:?}",
        belay.phases(&scale).await
    );
    // Belay removes false entries from the lock of the victim.
    belay
        .eventually("the lock holds no Operation that doesn't exist", || async {
            let victim = belay.api::<ManagedCluster>().get("victim").await;
            let status = victim.expect("the victim").status.unwrap_or_default();
            let mut held = status.operations.iter();
            !held.any(|held| held.name == "ghost" || held.name == "other")
        })
        .await;
    let log = belay.log();
    assert!(!log.contains("panicked"), "{log}");
}
