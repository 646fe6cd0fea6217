//! The drain of one node. Its pods are evicted through the Eviction API, which honours `PodDisruptionBudgets` and the
//! pods' grace periods. The drain ends when no pod is left that has to go, and their volumes are detached.

mod budgets;
mod evictees;
mod eviction;
mod forcing;
mod time;
mod volumes;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    api::{ErrorDetail, OperationError},
    lifecycle::{Stop, join_sentences},
    machinery::{
        index::{Change, Index},
        watches,
    },
    provider::requests::{Blocked, PATIENCE},
};

use super::{
    node,
    node_work::{NodeEnd, Shared},
    stores::all_budgets,
    undrainable::{CODE, Undrained},
};
pub use budgets::{
    allowed as budget_allows, in_the_way as budget_in_the_way, protecting as protecting_budget,
    selects as budget_selects,
};
pub use evictees::has_to_go;
use evictees::{Answer, Evictees, InForce};
use time::TimeAtWork;

/// The reason for a block by a `PodDisruptionBudget`.
const BLOCKED_BY_BUDGET: &str = "PodDisruptionBudget";
/// The reason for a block by anything else.
const BLOCKED_BY_ERROR: &str = "EvictionFailed";
/// The reason for a block by a pod that doesn't end.
const BLOCKED_BY_POD: &str = "PodTerminating";
/// The reason for a block by a volume that is still attached.
const BLOCKED_BY_VOLUME: &str = "VolumeAttached";
/// The pause before a refused eviction is tried again if no watch shows that it may succeed. kubectl drain uses the
/// same pause.
pub const RETRY: Duration = Duration::from_secs(5);
/// How often Belay notes on the node how long the drain has taken.
const NOTE: Duration = Duration::from_secs(30);

/// What a person can do after a drain took too long.
pub const AFTER_TIMEOUT: &str = "Let the pods be evicted, or set a longer spec.upgradeSettings.drainTimeout, then create an Operation of type Reconcile";

/// How far a drain is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draining {
    /// How many pods still have to go.
    pub left: usize,
    /// What blocks the drain.
    pub blocked: Option<Blocked>,
}

/// One drain.
pub(super) struct Drain<'a> {
    pub shared: &'a Shared,
    /// The node, as this operation cordoned it.
    pub node: &'a Node,
    /// Called with the progress of the drain.
    pub report: &'a (dyn Fn(Draining) + Send + Sync),
}

/// Returns the parameters to list the pods of a node.
pub fn pods_of(node: &str) -> ListParams {
    ListParams::default().fields(&format!("spec.nodeName={node}"))
}

