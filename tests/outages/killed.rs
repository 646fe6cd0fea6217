//! The API server and etcd are killed with SIGKILL and started again, ten times each, in all kinds of steps.

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

/// The duration of a machine's start and of a control plane change, long enough for a kill in between.
const DURATION: u32 = 4000;

/// A component of a control plane that the test kills repeatedly.
struct Outages {
    world: Arc<World>,
    belay: Arc<Belay>,
    component: Component,
}

impl Outages {
    /// Kills the component while an Operation is in progress, and starts it again.
    async fn kill_component(&self, operation: &str) -> Timestamp {
        let before = self.belay.status(operation).await;
        assert!(!before.phase.is_finished(), "{before:#?}");
        self.world.kill(self.component).await;
        let killed = clock::now();
        // The pause is the outage under test.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.world.start_again(self.component).await;
        killed
    }

    /// Waits until a step with this action is in progress.
    async fn step_is_running(&self, operation: &str, action: StepAction) {
        let what = format!("a step {action:?} of {operation} is in progress");
        let is_running = || async {
            let status = self.belay.status(operation).await;
            let mut steps = status.steps.iter();
            steps.any(|step| step.action == action && step.phase == StepPhase::InProgress)
        };
        self.belay.eventually(&what, is_running).await;
    }

    /// Waits until an Operation is blocked for this reason.
    async fn is_blocked_by(&self, operation: &str, reason: &str) {
        let what = format!("{operation} is blocked by {reason}");
        let is_blocked = || async {
            let blocked = self.belay.status(operation).await.blocked;
            blocked.is_some_and(|blocked| blocked.reason == reason)
        };
        self.belay.eventually(&what, is_blocked).await;
    }

    /// Kills the component during a step with this action, and waits until the Operation succeeds. Checks that it ended
    /// after the kill.
    async fn kill_at_step(&self, operation: &str, action: StepAction) -> OperationStatus {
        self.step_is_running(operation, action).await;
        let killed = self.kill_component(operation).await;
        let status = self.belay.succeeds(operation).await;
        let ended = status.end_time.clone().expect("an end time").0;
        assert!(ended.as_second() >= killed.as_second(), "{status:#?}");
        status
    }

    async fn create(&self) {
        let belay = &self.belay;
        belay.create_cluster(DURATION).await;
        let create = belay.operation(OperationType::Create, "demo").await;
        self.kill_at_step(&create, StepAction::Create).await;
        belay.create_pool("np1", 3).await;
        let create = belay.operation(OperationType::Create, "np1").await;
        self.kill_at_step(&create, StepAction::Create).await;
        belay.pool_is_ready("np1").await;
        assert_eq!(belay.nodes().await.len(), 3);
    }

    async fn upgrade(&self, guard: &Guard) {
        let belay = &self.belay;
        belay.set_version("1.36.3").await;
        let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
        self.step_is_running(&upgrade, StepAction::Upgrade).await;
        self.kill_component(&upgrade).await;
        self.step_is_running(&upgrade, StepAction::Replace).await;
        self.kill_component(&upgrade).await;
        self.is_blocked_by(&upgrade, "PodDisruptionBudget").await;
        self.kill_component(&upgrade).await;
        self.is_blocked_by(&upgrade, "PodDisruptionBudget").await;
        let cordoned = belay.nodes().await.into_iter().filter(is_cordoned);
        assert_eq!(cordoned.count(), 1, "one node is drained at a time");
        guard.check(3, 3, 4);
        belay.set_min_available(2).await;
        self.kill_component(&upgrade).await;
        let status = belay.succeeds(&upgrade).await;
        assert_eq!(status.steps.len(), 4, "{:#?}", status.steps);
        belay.cluster_is_ready().await;
        belay.pool_is_ready("np1").await;
        let nodes = belay.nodes().await;
        assert_eq!(nodes.len(), 3);
        assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
        guard.check(2, 3, 4);
    }

    /// Recreates the workload's pods until each node has one, so that each drain is blocked.
    async fn spread_pods(&self, nodes: usize) {
        let belay = &self.belay;
        let recreate = || belay.kubectl(&["delete", "pods", "-l", "app=web"]);
        recreate();
        let each = r#"jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}"#;
        let on_each = || async {
            let names = belay.kubectl(&["get", "pods", "-l", "app=web", "-o", each]);
            let names: Vec<_> = names.lines().filter(|name| !name.is_empty()).collect();
            let distinct: BTreeSet<_> = names.iter().collect();
            if names.len() == nodes && distinct.len() < nodes {
                // The scheduler has put two pods on one node, and doesn't move them.
                recreate();
            }
            distinct.len() == nodes
        };
        belay.eventually("each node has a pod", on_each).await;
        belay.workload_is_healthy(nodes).await;
    }

    async fn update(&self) {
        let belay = &self.belay;
        belay.refuse_node_changes("UPDATE").await;
        let labels = json!({"nodeLabels": {"tier": "gold"}});
        belay.set_pool("np1", labels).await;
        let update = belay.operation(OperationType::Update, "np1").await;
        self.is_blocked_by(&update, "Forbidden").await;
        self.kill_component(&update).await;
        belay.stop_refusing();
        belay.succeeds(&update).await;
        belay.pool_is_ready("np1").await;
    }

    /// Starts a scale-down that a budget blocks, and aborts it when the component has just come back.
    async fn scale_and_abort(&self) {
        let belay = &self.belay;
        belay.set_min_available(3).await;
        belay.set_count("np1", 2).await;
        let scale = belay.operation(OperationType::Scale, "np1").await;
        self.is_blocked_by(&scale, "PodDisruptionBudget").await;
        self.kill_component(&scale).await;
        self.is_blocked_by(&scale, "PodDisruptionBudget").await;
        self.kill_component(&scale).await;
        belay.abort(&scale, "enough").await;
        let canceled = belay.is_canceled(&scale).await;
        let cancellation = canceled.cancellation.expect("a cancellation");
        assert!(cancellation.left_behind.is_empty(), "{cancellation:#?}");
        belay.lock_is_free().await;
        let nodes = belay.nodes().await;
        assert_eq!(nodes.len(), 3);
        assert!(!nodes.iter().any(is_cordoned), "no node is cordoned");
    }

    async fn delete(&self, guard: &Guard) {
        let belay = &self.belay;
        belay.kubectl(&["delete", "agentpool", "np1", "--wait=false"]);
        let delete = belay.operation(OperationType::Delete, "np1").await;
        self.is_blocked_by(&delete, "PodDisruptionBudget").await;
        self.kill_component(&delete).await;
        self.is_blocked_by(&delete, "PodDisruptionBudget").await;
        guard.check(3, 3, 3);
        belay.set_min_available(0).await;
        belay.succeeds(&delete).await;
        belay.cluster_is_ready().await;
        assert!(belay.nodes().await.is_empty());
    }
}

/// Runs ten outages, and checks the state after them.
async fn ten_outages(component: Component) {
    let world = World::start().await;
    // The API server's watch caches are ready a little later than the API server itself.
    world.retries.store(true, Ordering::Relaxed);
    let belay = Belay::start(&world).await;
    let outages = Outages {
        world,
        belay: belay.clone(),
        component,
    };
    outages.create().await;
    belay.create_workload(3, 3).await;
    let guard = Guard::watch(&belay, 3, 3).await;
    outages.upgrade(&guard).await;
    outages.spread_pods(3).await;
    let guard = Guard::watch(&belay, 3, 3).await;
    outages.update().await;
    outages.scale_and_abort().await;
    outages.delete(&guard).await;
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
    // A loop without pauses would log thousands of warnings.
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
