//! The summary of a cluster or a pool: what is being done to it, what it waits for, or what is on hold.

use std::collections::BTreeSet;

use crate::{
    api::{Aspect, Hold, LastOperation, OperationInFlight, OperationPhase, ProvisioningState},
    lifecycle::{
        desired,
        facts::{Target, held_back},
        gate,
        messages::{self, reason},
        text::bounded,
    },
};

use super::{Report, conditions::Health, window::is_until_window};

/// The summary of a target.
pub struct Summary {
    /// What is being done to it, or how the last operation on it ended.
    pub state: ProvisioningState,
    /// Whether it is ready, reconciling, or waits for someone.
    pub health: Health,
    /// The reason in one word.
    pub reason: String,
    /// The message in one sentence.
    pub message: String,
}

impl Report<'_, '_> {
    /// Returns the summary of a target. `held` is the operation in flight on it, `last` the one that ended last, and
    /// `ready` the message if the target is as its spec says.
    pub(super) fn summary(
        &self,
        target: &Target<'_>,
        held: Option<&OperationInFlight>,
        last: Option<&LastOperation>,
        ready: &str,
    ) -> Summary {
        if let Some(held) = held {
            return self.in_flight(held);
        }
        let state = match last {
            _ if target.deleted.is_some() => match last {
                Some(last) if self.hold(target).is_some() => state_of(last),
                _ => ProvisioningState::Deleting,
            },
            Some(last) => state_of(last),
            None if target.there.exists => ProvisioningState::Succeeded,
            None => ProvisioningState::Creating,
        };
        let (health, reason, message) = self.at_rest(target, ready);
        Summary {
            state,
            health,
            reason,
            message,
        }
    }

    fn in_flight(&self, held: &OperationInFlight) -> Summary {
        let state = held.type_.provisioning_state_in(held.phase);
        let status = self.operation(&held.uid);
        let blocked = status.and_then(|status| status.blocked.as_ref());
        let name = &held.name;
        let message = match blocked {
            _ if held.phase == OperationPhase::Canceling => {
                format!("Operation {name} is coming to a stop")
            }
            Some(blocked) => format!("Operation {name} is blocked: {}", blocked.message),
            None => format!(
                "Operation {name} is in progress{}",
                self.begun_by(&held.uid)
            ),
        };
        Summary {
            state,
            health: Health::Reconciling,
            reason: format!("{state:?}"),
            message,
        }
    }

    /// Returns who began an operation outside Belay, as the end of a sentence. Empty if unknown.
    fn begun_by(&self, uid: &str) -> String {
        let operation = self.facts.operation(uid);
        let by = operation.and_then(|operation| operation.begun_by());
        by.map_or_else(String::new, |by| format!(", started by {}", bounded(by)))
    }