impl Drain<'_> {
    /// Evicts until no pod is left that has to go. When asked to stop, it evicts no more pods.
    ///
    /// # Errors
    /// `PodDrainFailure` if the drain took longer than it may. Only the time in which an operator was at work counts.
    pub async fn run(&self) -> Result<(), NodeEnd> {
        let pods = Index::<Pod>::new(|_| vec![(String::new(), String::new())], |_| ());
        let (sender, mut changes) = tokio::sync::mpsc::unbounded_channel();
        let of_node = format!("spec.nodeName={}", self.node.name_any());
        let events = watches::events(
            vec![Api::all(self.shared.client.clone())],
            &watches::config().fields(&of_node),
        );
        let watching = pods.clone().follow(1, events, move |change| {
            // The receiver lives as long as the drain.
            let _ = sender.send(change);
        });
        tokio::select! {
            () = watching => std::future::pending().await,
            end = self.go_on(&mut changes) => end,
        }
    }

    async fn go_on(
        &self,
        changes: &mut tokio::sync::mpsc::UnboundedReceiver<Change<Pod>>,
    ) -> Result<(), NodeEnd> {
        let budgets = &self.shared.stores.budgets;
        let mut budgets_changed = budgets.changes_of(&all_budgets());
        let mut evictees = Evictees::default();
        let mut time = TimeAtWork::since(node::drained_for(self.node));
        let mut noted = tokio::time::interval(NOTE);
        noted.tick().await;
        let control = &self.shared.control;
        loop {
            budgets_changed.mark_unchanged();
            let known = control.forced_until();
            self.evict(&mut evictees).await?;
            self.force(&mut evictees).await?;
            self.look_for_overdue(&mut evictees).await;
            if evictees.is_done() {
                let attached = volumes::attached(self.shared, &self.node.name_any()).await?;
                if attached.is_empty() {
                    return Ok(());
                }
                evictees.wait_for_volumes(&attached);
            }
            let (force, after) = (self.in_force(), self.shared.force_after);
            let draining = evictees.draining(force);
            let is_blocked = draining.blocked.is_some();
            (self.report)(draining);
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => evictees.note(change),
                    None => std::future::pending().await,
                },
                _ = budgets_changed.changed() => evictees.release(|pod| budgets::allow(budgets, pod)),
                () = tokio::time::sleep(RETRY), if is_blocked => evictees.release(|_| true),
                () = evictees.until_due_for_force(after), if force.is_some() => evictees.release(|_| true),
                () = control.until_force_changes(known) => evictees.release(|_| true),
                () = evictees.until_overdue() => {}
                _ = noted.tick() => {
                    let seconds = time.seconds();
                    self.shared.note_drained_for(&self.node.name_any(), seconds).await?;
                }
                () = time.is_up(self.shared.goal.drain_timeout) => {
                    return Err(NodeEnd::Undrained(Box::new(self.took_too_long(&evictees))));
                }
                () = control.until_stop(Stop::Now) => return Err(NodeEnd::Stopped),
            }
        }
    }

    /// Evicts each pod that isn't being deleted and wasn't refused since the last change.
    async fn evict(&self, evictees: &mut Evictees) -> Result<(), NodeEnd> {
        for key in evictees.due() {
            let Some(pod) = evictees.pod(&key) else {
                continue;
            };
            let evicted = eviction::evict(self.shared, pod).await;
            evictees.answered(&key, evicted?);
        }
        Ok(())
    }

    /// Deletes each pod that a budget has protected for long enough, while a force is in effect.
    async fn force(&self, evictees: &mut Evictees) -> Result<(), NodeEnd> {
        if self.in_force().is_none() {
            return Ok(());
        }
        for (key, budget) in evictees.due_for_force(self.shared.force_after) {
            let Some(pod) = evictees.pod(&key) else {
                continue;
            };
            match forcing::delete(self.shared, pod, &budget).await? {
                Some(Answer::Refused(blocked) | Answer::Protected(blocked, _)) => {
                    evictees.not_forced(&key, blocked);
                }
                Some(answer) => evictees.answered(&key, answer),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn in_force(&self) -> Option<InForce> {
        forcing::until(self.shared).map(|until| InForce {
            until,
            after: self.shared.force_after,
        })
    }

    /// Asks the API server for the pods that should have ended by now: a watch may have missed their end, for example
    /// after a restart of the API server. If it doesn't answer, Belay asks again later.
    async fn look_for_overdue(&self, evictees: &mut Evictees) {
        let overdue = evictees.overdue();
        if overdue.is_empty() {
            return;
        }
        let pods = Api::<Pod>::all(self.shared.client.clone());
        let of_node = pods_of(&self.node.name_any());
        let listed = tokio::select! {
            listed = tokio::time::timeout(PATIENCE, pods.list(&of_node)) => listed,
            () = self.shared.control.until_stop(Stop::Now) => return,
        };
        let Ok(Ok(listed)) = listed else { return };
        for pod in overdue {
            if listed.iter().all(|listed| listed.uid() != pod.uid()) {
                evictees.answered(&watches::full_name(pod.as_ref()), Answer::Gone);
            }
        }
    }

    fn took_too_long(&self, evictees: &Evictees) -> Undrained {
        let why = evictees.draining(None).blocked;
        let details = evictees.in_the_way().map(|(pod, blocked)| {
            let (code, message) =
                blocked.unwrap_or((BLOCKED_BY_POD.to_owned(), "has not ended yet".to_owned()));
            ErrorDetail {
                code,
                message,
                target: format!("pod/{pod}"),
            }
        });
        let blocked = why.unwrap_or_else(|| {
            let left = evictees.draining(None).left;
            (BLOCKED_BY_POD.into(), format!("{left} pods have not ended"))
        });
        let message = format!(
            "node {} could not be drained within {:?}: {}",
            self.node.name_any(),
            self.shared.goal.drain_timeout,
            blocked.1,
        );
        let error = OperationError {
            code: CODE.into(),
            message: join_sentences(&message, AFTER_TIMEOUT),
            subcode: blocked.0.clone(),
            details: details.take(10).collect(),
        };
        Undrained {
            node: self.node.name_any(),
            blocked,
            error,
        }
    }
}
