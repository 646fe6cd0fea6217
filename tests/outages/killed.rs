//! The API server and etcd are killed with SIGKILL and started again, ten times each, once in every kind of step.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use belay::{
    api::{OperationStatus, OperationType, StepAction, StepPhase},
    machinery::clock,
};
use jiff::Timestamp;
use serde_json::json;
use testenv::Component;

use super::{
    belay::{Belay, World, is_cordoned, version},
    guard::Guard,
};

/// How long a machine and a change of the control plane take: long enough to be in progress at the kill.
const TAKES: u32 = 4000;

/// A part of a control plane that is killed again and again.
struct Outages {
    world: Arc<World>,
    belay: Arc<Belay>,
    component: Component,
}

impl Outages {
    /// Kills the part while an Operation is in progress, and starts it again.
    async fn strike(&self, operation: &str) -> Timestamp {
        let before = self.belay.status(operation).await;
        assert!(!before.phase.is_finished(), "{before:#?}");
        self.world.kill(self.component).await;
        let killed = clock::now();
        // The pause is the outage under test.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.world.start_again(self.component).await;
        killed
    }

    /// Waits until an Operation has begun a step of that kind and isn't blocked.
    async fn is_at(&self, operation: &str, action: StepAction) {
        let what = format!("has {operation} at a step {action:?}");
        let is_there = || async {
            let status = self.belay.status(operation).await;
            let mut steps = status.steps.iter();
            steps.any(|step| step.action == action && step.phase == StepPhase::InProgress)
        };
        self.belay.eventually(&what, is_there).await;
    }

    /// Waits until an Operation is blocked for this reason.
    async fn is_blocked_by(&self, operation: &str, reason: &str) {
        let what = format!("has {operation} blocked by {reason}");
        let is_blocked = || async {
            let blocked = self.belay.status(operation).await.blocked;
            blocked.is_some_and(|blocked| blocked.reason == reason)
        };
        self.belay.eventually(&what, is_blocked).await;
    }

    /// Kills the part at a step of that kind, and waits until the Operation has succeeded, which it hadn't before.
    async fn strike_at(&self, operation: &str, action: StepAction) -> OperationStatus {
        self.is_at(operation, action).await;
        let killed = self.strike(operation).await;
        let status = self.belay.succeeds(operation).await;
        let ended = status.end_time.clone().expect("its end").0;
        assert!(ended.as_second() >= killed.as_second(), "{status:#?}");
        status
    }

    async fn creates(&self) {
        let belay = &self.belay;
        belay.create_cluster(TAKES).await;
        let create = belay.operation(OperationType::Create, "demo").await;
        self.strike_at(&create, StepAction::Create).await;
        belay.create_pool("np1", 3).await;
        let create = belay.operation(OperationType::Create, "np1").await;
        self.strike_at(&create, StepAction::Create).await;
        belay.pool_is_ready("np1").await;
        assert_eq!(belay.nodes().await.len(), 3);
    }

    async fn upgrades(&self, guard: &Guard) {
        let belay = &self.belay;
        belay.set_version("1.36.3").await;
        let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
        self.is_at(&upgrade, StepAction::Upgrade).await;
        self.strike(&upgrade).await;
        self.is_at(&upgrade, StepAction::Replace).await;
        self.strike(&upgrade).await;
        self.is_blocked_by(&upgrade, "PodDisruptionBudget").await;
        self.strike(&upgrade).await;
        self.is_blocked_by(&upgrade, "PodDisruptionBudget").await;
        let cordoned = belay.nodes().await.into_iter().filter(is_cordoned);
        assert_eq!(cordoned.count(), 1, "one at a time");
        guard.check(3, 3, 4);
        belay.keep_available(2).await;
        self.strike(&upgrade).await;
        let status = belay.succeeds(&upgrade).await;
        assert_eq!(status.steps.len(), 4, "{:#?}", status.steps);
        belay.cluster_is_ready().await;
        belay.pool_is_ready("np1").await;
        let nodes = belay.nodes().await;
        assert_eq!(nodes.len(), 3);
        assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
        guard.check(2, 3, 4);
    }

