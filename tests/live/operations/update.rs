//! Updates in place, edits with several changes, and the order in which a scale-down removes nodes.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{AgentPool, OperationType, StepAction};
use k8s_openapi::api::core::v1::Node;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::stage::belay::{Belay, World, version};

async fn uids(belay: &Belay) -> BTreeSet<String> {
    let nodes = belay.nodes().await;
    nodes.iter().filter_map(kube::ResourceExt::uid).collect()
}

fn taints(node: &Node) -> BTreeSet<String> {
    let taints = node.spec.clone().unwrap_or_default().taints;
    taints
        .unwrap_or_default()
        .into_iter()
        .map(|taint| taint.key)
        .collect()
}

pub async fn labels_and_taints_change_in_place_and_those_of_others_stay(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    let before = uids(&belay).await;
    let name = belay.nodes().await[0].name_any();
    belay.kubectl(&["label", "node", &name, "example.com/rack=r7"]);
    belay.kubectl(&["taint", "node", &name, "example.com/repair=yes:NoSchedule"]);
    let taint = |key: &str| json!({"key": key, "value": "a", "effect": "NoSchedule"});
    belay
        .set_pool("np1", json!({"nodeLabels": {"tier": "gold", "zone": "a"}, "nodeTaints": [taint("only"), taint("first")]}))
        .await;
    let update = belay.operation(OperationType::Update, "np1").await;
    let steps = belay.succeeds(&update).await.steps;
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| step.action == StepAction::Update));
    belay.pool_is_ready("np1").await;
    // A second change removes what the first one added.
    belay
        .set_pool(
            "np1",
            json!({"nodeLabels": {"tier": "silver", "zone": null}, "nodeTaints": [taint("only")]}),
        )
        .await;
    let update = belay.nth_operation(2, OperationType::Update, "np1").await;
    belay.succeeds(&update).await;
    belay.pool_is_ready("np1").await;
    for node in belay.nodes().await {
        let has_foreign_marks = node.name_any() == name;
        let labels = node.labels();
        assert_eq!(labels.get("tier").map(String::as_str), Some("silver"));
        assert!(!labels.contains_key("zone"));
        assert_eq!(labels.contains_key("example.com/rack"), has_foreign_marks);
        let taints = taints(&node);
        assert!(
            taints.contains("only") && !taints.contains("first"),
            "{taints:?}"
        );
        assert_eq!(taints.contains("example.com/repair"), has_foreign_marks);
    }
    assert_eq!(uids(&belay).await, before, "no node was replaced");
    belay.check_history();
}

pub async fn upgrade_settings_change_without_a_step(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let before = uids(&belay).await;
    belay
        .set_pool(
            "np1",
            json!({"upgradeSettings": {"maxSurge": "50%", "drainTimeout": "5m"}}),
        )
        .await;
    let update = belay.operation(OperationType::Update, "np1").await;
    let status = belay.succeeds(&update).await;
    assert!(status.steps.is_empty() && status.percent_complete == 100);
    belay.pool_is_ready("np1").await;
    assert_eq!(uids(&belay).await, before);
    belay.check_history();
}

pub async fn one_edit_with_several_changes_becomes_one_operation_of_the_heaviest_type(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.create_cluster(0).await;
    belay
        .create_pool_with("own", json!({"kubernetesVersion": "1.34.2", "count": 1}))
        .await;
    belay.create_pool("np1", 2).await;
    belay.pool_is_ready("own").await;
    belay.pool_is_ready("np1").await;
    belay
        .set_pool(
            "own",
            json!({"kubernetesVersion": "1.35.7", "count": 2, "nodeLabels": {"tier": "gold"}}),
        )
        .await;
    let upgrade = belay.operation(OperationType::Upgrade, "own").await;
    let steps = belay.succeeds(&upgrade).await.steps;
    let actions: BTreeSet<_> = steps
        .iter()
        .map(|step| format!("{:?}", step.action))
        .collect();
    assert_eq!(actions, ["Create", "Replace"].map(String::from).into());
    belay
        .set_pool("np1", json!({"count": 3, "nodeLabels": {"tier": "gold"}}))
        .await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let steps = belay.succeeds(&scale).await.steps;
    let actions: Vec<_> = steps.iter().map(|step| step.action).collect();
    assert_eq!(
        actions,
        [StepAction::Update, StepAction::Update, StepAction::Create]
    );
    for pool in ["own", "np1"] {
        belay.pool_is_ready(pool).await;
        let operations = belay.kubectl(&[
            "get",
            "op",
            "-l",
            &format!("belay.dev/agentpool={pool}"),
            "-o",
            "name",
        ]);
        assert_eq!(
            operations.lines().count(),
            2,
            "expected its Create and the new operation: {operations}"
        );
    }
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 5);
    for node in nodes {
        assert_eq!(version(&node), "v1.35.7");
        assert_eq!(node.labels().get("tier").map(String::as_str), Some("gold"));
    }
    belay.check_history();
}

