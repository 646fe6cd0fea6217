//! A namespace whose clusters belong to a scripted engine, and an operator for it in the test's process.

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

/// A namespace whose clusters belong to the script, and an operator for it in this process.
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
    pub async fn set(world: &Arc<World>) -> Self {
        let belay = Belay::start_without_operator(world).await;
        let this = Self {
            script: Arc::new(Script::new(belay.client.clone())),
            belay,
            operator: Mutex::default(),
        };
        this.start_operator();
        this
    }

    /// Creates a ready cluster with one pool of two nodes. Changes that start from now on take time.
    pub async fn ready(world: &Arc<World>) -> Self {
        let this = Self::set(world).await;
        this.belay.create_cluster(0).await;
        this.belay.create_pool("np1", 2).await;
        this.is_ready("True", "Succeeded").await;
        this.belay
            .eventually("has its pool made", || async {
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

    /// Ends the operator at once.
    pub fn crash(&self) {
        if let Some(task) = self.operator.lock().expect("the operator").take() {
            task.abort();
        }
    }

    /// Starts an upgrade of the cluster, and waits until it is in progress at the engine. Returns the Operation's name.
    pub async fn upgrading(&self) -> String {
        self.belay.set_version("1.36.3").await;
        let upgrade = self.belay.operation(OperationType::Upgrade, "demo").await;
        self.goes_on().await;
        upgrade
    }

    /// Waits until a change is in progress at the engine.
    pub async fn goes_on(&self) {
        self.belay
            .eventually("has something go on at the engine", || async {
                !self.script.running().is_empty()
            })
            .await;
    }

    /// Waits until an Operation's status has a handle.
    pub async fn keeps_a_handle(&self, operation: &str) {
        self.belay
            .eventually("keeps the handle", || async {
                let steps = self.belay.status(operation).await.steps;
                steps.iter().any(|step| step.handle.is_some())
            })
            .await;
    }

    /// Sets the engine's progress, and waits until a step of the Operation shows it.
    pub async fn follows_to(&self, operation: &str, percent: i32) {
        self.script.is_at(percent);
        self.belay
            .eventually("follows the engine", || async {
                let steps = self.belay.status(operation).await.steps;
                let mut shown = steps.iter().filter_map(|step| step.percent_complete);
                shown.any(|shown| shown == percent)
            })
            .await;
    }

    /// Waits until the abort of a running Operation is refused. Returns the reason.
    pub async fn refuses_the_abort(&self, operation: &str) -> String {
        let refused = || async {
            let status = self.belay.status(operation).await;
            let is_running = status.phase == OperationPhase::InProgress;
            let cancellation = status.cancellation.filter(|_| is_running)?;
            let is_failed = cancellation.status == CancellationStatus::Failed;
            is_failed.then_some(cancellation.reason)
        };
        self.belay
            .eventually("has its abort refused", || async {
                refused().await.is_some()
            })
            .await;
        refused().await.expect("a reason")
    }

    /// Completes the changes at the engine as planned, including those that follow, until the Operation has ended.
    pub async fn finishes(&self, operation: &str) {
        self.belay
            .eventually("has succeeded", || async {
                self.script.finishes();
                self.belay.status(operation).await.phase == OperationPhase::Succeeded
            })
            .await;
    }

    pub async fn is_ready(&self, status: &str, reason: &str) -> Condition {
        self.belay
            .eventually("says whether it is ready", || async {
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
        self.belay.make::<ManagedCluster>(name, spec).await;
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
