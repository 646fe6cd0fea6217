//! A namespace whose clusters use the scripted engine, and its operator in the test's process.

use std::sync::{Arc, Mutex};

use belay::{
    api::{CancellationStatus, ManagedCluster, Operation, OperationPhase, OperationType},
    controller,
    leader::Fence,
    machinery::watches::Scope,
    provider::{Clouds, Providers, cluster_api, engine::EngineProvider},
    telemetry::{Health, Telemetry, Traces},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ListParams;
use serde_json::json;
use tokio::task::JoinHandle;

use super::script::Script;
use crate::stage::belay::{Belay, World};

/// A namespace whose clusters use the scripted engine, and its operator in this process.
pub struct Stage {
    pub belay: Arc<Belay>,
    pub script: Arc<Script>,
    operator: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Stage {
    pub async fn start(world: &Arc<World>) -> Self {
        let belay = Belay::start_without_operator(world).await;
        let this = Self {
            script: Arc::new(Script::new(belay.client.clone())),
            belay,
            operator: Mutex::default(),
        };
        this.start_operator();
        this
    }

    /// Creates a ready cluster with one pool of two nodes. From now on, changes finish only when the test says so.
    pub async fn ready(world: &Arc<World>) -> Self {
        let this = Self::start(world).await;
        this.belay.create_cluster(0).await;
        this.belay.create_pool("np1", 2).await;
        this.ready_condition_is("True", "Succeeded").await;
        this.belay
            .eventually("the pool is ready", || async {
                let status = this.belay.pool_status("np1").await;
                ready_of(&status.conditions).is_some_and(|ready| ready.status == "True")
            })
            .await;
        this.belay.lock_is_free_in_status().await;
        this.script.state().is_quick = false;
        this
    }

    pub fn start_operator(&self) {
        let scope = Scope::of([self.belay.namespace.clone()]);
        let providers = Providers {
            kwok: Arc::new(EngineProvider::new(self.script.clone())),
            cluster_api: Arc::new(cluster_api::provider(&self.belay.client, &scope)),
            clouds: Clouds::default(),
        };
        let telemetry = Telemetry::new("script", Fence::open(), Traces::default());
        let health = Health::new(telemetry.clone());
        let client = self.belay.client.clone();
        let task = tokio::spawn(async move {
            let never = std::future::pending();
            controller::run(client, &scope, providers, telemetry, &health, never).await;
        });
        *self.operator.lock().expect("the operator") = Some(task);
    }

    /// Stops the operator at once, without its shutdown.
    pub fn crash(&self) {
        if let Some(task) = self.operator.lock().expect("the operator").take() {
            task.abort();
        }
    }

    /// Starts an upgrade of the cluster, and waits until it is in progress at the engine. Returns the Operation's name.
    pub async fn running_upgrade(&self) -> String {
        self.belay.set_version("1.36.3").await;
        let upgrade = self.belay.operation(OperationType::Upgrade, "demo").await;
        self.engine_is_working().await;
        upgrade
    }

    /// Waits until a change is in progress at the engine.
    pub async fn engine_is_working(&self) {
        self.belay
            .eventually("the engine works on a change", || async {
                !self.script.running().is_empty()
            })
            .await;
    }

    /// Waits until an Operation's status has a handle.
    pub async fn has_handle(&self, operation: &str) {
        self.belay
            .eventually("the Operation's status has a handle", || async {
                let steps = self.belay.status(operation).await.steps;
                steps.iter().any(|step| step.handle.is_some())
            })
            .await;
    }

    /// Sets the engine's progress, and waits until a step of the Operation shows it.
    pub async fn shows_progress(&self, operation: &str, percent: i32) {
        self.script.set_progress(percent);
        self.belay
            .eventually("the Operation shows the engine's progress", || async {
                let steps = self.belay.status(operation).await.steps;
                let mut shown = steps.iter().filter_map(|step| step.percent_complete);
                shown.any(|shown| shown == percent)
            })
            .await;
    }

    /// Waits until the abort of a running Operation is refused. Returns the reason.
    pub async fn abort_is_refused(&self, operation: &str) -> String {
        let refused = || async {
            let status = self.belay.status(operation).await;
            let is_running = status.phase == OperationPhase::InProgress;
            let cancellation = status.cancellation.filter(|_| is_running)?;
            let is_failed = cancellation.status == CancellationStatus::Failed;
            is_failed.then_some(cancellation.reason)
        };
        self.belay
            .eventually("the abort is refused", || async {
                refused().await.is_some()
            })
            .await;
        refused().await.expect("a reason")
    }

    /// Finishes the engine's changes, including those that follow, until the Operation has succeeded.
    pub async fn finish_operation(&self, operation: &str) {
        self.belay
            .eventually("the Operation has succeeded", || async {
                self.script.finish_changes();
                self.belay.status(operation).await.phase == OperationPhase::Succeeded
            })
            .await;
    }

    /// Waits until the cluster's condition Ready has this status and reason. Returns the condition.
    pub async fn ready_condition_is(&self, status: &str, reason: &str) -> Condition {
        self.belay
            .eventually("the condition Ready is as expected", || async {
                let conditions = self.belay.cluster_status().await.conditions;
                ready_of(&conditions)
                    .is_some_and(|ready| ready.status == status && ready.reason == reason)
            })
            .await;
        let conditions = self.belay.cluster_status().await.conditions;
        ready_of(&conditions).expect("a condition")
    }

    pub async fn create_cluster(&self, name: &str) {
        let spec = json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {}}});
        self.belay.create_object::<ManagedCluster>(name, spec).await;
    }

    pub async fn operations(&self) -> Vec<Operation> {
        let listed = self.belay.api().list(&ListParams::default()).await;
        listed.expect("Operations").items
    }
}

pub fn ready_of(conditions: &[Condition]) -> Option<Condition> {
    let mut all = conditions.iter();
    all.find(|condition| condition.type_ == "Ready").cloned()
}
