//! The scenarios: each row of docs/operations.md, and its abort. A scenario leads to a state that stays until the
//! person's next act, so that each run gets the same requests.

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

/// The actions of a person, and what the person waits for.
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
    "Create of a pool, aborted": create::slow, abort_of_a_pool;
    "Update of labels": update::ready, to_the_end;
    "Update of labels, aborted": update::ready, abort;
    "Upgrade of a cluster": upgrade::loose, to_the_end;
    "Upgrade, aborted at the control plane": upgrade::slow, abort_at_the_control_plane;
    "Upgrade, aborted while a node comes up": upgrade::ready, abort_while_a_node_comes_up;
    "Upgrade, aborted in a drain": upgrade::guarded, abort_in_a_drain;
    "Upgrade, aborted after the step": upgrade::guarded, abort_after_the_step;
    "Rollback of a cluster": rollback::loose, to_the_end;
    "Rollback, aborted in a drain": rollback::guarded, abort_in_a_drain;
    "Scale up": scale::one, up;
    "Scale up, aborted": scale::one, abort_up;
    "Scale down": scale::three, down;
    "Scale down, aborted in a drain": scale::guarded, abort_down;
    "Scale replaced by a newer one": scale::guarded_queue, replaced;
    "Stop of a pool": power::ready, stop_a_pool;
    "Stop of a pool, aborted in a drain": power::guarded, abort_stop_of_a_pool;
    "Start of a pool": power::stopped_pool, start_a_pool;
    "Start of a pool, aborted": power::stopped_pool, abort_start_of_a_pool;
    "Stop of a cluster": power::ready, stop_the_cluster;
    "Stop of a cluster, aborted": power::ready, abort_stop_of_the_cluster;
    "Start of a cluster": power::stopped_cluster, start_the_cluster;
    "Start of a cluster, aborted": power::stopped_cluster, abort_start_of_the_cluster;
    "Delete of a pool": delete::ready, a_pool;
    "Delete of a pool, aborted in a drain": delete::guarded, abort_of_a_pool;
    "Delete of a cluster": delete::ready, the_cluster;
    "Delete of a cluster in the middle of its upgrade": delete::guarded, the_cluster_in_its_upgrade;
    "Reconcile after an abort": reconcile::aborted, goes_on;
    "Reconcile where a node is lost": reconcile::ready, a_lost_node;
];

impl Place {
    /// Aborts an Operation, and waits until it is canceled.
    pub async fn cancels(&self, operation: &str) {
        self.belay.abort(operation, "swept").await;
        self.belay.is_canceled(operation).await;
    }

    /// Requests that an Operation finishes the step in progress and is canceled then.
    pub async fn asks_to_stop_after_step(&self, operation: &str) {
        let asked = json!({"belay.dev/abort": "swept", "belay.dev/abort-policy": "AfterStep"});
        self.belay
            .annotate::<belay::api::Operation>(operation, asked)
            .await;
        self.belay
            .is_in_phase(operation, OperationPhase::Canceling)
            .await;
    }

    /// Aborts a blocked Operation. Once it is canceled, ends the test's refusals.
    pub async fn cancels_once_stuck(&self, operation: &str, steps: usize) {
        self.is_stuck(operation, steps).await;
        self.cancels(operation).await;
        self.faults.refuse_no_more();
    }

    /// Waits until an Operation is blocked with this many steps in progress. The block stays in the status over a
    /// crash; a step in progress shows that the next operator is at work.
    pub async fn is_stuck(&self, operation: &str, steps: usize) {
        self.belay
            .eventually("is stuck", || async {
                let status = self.belay.status(operation).await;
                let in_process = status.steps.iter();
                let in_process = in_process.filter(|step| step.phase == StepPhase::InProgress);
                status.blocked.is_some() && in_process.count() == steps
            })
            .await;
    }

    /// Waits until a step is in progress.
    pub async fn is_at_work(&self, operation: &str) {
        self.belay
            .eventually("has a step in process", || async {
                let steps = self.belay.status(operation).await.steps;
                steps.iter().any(|step| step.phase == StepPhase::InProgress)
            })
            .await;
    }
}
