//! Clusters in the shard of another operator: an operator neither deletes their objects nor reports them as left
//! behind.

use std::sync::Arc;

use belay::api::{
    AGENT_POOL_LABEL, AgentPool, CLUSTER_LABEL, NAMESPACE_LABEL, Operation, OperationPhase,
};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, ResourceExt as _, api::DeleteParams};
use serde_json::json;

use crate::{
    operators::shards::two_operators,
    stage::{
        belay::{Belay, World},
        operators::Operator,
    },
    telemetry::metrics::{address, get, scrape},
};

const NODES_ARE_LEFT: &str = "nodes of a cluster that no longer exists are left";

impl Belay {
    /// Waits until a pool reports that its cluster doesn't exist.
    async fn waits_for_its_cluster(&self, pool: &str) {
        let is_missing = || async { self.is_without_cluster(pool).await };
        self.eventually("the pool reports that its cluster is missing", is_missing)
            .await;
    }

    async fn is_without_cluster(&self, pool: &str) -> bool {
        let status = self.pool_status(pool).await;
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| condition.reason == "ClusterNotFound")
    }

    /// Creates a node of a cluster that doesn't exist.
    fn create_orphaned_node(&self, cluster: &str) -> String {
        let name = format!("{}-{cluster}", self.namespace);
        let labels = json!({NAMESPACE_LABEL: self.namespace, CLUSTER_LABEL: cluster, AGENT_POOL_LABEL: "np1"});
        self.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}));
        name
    }
}

pub async fn an_operator_leaves_objects_of_other_shards_alone(world: Arc<World>) {
    // In this test, another program creates nodes with Belay's labels.
    let belay = Belay::start_without_operator(&world.without_policies().await).await;
    let first = Operator::sharing(&belay, "first", "2");
    first.has_shards(&belay, &[0, 1]).await;
    let mut clusters = Vec::new();
    for shard in [0, 1] {
        let cluster = belay.ready_in_shard(shard, "c", 1).await;
        // Only the target shows to which shard the Operation belongs.
        let operation = format!("scale-{cluster}");
        let count = json!({"count": 2});
        belay
            .create_operation_on_pool(&operation, &cluster, "Scale", count)
            .await;
        belay.succeeds(&operation).await;
        clusters.push(cluster);
    }
    // When an operator has reported these nodes, it has checked all nodes.
    let ghosts = [0, 1].map(|shard| belay.name_in_shard(shard, "ghost"));
    let orphans = ghosts
        .clone()
        .map(|ghost| belay.create_orphaned_node(&ghost));
    let second = Operator::sharing(&belay, "second", "2");
    second.has_shards(&belay, &[1]).await;
    first.has_shards(&belay, &[0]).await;
    for (shard, operator) in [&first, &second].into_iter().enumerate() {
        let pool = json!({"clusterName": ghosts[shard], "count": 1});
        belay.create_object::<AgentPool>(&ghosts[shard], pool).await;
        belay.waits_for_its_cluster(&ghosts[shard]).await;
        let ghost = format!("{}/{}", belay.namespace, ghosts[shard]);
        let names = |line: &str| line.contains(NODES_ARE_LEFT) && line.contains(&ghost);
        belay
            .eventually("the operator reports the orphaned node", || async {
                operator.log().lines().any(names)
            })
            .await;
    }
    for cluster in &clusters {
        assert!(!belay.is_without_cluster(cluster).await, "{cluster}");
        let status = belay.status(&format!("scale-{cluster}")).await;
        assert_eq!(status.phase, OperationPhase::Succeeded);
        let cluster = format!("{}/{cluster}", belay.namespace);
        for log in [first.log(), second.log()] {
            let mut lines = log.lines().filter(|line| line.contains(NODES_ARE_LEFT));
            assert!(!lines.any(|line| line.contains(&cluster)), "{log}");
        }
    }
    assert_eq!(belay.nodes().await.len(), 6, "no node is deleted");
    for cluster in &clusters {
        belay.set_pool(cluster, json!({"count": 1})).await;
        belay.pool_is_ready(cluster).await;
    }
    let nodes = Api::<Node>::all(belay.client.clone());
    for node in &orphans {
        let deleted = nodes.delete(node, &DeleteParams::default()).await;
        deleted.expect("the node still exists");
    }
    belay.check_history();
}