    /// Recreates the workload's pods until each node has one: then each drain hangs.
    async fn has_a_pod_on_each_node(&self, nodes: usize) {
        let belay = &self.belay;
        let make_anew = || belay.kubectl(&["delete", "pods", "-l", "app=web"]);
        make_anew();
        let each = r#"jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}"#;
        let on_each = || async {
            let names = belay.kubectl(&["get", "pods", "-l", "app=web", "-o", each]);
            let names: Vec<_> = names.lines().filter(|name| !name.is_empty()).collect();
            let distinct: BTreeSet<_> = names.iter().collect();
            if names.len() == nodes && distinct.len() < nodes {
                // The scheduler has put two on one node, and doesn't move them.
                make_anew();
            }
            distinct.len() == nodes
        };
        belay.eventually("has a pod on each node", on_each).await;
        belay.is_guarded(nodes).await;
    }

    async fn updates(&self) {
        let belay = &self.belay;
        belay.refuse_node_changes("UPDATE").await;
        let labels = json!({"nodeLabels": {"tier": "gold"}});
        belay.set_pool("np1", labels).await;
        let update = belay.operation(OperationType::Update, "np1").await;
        self.is_blocked_by(&update, "Forbidden").await;
        self.strike(&update).await;
        belay.refuse_no_more();
        belay.succeeds(&update).await;
        belay.pool_is_ready("np1").await;
    }

    /// A scale-down hangs on a budget, and is aborted when the part has just come back.
    async fn scales_and_aborts(&self) {
        let belay = &self.belay;
        belay.keep_available(3).await;
        belay.set_count("np1", 2).await;
        let scale = belay.operation(OperationType::Scale, "np1").await;
        self.is_blocked_by(&scale, "PodDisruptionBudget").await;
        self.strike(&scale).await;
        self.is_blocked_by(&scale, "PodDisruptionBudget").await;
        self.strike(&scale).await;
        belay.abort(&scale, "just back").await;
        let canceled = belay.is_canceled(&scale).await;
        let cancellation = canceled.cancellation.expect("a cancellation");
        assert!(cancellation.left_behind.is_empty(), "{cancellation:#?}");
        belay.lock_is_free().await;
        let nodes = belay.nodes().await;
        assert_eq!(nodes.len(), 3);
        assert!(!nodes.iter().any(is_cordoned), "all take pods again");
    }

    async fn deletes(&self, guard: &Guard) {
        let belay = &self.belay;
        belay.kubectl(&["delete", "agentpool", "np1", "--wait=false"]);
        let delete = belay.operation(OperationType::Delete, "np1").await;
        self.is_blocked_by(&delete, "PodDisruptionBudget").await;
        self.strike(&delete).await;
        self.is_blocked_by(&delete, "PodDisruptionBudget").await;
        guard.check(3, 3, 3);
        belay.keep_available(0).await;
        belay.succeeds(&delete).await;
        belay.cluster_is_ready().await;
        assert!(belay.nodes().await.is_empty());
    }
}

/// Runs ten outages, and checks the state after them.
async fn ten_outages(component: Component) {
    let world = World::start().await;
    // The API server's watch caches are ready a moment after the API server is.
    world.asks_again.store(true, Ordering::Relaxed);
    let belay = Belay::start(&world).await;
    let outages = Outages {
        world,
        belay: belay.clone(),
        component,
    };
    outages.creates().await;
    belay.create_workload(3, 3).await;
    let guard = Guard::watch(&belay, 3, 3).await;
    outages.upgrades(&guard).await;
    outages.has_a_pod_on_each_node(3).await;
    let guard = Guard::watch(&belay, 3, 3).await;
    outages.updates().await;
    outages.scales_and_aborts().await;
    outages.deletes(&guard).await;
    for (type_, target, expected) in [
        (OperationType::Create, "demo", 1),
        (OperationType::Create, "np1", 1),
        (OperationType::Upgrade, "demo", 1),
        (OperationType::Update, "np1", 1),
        (OperationType::Scale, "np1", 1),
        (OperationType::Delete, "np1", 1),
        (OperationType::Reconcile, "np1", 0),
        (OperationType::Reconcile, "demo", 0),
    ] {
        let operations = belay.operations(type_, target).await;
        assert_eq!(operations.len(), expected, "{type_:?} of {target}");
    }
    // A loop without pauses would write thousands.
    let log = belay.log();
    let warnings = log.lines().filter(|line| line.contains(" WARN ")).count();
    assert!(warnings < 1000, "{warnings} warnings in ten outages");
    belay.kill_operator();
    belay.check_history();
}

pub async fn api_server_kills_in_every_kind_of_step_lose_nothing(_: Arc<World>) {
    ten_outages(Component::ApiServer).await;
}

pub async fn etcd_kills_in_every_kind_of_step_lose_nothing(_: Arc<World>) {
    ten_outages(Component::Etcd).await;
}
