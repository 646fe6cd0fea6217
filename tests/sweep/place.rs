//! The place of one run: a namespace, an operator that may crash, and its faults.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use belay::machinery::versions::version;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Config,
    api::{DeleteParams, ListParams},
};

use crate::{
    belay::Belay,
    budgets::Budgets,
    faults::{Faults, Operator},
    panics::checked,
    world::World,
};

/// A namespace with an operator in the test's process.
pub struct Place {
    pub belay: Arc<Belay>,
    pub faults: Faults,
    pub budgets: Budgets,
    config: Config,
    operator: Mutex<Option<Operator>>,
    /// A frozen operator that was replaced by another one.
    older: Mutex<Option<Operator>>,
}

impl Place {
    /// Creates a place whose operator has no faults yet.
    pub async fn new(world: &Arc<World>, budgets: &Budgets) -> Arc<Self> {
        let this = Self {
            belay: Belay::start_without_operator(world).await,
            faults: Faults::default(),
            budgets: budgets.clone(),
            config: world.config().await,
            operator: Mutex::new(None),
            older: Mutex::new(None),
        };
        this.start_operator();
        Arc::new(this)
    }

    fn start_operator(&self) {
        let operator = Operator::start(&self.config, &self.belay.namespace, &self.faults);
        *self.operator.lock().expect("the operator") = Some(operator);
    }

    /// Kills the operator.
    pub fn kill_operator(&self) {
        let operator = self.operator.lock().expect("the operator").take();
        let older = self.older.lock().expect("the older operator").take();
        drop((operator, older));
    }

    /// Starts another operator after each crash or freeze.
    pub async fn follow_crashes(&self) {
        loop {
            tokio::select! {
                () = self.faults.has_crashed() => {
                    self.kill_operator();
                    self.start_operator();
                }
                () = self.faults.has_frozen() => self.run_two_operators().await,
            }
        }
    }

    /// Lets another operator work while one is frozen and has lost its lease. Then the frozen operator continues: it
    /// sends its pending request, and decides with its stale cache. Then it ends.
    async fn run_two_operators(&self) {
        let another = Operator::start_another(&self.config, &self.belay.namespace, &self.faults);
        let older = self.operator.lock().expect("the operator").replace(another);
        if let Some(older) = &older {
            older.lose_lease();
        }
        *self.older.lock().expect("the older operator") = older;
        self.wait_until_quiet(Duration::from_millis(1500), Duration::from_secs(6))
            .await;
        self.faults.thaw();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let older = self.older.lock().expect("the older operator").take();
        drop(older);
    }

    /// Waits until there was no write for `quiet`, but at most for `at_most`.
    async fn wait_until_quiet(&self, quiet: Duration, at_most: Duration) {
        let started = Instant::now();
        let mut last = (self.faults.writes(), Instant::now());
        while last.1.elapsed() < quiet && started.elapsed() < at_most {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let writes = self.faults.writes();
            if writes != last.0 {
                last = (writes, Instant::now());
            }
        }
    }

    /// Waits until there is only one operator again.
    pub async fn has_one_operator(&self) {
        while self.older.lock().expect("the older operator").is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Creates a workload with this many pods. The budget protects all of them.
    pub async fn create_protected_workload(&self, pods: usize) {
        self.belay.create_workload(pods, pods).await;
        self.budgets.require(&self.belay.namespace, pods);
    }

    /// Changes how many pods the budget protects.
    pub async fn set_protected_pods(&self, pods: usize) {
        let namespace = &self.belay.namespace;
        if pods <= self.budgets.required(namespace) {
            self.budgets.require(namespace, pods);
            self.belay.set_min_available(pods).await;
            return;
        }
        self.belay.set_min_available(pods).await;
        let version = self.wait_for_budget().await;
        self.budgets.require_from(version, namespace, pods);
    }

    /// Waits until evictions under the budget's previous value have ended: the new value is observed, and all pods with
    /// an accepted eviction are gone. Returns a resourceVersion from which on this is true.
    async fn wait_for_budget(&self) -> u64 {
        let budgets = self.belay.api::<PodDisruptionBudget>();
        let budget = || async { budgets.get("web").await.expect("the budget") };
        let is_in_effect = || async {
            let budget = budget().await;
            let status = budget.status.unwrap_or_default();
            status.observed_generation == budget.metadata.generation
                && status.disrupted_pods.unwrap_or_default().is_empty()
        };
        self.belay
            .eventually("the budget is in effect", is_in_effect)
            .await;
        version(&budget().await).unwrap_or_default()
    }

    /// Checks the invariants that must hold in everything that was seen.
    pub fn check_invariants(&self) -> Result<(), String> {
        let violations = self.budgets.violations(&self.belay.namespace);
        if !violations.is_empty() {
            return Err(format!("violated a budget: {violations:?}"));
        }
        checked(|| self.belay.check_history())
    }

    /// Deletes all objects that would keep the machine busy. Belay's own objects stay.
    pub async fn clear(&self) {
        self.kill_operator();
        self.budgets.require(&self.belay.namespace, 0);
        let (background, at_once) = (
            DeleteParams::background(),
            DeleteParams::default().grace_period(0),
        );
        let all = ListParams::default();
        let workloads = self.belay.api::<Deployment>();
        workloads
            .delete_collection(&background, &all)
            .await
            .expect("deleted");
        let budgets = self.belay.api::<PodDisruptionBudget>();
        budgets
            .delete_collection(&background, &all)
            .await
            .expect("deleted");
        let pods = self.belay.api::<Pod>();
        pods.delete_collection(&at_once, &all)
            .await
            .expect("deleted");
        let ours = format!("belay.dev/namespace={}", self.belay.namespace);
        let nodes = Api::<Node>::all(self.belay.client.clone());
        let ours = ListParams::default().labels(&ours);
        nodes
            .delete_collection(&background, &ours)
            .await
            .expect("deleted");
    }
}