pub async fn a_wrong_cluster_label_does_not_change_the_shard_of_an_operation(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let _operators = two_operators(&belay).await;
    let mut clusters = Vec::new();
    for shard in [0, 1] {
        clusters.push(belay.ready_in_shard(shard, "c", 1).await);
    }
    for (cluster, other) in [(&clusters[0], &clusters[1]), (&clusters[1], &clusters[0])] {
        let name = format!("scale-{cluster}");
        let spec =
            json!({"type": "Scale", "target": {"kind": "AgentPool", "name": cluster}, "count": 2});
        let operation = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation",
            "metadata": {"name": name, "labels": {CLUSTER_LABEL: other}}, "spec": spec});
        belay
            .create(&operation.to_string())
            .expect("it is accepted");
        belay.succeeds(&name).await;
        belay.pool_is_ready(cluster).await;
        let operation = belay.api::<Operation>().get(&name).await;
        let operation = operation.expect("the operation");
        assert_eq!(operation.labels().get(CLUSTER_LABEL), Some(cluster));
    }
    belay.check_history();
}

pub async fn an_operation_on_a_missing_target_is_reported_by_only_one_operator(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let _operators = two_operators(&belay).await;
    for shard in [0, 1] {
        let missing = belay.name_in_shard(shard, "missing");
        let on_cluster = format!("on-cluster-{shard}");
        let target = json!({"kind": "ManagedCluster", "name": missing});
        let spec = json!({"type": "Reconcile", "target": target});
        belay.create_object::<Operation>(&on_cluster, spec).await;
        let on_pool = format!("on-pool-{shard}");
        belay
            .create_operation_on_pool(&on_pool, &missing, "Reconcile", json!({}))
            .await;
        for operation in [&on_cluster, &on_pool] {
            assert_eq!(belay.fails(operation).await.code, "NotFound");
            let phases = belay.phases(operation).await;
            let failed = phases
                .iter()
                .filter(|phase| **phase == OperationPhase::Failed);
            assert_eq!(failed.count(), 1, "{phases:?}");
        }
    }
    belay.check_history();
}

pub async fn metrics_cover_each_shard_once_and_an_operator_without_a_shard_is_ready(
    world: Arc<World>,
) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::sharing(&belay, "first", "2");
    first.has_shards(&belay, &[0, 1]).await;
    for shard in [0, 1] {
        belay.ready_in_shard(shard, "c", 1).await;
    }
    let leases = [0, 1].map(|shard| format!("belay-{}-shard-{shard}-of-2", belay.namespace));
    let of_first = address(&belay, first.log_file()).await;
    let created = [("type", "Create"), ("phase", "Succeeded")];
    belay
        .eventually("the metrics count both shards", || async {
            scrape(&of_first).value("belay_operations", &created) == Some(4.0)
        })
        .await;
    let leads = |address: &str| {
        let metrics = scrape(address);
        let name = "leader_election_master_status";
        leases
            .iter()
            .map(|lease| metrics.value(name, &[("name", lease)]))
            .collect::<Vec<_>>()
    };
    assert_eq!(leads(&of_first), [Some(1.0), Some(1.0)]);
    assert_eq!(get(&of_first, "/readyz"), (200, "ok".into()));
    let second = Operator::sharing(&belay, "second", "2");
    second.has_shards(&belay, &[1]).await;
    first.has_shards(&belay, &[0]).await;
    let third = Operator::sharing(&belay, "third", "2");
    third.says(&belay, "standing by").await;
    let of_second = address(&belay, second.log_file()).await;
    belay
        .eventually("each operator counts only its own shard", || async {
            [&of_first, &of_second]
                .iter()
                .all(|address| scrape(address).value("belay_operations", &created) == Some(2.0))
        })
        .await;
    assert_eq!(leads(&of_first), [Some(1.0), Some(0.0)]);
    assert_eq!(leads(&of_second), [Some(0.0), Some(1.0)]);
    let of_third = address(&belay, third.log_file()).await;
    assert_eq!(leads(&of_third), [Some(0.0), Some(0.0)]);
    for path in ["/readyz", "/healthz"] {
        assert_eq!(get(&of_third, path), (200, "ok".into()));
    }
}
