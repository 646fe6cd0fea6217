//! The API server's policies and the core's gate are the same rules, written twice. These tests send the same requests
//! through both, in the same situations, and expect the same answer.

use std::sync::Arc;

use belay::{
    api::{AgentPool, ManagedCluster, Operation, OperationType},
    lifecycle::{Snapshot, refusal},
    machinery::clock,
    provider,
    provider::NodeByNode,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::stage::belay::{Belay, World};

/// How often an answer is requested until both agree.
const TRIES: usize = 20;

/// Returns the Operations that a person may request: each type, on the cluster and on each pool, with each version and
/// count that makes a difference.
fn requests() -> Vec<Operation> {
    let mut specs = Vec::new();
    let targets = [
        ("ManagedCluster", "demo"),
        ("AgentPool", "np1"),
        ("AgentPool", "np2"),
    ];
    for (kind, name) in targets {
        let target = json!({"kind": kind, "name": name});
        for type_ in ["Create", "Update", "Start", "Stop", "Delete", "Reconcile"] {
            specs.push(json!({"type": type_, "target": target}));
        }
        for version in ["1.31.2", "1.34.9", "1.35.7", "1.36.3", "1.37.1", "2.0.0"] {
            for type_ in ["Upgrade", "Rollback"] {
                specs.push(json!({"type": type_, "target": target, "kubernetesVersion": version}));
            }
        }
        if kind == "AgentPool" {
            for count in [0, 1, 2, 7] {
                specs.push(json!({"type": "Scale", "target": target, "count": count}));
            }
        }
    }
    let operation =
        |spec: Value| Operation::new("asked", serde_json::from_value(spec).expect("a spec"));
    specs.into_iter().map(operation).collect()
}

/// Returns a refusal without its elapsed time, which differs at each check.
fn without_time(refusal: &str) -> String {
    let told = refusal.split(" and elapsed time is: ").next();
    told.unwrap_or_default().to_owned()
}

impl Belay {
    /// Returns the answer of admission: `None`, or the code and the message.
    async fn at_the_door(&self, operation: &Operation) -> Option<String> {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match self.api::<Operation>().create(&params, operation).await {
            Ok(_) => None,
            Err(kube::Error::Api(status)) => {
                let (_, told) = status.message.split_once(" denied request: ")?;
                Some(without_time(told))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the answer of the core's gate, based on the API server's current objects.
    async fn at_the_gate(&self, operation: &Operation) -> Option<String> {
        let all = ListParams::default();
        let cluster = self
            .api::<ManagedCluster>()
            .get("demo")
            .await
            .expect("the cluster");
        let pools = self
            .api::<AgentPool>()
            .list(&all)
            .await
            .expect("the pools")
            .items;
        let mut operations = self
            .api::<Operation>()
            .list(&all)
            .await
            .expect("Operations")
            .items;
        let client = self.api::<Operation>().into_client();
        let observed = provider::look(&client, &cluster).await.expect("the nodes");
        let now = clock::now();
        let mut asked = operation.clone();
        asked.metadata.uid = Some("asked".into());
        asked.metadata.creation_timestamp = Some(Time(now));
        asked
            .metadata
            .namespace
            .clone_from(&cluster.metadata.namespace);
        operations.push(asked);
        let arcs = |pools: Vec<AgentPool>| pools.into_iter().map(Arc::new).collect();
        let operations = operations.into_iter().map(Arc::new).collect();
        let snapshot = Snapshot::new(
            Arc::new(cluster),
            arcs(pools),
            operations,
            observed,
            &NodeByNode,
        );
        let error = refusal(&snapshot, "asked", now)?;
        Some(without_time(&format!("({}) {}", error.code, error.message)))
    }

    /// Sends every request through both, and returns how many were refused. Admission reads caches, so a differing
    /// answer is requested again.
    async fn compare(&self, situation: &str) -> usize {
        let (mut refused, mut differ) = (0, Vec::new());
        for request in requests() {
            let mut answers = (None, None);
            for _ in 0..TRIES {
                answers = (
                    self.at_the_door(&request).await,
                    self.at_the_gate(&request).await,
                );
                if answers.0 == answers.1 {
                    break;
                }
            }
            refused += usize::from(answers.0.is_some());
            if answers.0 != answers.1 {
                differ.push((request.spec, answers));
            }
        }
        assert!(differ.is_empty(), "{situation}: {differ:#?}");
        refused
    }
}

pub async fn admission_and_the_core_give_the_same_answers(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.guarded_cluster(2).await;
    belay.create_pool("np2", 0).await;
    belay.pool_is_ready("np2").await;
    belay.cluster_is_ready().await;
    belay.lock_is_free().await;
    let mut refused = vec![belay.compare("nothing is in flight").await];
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    refused.push(belay.compare("an upgrade is in flight").await);
    belay
        .set_cluster(json!({"concurrencyPolicy": "Queue"}))
        .await;
    refused.push(
        belay
            .compare("an upgrade is in flight, and changes wait")
            .await,
    );
    belay.abort(&upgrade, "not now").await;
    belay.lock_is_free().await;
    refused.push(belay.compare("an upgrade was aborted").await);
    belay.keep_available(0).await;
    belay
        .set_pool("np1", json!({"powerState": "Stopped"}))
        .await;
    belay.pool_is_ready("np2").await;
    let stop = belay.operation(OperationType::Stop, "np1").await;
    belay.succeeds(&stop).await;
    belay.lock_is_free().await;
    refused.push(belay.compare("a pool is stopped").await);
    assert!(refused.iter().all(|refused| *refused > 5), "{refused:?}");
    assert!(refused[1] > refused[2], "Forbid refuses more: {refused:?}");
}
