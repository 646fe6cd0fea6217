//! What stores show of clusters that other operators manage.

use serde_json::{Value, json};

use super::*;
use crate::{api::FINALIZER, machinery::shard::Shard};

const NAMESPACE: &str = "team-a";

/// Returns the clusters of one of two shards, the name of a cluster in that shard, and the name of one in the other.
fn scope() -> (Scope, String, String) {
    let shards: Vec<_> = Shard::all(2).collect();
    let name = |shard: Shard| {
        let mut names = (0..).map(|number| format!("c{number}"));
        names.find(|name| shard.has(NAMESPACE, name)).expect("one")
    };
    let scope = Scope::default().within(shards[0]);
    (scope, name(shards[0]), name(shards[1]))
}

fn operation(kind: &str, target: &str, more: &Value) -> Operation {
    let mut object = json!({
        "apiVersion": "belay.dev/v1alpha1", "kind": "Operation",
        "metadata": {"name": "it", "namespace": NAMESPACE},
        "spec": {"type": "Reconcile", "target": {"kind": kind, "name": target}},
    });
    for (part, value) in more.as_object().expect("an object") {
        let part = object.as_object_mut().expect("it").entry(part);
        let part = part.or_insert_with(|| json!({}));
        let value = value.as_object().expect("an object").clone();
        part.as_object_mut().expect("an object").extend(value);
    }
    serde_json::from_value(object).expect("an operation")
}

#[test]
fn an_operation_of_another_shard_is_dropped_unless_its_pool_may_be_ours() {
    let (scope, ours, others) = scope();
    let labelled = |cluster: &str| json!({"labels": {CLUSTER_LABEL: cluster}});
    let kept =
        |cluster: &str| json!({"labels": {CLUSTER_LABEL: cluster}, "finalizers": [FINALIZER]});
    let (runs, over) = (
        json!({"phase": "InProgress"}),
        json!({"phase": "Succeeded"}),
    );
    let with = |metadata: Value, status: &Value| json!({"metadata": metadata, "status": status});
    let (cluster, pool) = ("ManagedCluster", "AgentPool");
    let cases = [
        ("on our cluster", cluster, &*ours, json!({}), true),
        ("on others' cluster", cluster, &*others, json!({}), false),
        (
            "on others' cluster, labelled as ours",
            cluster,
            &*others,
            with(labelled(&ours), &runs),
            false,
        ),
        ("on a pool", pool, "np1", json!({}), true),
        (
            "labelled as others'",
            pool,
            "np1",
            with(labelled(&others), &runs),
            true,
        ),
        (
            "over, of ours",
            pool,
            "np1",
            with(labelled(&ours), &over),
            true,
        ),
        (
            "over, of others'",
            pool,
            "np1",
            with(labelled(&others), &over),
            false,
        ),
        (
            "over, but kept",
            pool,
            "np1",
            with(kept(&others), &over),
            true,
        ),
        (
            "over, without a label",
            pool,
            "np1",
            with(json!({}), &over),
            true,
        ),
    ];
    for (case, kind, target, more, expected) in cases {
        let operation = operation(kind, target, &more);
        assert_eq!(concerns(&scope, &operation), expected, "{case}");
        assert!(
            concerns(&Scope::default(), &operation),
            "{case}: all are ours"
        );
    }
}

#[test]
fn a_pool_of_another_shard_keeps_only_the_name_of_its_cluster() {
    let (_, ours, _) = scope();
    let pool = json!({
        "apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool",
        "metadata": {"name": "np1", "namespace": NAMESPACE, "uid": "u1", "resourceVersion": "7",
            "labels": {"team": "a"}, "finalizers": [FINALIZER]},
        "spec": {"clusterName": ours, "count": 3, "nodeLabels": {"a": "b"}},
        "status": {"count": 3},
    });
    let mut pool: AgentPool = serde_json::from_value(pool).expect("a pool");
    let before = cluster_key(&pool);
    trimmed::pool_of_others(&mut pool);
    assert_eq!(cluster_key(&pool), before);
    assert_eq!(pool.metadata.uid.as_deref(), Some("u1"));
    assert!(pool.status.is_none() && pool.metadata.labels.is_none());
    assert!(pool.spec.node_labels.is_empty());
}
