//! Belay's admission policies and its core contain the same rules, written twice. This test sends the same requests to
//! both, in the same situations, and expects the same answers.

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

/// How often the test asks again until both answers agree.
const TRIES: usize = 20;

/// Returns the Operations that a user may request: each type, on the cluster and on each pool, with each version and
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
        |spec: Value| Operation::new("requested", serde_json::from_value(spec).expect("a spec"));
    specs.into_iter().map(operation).collect()
}

/// Returns a refusal without its elapsed time, which differs at each check.
fn without_time(refusal: &str) -> String {
    let start = refusal.split(" and elapsed time is: ").next();
    start.unwrap_or_default().to_owned()
}

impl Belay {
    /// Returns the answer of admission: `None`, or the code and the message.
    async fn answer_of_admission(&self, operation: &Operation) -> Option<String> {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match self.api::<Operation>().create(&params, operation).await {
            Ok(_) => None,
            Err(kube::Error::Api(status)) => {
                let (_, refusal) = status.message.split_once(" denied request: ")?;
                Some(without_time(refusal))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the answer of the core, based on the current objects.
    async fn answer_of_core(&self, operation: &Operation) -> Option<String> {
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
        let mut requested = operation.clone();
        requested.metadata.uid = Some("requested".into());
        requested.metadata.creation_timestamp = Some(Time(now));
        requested
            .metadata
            .namespace
            .clone_from(&cluster.metadata.namespace);
        operations.push(requested);
        let arcs = |pools: Vec<AgentPool>| pools.into_iter().map(Arc::new).collect();
        let operations = operations.into_iter().map(Arc::new).collect();
        let snapshot = Snapshot::new(
            Arc::new(cluster),
            arcs(pools),
            operations,
            observed,
            &NodeByNode,
        );
        let error = refusal(&snapshot, "requested", now)?;
        Some(without_time(&format!("({}) {}", error.code, error.message)))
    }

    /// Sends each request to both, and returns how many were refused. Admission reads caches, so the test repeats a
    /// request if the answers differences.
    async fn compare(&self, situation: &str) -> usize {
        let (mut refused, mut differences) = (0, Vec::new());
        for request in requests() {
            let mut answers = (None, None);
            for _ in 0..TRIES {
                answers = (
                    self.answer_of_admission(&request).await,
                    self.answer_of_core(&request).await,
                );
                if answers.0 == answers.1 {
                    break;
                }
            }
            refused += usize::from(answers.0.is_some());
            if answers.0 != answers.1 {
                differences.push((request.spec, answers));
            }
        }
        assert!(differences.is_empty(), "{situation}: {differences:#?}");
        refused
    }
}

pub async fn admission_and_the_core_give_the_same_answers(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
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
            .compare("an upgrade is in flight, and the policy is Queue")
            .await,
    );
    belay.abort(&upgrade, "not now").await;
    belay.lock_is_free().await;
    refused.push(belay.compare("an upgrade was aborted").await);
    belay.set_min_available(0).await;
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
