//! The scenarios: each row of docs/operations.md, and its abort. Each action of a scenario waits for a stable state, so
//! that all runs have the same requests.

mod create;
mod delete;
mod power;
mod reconcile;
mod rollback;
mod scale;
mod update;
mod upgrade;

use std::sync::Arc;

use belay::api::{OperationPhase, StepPhase};
use futures::future::BoxFuture;
use serde_json::json;

use crate::place::Place;

type Act = fn(Arc<Place>) -> BoxFuture<'static, ()>;

/// The actions of a user, and what the user waits for.
pub struct Scenario {
    pub name: &'static str,
    /// Prepares the start of the scenario, without disturbances.
    pub prepare: Act,
    /// The part that is disturbed.
    pub act: Act,
}

macro_rules! scenarios {
    ($($name:literal: $module:ident :: $prepare:ident, $act:ident);* $(;)?) => {
        &[$(Scenario {
            name: $name,
            prepare: |place| Box::pin(async move { $module::$prepare(&place).await }),
            act: |place| Box::pin(async move { $module::$act(&place).await }),
        }),*]
    };
}

pub const ALL: &[Scenario] = scenarios![
    "Create of a cluster and its pool": create::nothing, to_the_end;
    "Create of a cluster, aborted": create::nothing, abort_of_the_cluster;
    "Create of a pool, aborted": create::with_slow_nodes, abort_of_a_pool;
    "Update of labels": update::ready, to_the_end;
    "Update of labels, aborted": update::ready, abort;
    "Upgrade of a cluster": upgrade::with_loose_budget, to_the_end;
    "Upgrade, aborted at the control plane": upgrade::with_slow_control_plane, abort_at_the_control_plane;
    "Upgrade, aborted while a node comes up": upgrade::ready, abort_while_a_node_comes_up;
    "Upgrade, aborted in a drain": upgrade::with_strict_budget, abort_in_a_drain;
    "Upgrade, aborted after the step": upgrade::with_strict_budget, abort_after_the_step;
    "Rollback of a cluster": rollback::with_loose_budget, to_the_end;
    "Rollback, aborted in a drain": rollback::with_strict_budget, abort_in_a_drain;
    "Scale up": scale::one_node, up;
    "Scale up, aborted": scale::one_node, abort_up;
    "Scale down": scale::three_nodes, down;
    "Scale down, aborted in a drain": scale::with_strict_budget, abort_down;
    "Scale replaced by a newer one": scale::with_queue, replaced;
    "Stop of a pool": power::ready, stop_a_pool;
    "Stop of a pool, aborted in a drain": power::with_strict_budget, abort_stop_of_a_pool;
    "Start of a pool": power::stopped_pool, start_a_pool;
    "Start of a pool, aborted": power::stopped_pool, abort_start_of_a_pool;
    "Stop of a cluster": power::ready, stop_the_cluster;
    "Stop of a cluster, aborted": power::ready, abort_stop_of_the_cluster;
    "Start of a cluster": power::stopped_cluster, start_the_cluster;
    "Start of a cluster, aborted": power::stopped_cluster, abort_start_of_the_cluster;
    "Delete of a pool": delete::ready, a_pool;
    "Delete of a pool, aborted in a drain": delete::with_strict_budget, abort_of_a_pool;
    "Delete of a cluster": delete::ready, the_cluster;
    "Delete of a cluster in the middle of its upgrade": delete::with_strict_budget, the_cluster_in_its_upgrade;
    "Reconcile after an abort": reconcile::aborted, continue_upgrade;
    "Reconcile where a node is lost": reconcile::ready, a_lost_node;
];

impl Place {
    /// Aborts an Operation, and waits until it is canceled.
    pub async fn cancel(&self, operation: &str) {
        self.belay.abort(operation, "sweep").await;
        self.belay.is_canceled(operation).await;
    }

    /// Requests an abort of an Operation after its step in progress.
    pub async fn request_abort_after_step(&self, operation: &str) {
        let annotations =
            json!({"belay.dev/abort": "sweep", "belay.dev/abort-policy": "AfterStep"});
        self.belay
            .annotate::<belay::api::Operation>(operation, annotations)
            .await;
        self.belay
            .is_in_phase(operation, OperationPhase::Canceling)
            .await;
    }

    /// Waits until an Operation is blocked, aborts it, and stops the test's refusals.
    pub async fn cancel_once_blocked(&self, operation: &str, steps: usize) {
        self.is_blocked_with_steps(operation, steps).await;
        self.cancel(operation).await;
        self.faults.stop_refusing();
    }

    /// Waits until an Operation is blocked with this many steps in progress. The block stays in the status after a
    /// crash; the steps in progress show that the next operator works.
    pub async fn is_blocked_with_steps(&self, operation: &str, steps: usize) {
        self.belay
            .eventually("the Operation is blocked", || async {
                let status = self.belay.status(operation).await;
                let in_progress = status.steps.iter();
                let in_progress = in_progress.filter(|step| step.phase == StepPhase::InProgress);
                status.blocked.is_some() && in_progress.count() == steps
            })
            .await;
    }

    /// Waits until a step is in progress.
    pub async fn step_is_running(&self, operation: &str) {
        self.belay
            .eventually("a step is in progress", || async {
                let steps = self.belay.status(operation).await.steps;
                steps.iter().any(|step| step.phase == StepPhase::InProgress)
            })
            .await;
    }
}
