//! The condition `Preflight`: what will be in the way of an operation is reported before a drain meets it.

use std::sync::Arc;

use belay::api::{OperationPhase, OperationType};
use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{ResourceExt as _, api::PostParams};
use serde_json::json;

use crate::stage::{
    actions::KWOK,
    belay::{Belay, World},
};

impl Belay {
    /// Runs a pod without a controller on the only node of a pool, with a budget that never allows its eviction. Both
    /// have this name.
    pub async fn protected_pod(&self, name: &str, pool: &str) {
        let of_pool = |node: &&k8s_openapi::api::core::v1::Node| {
            node.labels().get("belay.dev/agentpool").map(String::as_str) == Some(pool)
        };
        let nodes = self.nodes().await;
        let node = nodes.iter().find(of_pool).expect("a node").name_any();
        let pod = json!({"metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": node, "tolerations": [{"key": KWOK, "operator": "Exists"}],
                "containers": [{"name": "main", "image": "main:1"}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let created = self.api::<Pod>().create(&PostParams::default(), &pod).await;
        created.expect("created");
        let selector = json!({"matchLabels": {"app": name}});
        let budget = json!({"minAvailable": 1, "selector": selector});
        self.create_object::<PodDisruptionBudget>(name, budget)
            .await;
        self.budget_counts(name, 1).await;
    }

    /// Creates a ready cluster with two pools of one node: np1, and np2, which pins its version. On each runs a pod that is
    /// never evicted: web, and db.
    pub async fn guarded_pools(&self, provisioning_milliseconds: u32) {
        self.ready_cluster(provisioning_milliseconds, 1).await;
        let pinned = json!({"count": 1, "kubernetesVersion": "1.35.7"});
        self.create_pool_with("np2", pinned).await;
        self.pool_is_ready("np2").await;
        self.lock_is_free().await;
        self.protected_pod("web", "np1").await;
        self.protected_pod("db", "np2").await;
    }

    /// Waits until an Operation has the condition. Returns it.
    pub async fn preflight(&self, operation: &str) -> Condition {
        let condition = || async {
            let mut conditions = self.status(operation).await.conditions.into_iter();
            conditions.find(|it| it.type_ == "Preflight")
        };
        self.eventually("the operation has the condition Preflight", || async {
            condition().await.is_some()
        })
        .await;
        condition().await.expect("the condition")
    }
}

pub async fn an_upgrade_reports_a_budget_in_its_way_but_none_of_pools_that_it_leaves_alone(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    // The new node comes up slowly, so the drain begins later.
    belay.guarded_pools(3000).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let preflight = belay.preflight(&upgrade).await;
    assert_eq!(
        (preflight.status.as_str(), preflight.reason.as_str()),
        ("False", "BudgetsInTheWay")
    );
    let namespace = &belay.namespace;
    let budget = format!(
        "PodDisruptionBudget {namespace}/web (minAvailable 1) requires 1 of 1 pods, so it never allows an eviction: 1 pod on the nodes of AgentPool np1 ({namespace}/web) (`kubectl -n {namespace} edit pdb web`)"
    );
    let message = &preflight.message;
    assert!(message.starts_with(&budget), "{message}");
    assert!(
        message.contains("no controller makes these pods again: 1 pod"),
        "{message}"
    );
    assert!(!message.contains(&format!("{namespace}/db")), "{message}");
    let is_said = || async {
        let events = belay.events(&upgrade).await;
        let mut events = events.iter();
        events.any(|(reason, note)| reason == "Preflight" && note.contains(&budget))
    };
    belay.eventually("an Event says it", is_said).await;
    belay.is_blocked(&upgrade).await;
    assert_eq!(
        belay.preflight(&upgrade).await,
        preflight,
        "it is written once"
    );
    belay.abort(&upgrade, "a budget is in the way").await;
    let canceled = belay.is_canceled(&upgrade).await;
    assert!(canceled.conditions.contains(&preflight));
    let statuses = belay.statuses(&upgrade).await;
    let first = statuses.iter().find(|status| {
        let mut conditions = status.conditions.iter();
        conditions.any(|it| it.type_ == "Preflight")
    });
    let first = first.expect("a status with the condition");
    assert_eq!(first.phase, OperationPhase::InProgress);
    assert_eq!(
        first.blocked, None,
        "it is reported before the drain meets it"
    );
}

pub async fn an_upgrade_with_nothing_in_its_way_says_so_and_a_scale_up_says_nothing(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(500, 1).await;
    belay.set_count("np1", 2).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let scaled = belay.succeeds(&scale).await;
    assert!(scaled.conditions.iter().all(|it| it.type_ != "Preflight"));
    belay.lock_is_free().await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let preflight = belay.preflight(&upgrade).await;
    assert_eq!(
        (preflight.status.as_str(), preflight.reason.as_str()),
        ("True", "NothingInTheWay")
    );
    belay.succeeds(&upgrade).await;
}