pub async fn a_scale_down_removes_cordoned_nodes_then_unready_ones_then_the_newest(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let oldest = belay.nodes().await[0].clone();
    belay.wait_until_later(&oldest, 1).await;
    belay.set_count("np1", 4).await;
    belay.pool_is_ready("np1").await;
    let newer: Vec<_> = belay
        .nodes()
        .await
        .into_iter()
        .map(|node| node.name_any())
        .filter(|name| *name != oldest.name_any())
        .collect();
    let [cordoned, broken, newest] = newer.as_slice() else {
        panic!("expected three newer nodes: {newer:?}")
    };
    belay.kubectl(&["cordon", cordoned]);
    belay.break_node(broken).await;
    for (count, removed) in [(3, cordoned), (2, broken), (1, newest)] {
        belay.set_count("np1", count).await;
        belay
            .eventually(&format!("there are {count} nodes"), || async {
                belay.nodes().await.len() == count
            })
            .await;
        assert!(
            belay
                .nodes()
                .await
                .iter()
                .all(|node| node.name_any() != *removed),
            "{removed} of {newer:?} should have been removed"
        );
        belay.pool_is_idle("np1").await;
    }
    assert_eq!(belay.nodes().await[0].uid(), oldest.uid());
    belay.check_history();
}

pub async fn a_scale_down_removes_nodes_of_the_older_version_first(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    belay.abort(&upgrade, "half of the nodes is enough").await;
    belay
        .is_in_phase(&upgrade, belay::api::OperationPhase::Canceled)
        .await;
    belay.lock_is_free().await;
    belay.set_min_available(0).await;
    belay.set_count("np1", 1).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&scale).await;
    let versions: Vec<_> = belay.nodes().await.iter().map(version).collect();
    assert_eq!(versions, ["v1.36.3"]);
    belay.check_history();
}

pub async fn a_scale_down_waits_for_a_pdb(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_count("np1", 1).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let blocked = belay.is_blocked(&scale).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "PodDisruptionBudget");
    assert_eq!(belay.nodes().await.len(), 2);
    belay.set_min_available(1).await;
    belay.succeeds(&scale).await;
    assert_eq!(belay.nodes().await.len(), 1);
    belay.check_history();
}

pub async fn an_autoscaler_scales_a_pool_by_the_scale_subresource(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let pools = belay.api::<AgentPool>();
    let scale = pools.get_scale("np1").await.expect("a scale");
    let status = scale.status.clone().expect("a status");
    assert_eq!(status.replicas, 1);
    let selector = status.selector.expect("a selector");
    let selected = belay.kubectl(&["get", "nodes", "-l", &selector, "-o", "name"]);
    assert_eq!(
        selected.lines().count(),
        1,
        "the selector must match its nodes: {selected}"
    );
    // Like the HorizontalPodAutoscaler: read, change, and write with the version that was read. On a conflict, it tries
    // again.
    let mut desired = scale;
    let params = kube::api::PostParams::default();
    loop {
        desired.spec.get_or_insert_default().replicas = Some(3);
        match pools.replace_scale("np1", &params, &desired).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                desired = pools.get_scale("np1").await.expect("a scale");
            }
            scaled => break scaled.map(drop).expect("scaled"),
        }
    }
    let operation = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&operation).await;
    belay.pool_is_ready("np1").await;
    let scale = pools.get_scale("np1").await.expect("a scale");
    assert_eq!(scale.status.map(|status| status.replicas), Some(3));
    let conflict = pools.replace_scale("np1", &params, &desired).await;
    let conflict = conflict.expect_err("the version is outdated");
    assert!(matches!(conflict, kube::Error::Api(status) if status.code == 409));
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    pools
        .patch_scale("np1", &PatchParams::default(), &patch)
        .await
        .expect("scaled");
    belay
        .eventually("there are no nodes", || async {
            belay.nodes().await.is_empty()
        })
        .await;
    belay.pool_is_ready("np1").await;
    belay.check_history();
}
