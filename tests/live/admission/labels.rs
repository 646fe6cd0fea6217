//! The labels on Belay's own kinds that only Belay may change.

use std::sync::Arc;

use belay::api::OperationType;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    changes::{operation, refusal_message},
};

pub async fn only_belay_may_change_the_labels_that_it_relies_on(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.blocked_scale().await;
    belay.grant("eve", "belay-editor");
    let is_labelled = || async {
        let pool = belay.pool("np1").await;
        pool.labels().contains_key("belay.dev/scale-refused")
    };
    belay.eventually("np1 has its label", is_labelled).await;
    let what = format!("operation/{scale}");
    for (what, label) in [
        ("agentpool/np1", "belay.dev/scale-refused"),
        ("managedcluster/demo", "belay.dev/being-deleted"),
        (&what, "belay.dev/target-kind"),
        (&what, "belay.dev/operation-uid"),
        (&what, "belay.dev/for-generation"),
        (&what, "belay.dev/cluster"),
    ] {
        let refusal = format!("(Forbidden) only Belay may set the label {label}");
        // No object is being deleted, and an Operation that Belay creates lacks the labels of an Operation that a user
        // creates.
        let is_missing = [
            "belay.dev/being-deleted",
            "belay.dev/target-kind",
            "belay.dev/operation-uid",
        ]
        .contains(&label);
        let removed = (!is_missing).then(|| format!("{label}-"));
        for change in [Some(format!("{label}=7")), removed].iter().flatten() {
            let change = ["label", what, "--overwrite", change];
            assert_eq!(refusal_message(belay.try_as("eve", &change)), refusal);
            assert_eq!(
                refusal_message(belay.try_kubectl(&change)),
                refusal,
                "also for an administrator"
            );
        }
    }
    let scaled = belay.try_as("eve", &["scale", "agentpool", "np1", "--replicas=5"]);
    assert!(refusal_message(scaled).contains(&format!("Another agentpool operation ({scale})")));
    let note = ["label", "agentpool/np1", &what, "team=a"];
    belay
        .try_as("eve", &note)
        .expect("other labels are allowed");
}

pub async fn a_wrong_target_kind_label_does_not_get_an_operation_admitted(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let scale = belay.blocked_scale().await;
    let spec = json!({"type": "Scale", "on": "np1", "count": 5});
    for kind in ["ManagedCluster", "AgentPool"] {
        let mut labelled: Value =
            serde_json::from_str(&operation("refused", spec.clone())).expect("an operation");
        labelled["metadata"]["labels"] = json!({"belay.dev/target-kind": kind});
        let answer = refusal_message(belay.create(&labelled.to_string()));
        // Before Kubernetes 1.36, no policy overwrites the label.
        let is_refused = answer.contains(&format!("Another agentpool operation ({scale})"))
            || answer.contains("only Belay may set the label belay.dev/target-kind");
        assert!(is_refused, "{kind}: {answer}");
    }
}

pub async fn belay_removes_the_follows_cluster_label_and_a_pinned_pool_may_not_have_it(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 0).await;
    let pool = |name: &str, version: Option<&str>| {
        json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": name, "labels": {"belay.dev/follows-cluster": "true"}}, "spec": {"clusterName": "demo", "count": 0, "kubernetesVersion": version}}).to_string()
    };
    let created = belay.create(&pool("np2", None));
    created.expect("a pool that pins no version");
    belay.pool_is_ready("np2").await;
    let labels = belay.pool("np2").await.labels().clone();
    assert!(
        !labels.contains_key("belay.dev/follows-cluster"),
        "{labels:?}"
    );
    let forged = refusal_message(belay.create(&pool("np3", Some("1.36.3"))));
    let refusal = "(Forbidden) only Belay may set the label belay.dev/follows-cluster";
    assert_eq!(forged, refusal);
}

pub async fn the_policy_for_large_namespaces_labels_new_pools_and_operations(world: Arc<World>) {
    if !world.can_record_requester() {
        return;
    }
    let belay = Belay::start(&world).await;
    let policy = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/charts/belay/files/large-namespaces/belay-marks.yaml"
    );
    let pool = |version: Option<&str>| {
        json!({"apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": "np9"}, "spec": {"clusterName": "demo", "count": 0, "kubernetesVersion": version}}).to_string()
    };
    let created = |manifest: &str| {
        let namespace = ["-n", belay.namespace.as_str()];
        let create = ["create", "--dry-run=server", "-o", "yaml"];
        world.kubectl_with(&[&namespace[..], &create].concat(), manifest)
    };
    belay.kubectl(&["apply", "-f", policy]);
    belay
        .eventually("a new pool that pins no version has the label", || async {
            created(&pool(None)).is_ok_and(|pool| pool.contains("belay.dev/follows-cluster"))
        })
        .await;
    let pinned = created(&pool(Some("1.35.7"))).expect("a pool");
    assert!(!pinned.contains("belay.dev/follows-cluster"), "{pinned}");
    let manifest = operation("update", json!({"type": "Update", "on": "np9"}));
    let created = created(&manifest).expect("an Operation");
    assert!(
        created.contains("belay.dev/target-kind: AgentPool"),
        "{created}"
    );
    belay.kubectl(&["delete", "-f", policy]);
}

pub async fn an_operation_created_with_belays_labels_does_not_run(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    let labelled = |labels: Value| json!({"labels": labels});
    let forgeries = [
        ("forged", labelled(json!({"belay.dev/for-generation": "1"}))),
        (
            "restored",
            labelled(json!({"belay.dev/operation-uid": "another"})),
        ),
        (
            "started",
            json!({"annotations": {"belay.dev/engine-handle": "az-1"}}),
        ),
    ];
    for (name, metadata) in &forgeries {
        let manifest = operation(name, json!({"type": "Scale", "on": "np1", "count": 9}));
        let mut manifest: Value = serde_json::from_str(&manifest).expect("an operation");
        for (key, value) in metadata.as_object().expect("metadata") {
            manifest["metadata"][key] = value.clone();
        }
        belay.create(&manifest.to_string()).expect("it is accepted");
    }
    for (name, _) in &forgeries {
        belay
            .eventually("the Operation has ended", || async {
                belay.status(name).await.phase.is_finished()
            })
            .await;
        assert_eq!(
            belay.status(name).await.start_time,
            None,
            "{name} never starts"
        );
    }
    assert_eq!(belay.pool("np1").await.spec.count, 1);
    assert_eq!(belay.nodes().await.len(), 1);
    assert_eq!(belay.operations(OperationType::Scale, "np1").await.len(), 3);
}