    /// Returns the health, reason and message of a target on which nothing is in flight.
    fn at_rest(&self, target: &Target<'_>, ready: &str) -> (Health, String, String) {
        if let Some(words) = self.facts.snapshot.refused_writes.get(target.uid) {
            let message = format!(
                "a write by Belay to this object was refused, and Belay retries it: {}",
                bounded(words)
            );
            return (Health::Stalled, reason::WRITE_REFUSED.into(), message);
        }
        let waits_for_unreadable = target.is_cluster()
            && target.deleted.is_some()
            && self.facts.pools.is_empty()
            && self.facts.snapshot.has_unreadable_pools;
        if waits_for_unreadable {
            let message = "Belay can't read an AgentPool of this namespace, which may belong to this cluster: repair or delete it (the operator's log shows its name)";
            return (Health::Stalled, reason::UNREADABLE.into(), message.into());
        }
        if let Some(why) = gate::why_it_stays(self.facts, target) {
            return (Health::Stalled, reason::LAST_SYSTEM_POOL.into(), why);
        }
        let waits = self.waits_for_window(target);
        if let Some((hold, aspects)) = self.hold(target)
            && !is_until_window(&hold, &aspects)
        {
            let reason = match hold.phase {
                OperationPhase::Failed => reason::FAILED,
                OperationPhase::Succeeded => reason::CHANGED_BY_OTHERS,
                _ => reason::CANCELED,
            };
            let message = messages::on_hold(target.key.kind, &hold, &aspects);
            return (Health::Stalled, reason.into(), message);
        }
        if let Some(why) = self.window_is_invalid(target, waits.is_some()) {
            return (Health::Stalled, reason::INVALID_WINDOW.into(), why);
        }
        if let Some(why) = self.lags(target).filter(|_| waits.is_none()) {
            return (
                Health::Stalled,
                reason::NEWER_THAN_CONTROL_PLANE.into(),
                why,
            );
        }
        let is_settled = target.deleted.is_none()
            && target.there_or_made(self.ledger.ended_on(&target.key).is_some())
            && self.facts.control_plane().is_some()
            && gate::next_operation(self.facts, target, None).is_none()
            && (waits.is_some() || !self.waits_for_cluster(target))
            && (waits.is_some() || gate::why_it_lags(self.facts, target).is_none());
        if let Some(waits) = waits.filter(|_| is_settled) {
            // A tool that waits for the object to be Ready doesn't wait for the window.
            let message = format!("{ready}; {waits}");
            (Health::Ready, reason::WAITS_FOR_WINDOW.into(), message)
        } else if is_settled {
            (Health::Ready, "Succeeded".into(), ready.to_owned())
        } else {
            let message = self.waiting_for(target);
            (Health::Reconciling, reason::PENDING.into(), message)
        }
    }

    /// Returns why a pool doesn't get the version that it pins, if nothing else is about to change it or its cluster.
    fn lags(&self, target: &Target<'_>) -> Option<String> {
        let is_idle =
            |target: &Target<'_>| gate::next_operation(self.facts, target, None).is_none();
        let rests = self.ledger.lock.is_empty() && is_idle(target) && is_idle(&self.facts.cluster);
        gate::why_it_lags(self.facts, target).filter(|_| rests)
    }

    /// Whether the cluster is about to change a pool.
    pub(super) fn waits_for_cluster(&self, target: &Target<'_>) -> bool {
        target.follows() && desired::differs(self.facts, target).contains(&Aspect::Version)
    }

    /// Returns the hold on a target, and the held aspects that still differ from the spec. A hold that somebody has to end
    /// goes before one that ends when a maintenance window opens.
    pub(super) fn hold(&self, target: &Target<'_>) -> Option<(Hold, BTreeSet<Aspect>)> {
        let holds = self.ledger.holds_of(&target.key);
        let mut differs = desired::differs(self.facts, target);
        // If nothing of a target exists or was created, it lacks every aspect.
        if target.is_new() {
            differs.extend([
                Aspect::Version,
                Aspect::Count,
                Aspect::Power,
                Aspect::Settings,
            ]);
        }
        [holds.own, holds.by_cluster]
            .into_iter()
            .flatten()
            .map(|hold| {
                let held = held_back(Some(&hold), &target.asked, &self.facts.windows);
                let held = held.intersection(&differs).copied().collect();
                (hold, held)
            })
            .filter(|(_, held): &(_, BTreeSet<Aspect>)| !held.is_empty())
            .min_by_key(|(hold, held)| is_until_window(hold, held))
    }

    fn waiting_for(&self, target: &Target<'_>) -> String {
        let is_pool = !target.is_cluster();
        match self.ledger.lock.first() {
            Some(held) => format!("waits for Operation {} to end", held.name),
            None if is_pool && self.facts.cluster.deleted.is_some() => {
                "waits for its cluster's deletion".into()
            }
            None if is_pool && self.facts.control_plane().is_none() => {
                "waits for its cluster's control plane".into()
            }
            None => "an Operation is about to begin".into(),
        }
    }
}

impl Target<'_> {
    /// Whether it was created: something of it exists, or an operation on it has ended before or ends now (`ends`).
    fn there_or_made(&self, ends: bool) -> bool {
        self.there.exists || self.last.is_some() || ends
    }
}

fn state_of(last: &LastOperation) -> ProvisioningState {
    last.type_.provisioning_state_in(last.phase)
}
