//! The known pods of a node that have to go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use crate::{
    machinery::{clock, index::Change, watches::full_name},
    provider::requests::Blocked,
};

use super::{BLOCKED_BY_BUDGET, BLOCKED_BY_POD, BLOCKED_BY_VOLUME, Draining};

/// How long a pod may still exist after its grace period before that is reported.
const SLACK: Duration = Duration::from_secs(5);

/// The answer to an eviction.
pub enum Answer {
    /// The pod is being deleted.
    Accepted,
    /// The pod no longer exists.
    Gone,
    /// The pod may not be evicted now.
    Refused(Blocked),
    /// A budget, with that namespace and name, doesn't allow the eviction now.
    Protected(Blocked, String),
}

/// The pods that have to go.
#[derive(Default)]
pub struct Evictees {
    pods: BTreeMap<String, Evictee>,
    /// Whether a complete list was seen. Before that, an empty map proves nothing.
    is_complete: bool,
    /// A volume that is still attached although the pods are gone.
    volume: Option<Blocked>,
}

/// A pod that has to go, and the result of the last attempt to evict it.
struct Evictee {
    pod: Arc<Pod>,
    /// When it should have ended. None until it is being deleted.
    ends: Option<Timestamp>,
    refused: Option<Blocked>,
    /// The budget that protects it. None if the last attempt wasn't refused by a budget.
    protected: Option<Protected>,
}

/// Since when a budget has refused the eviction of a pod, and no answer was another one.
#[derive(Clone)]
struct Protected {
    budget: String,
    since: Instant,
    /// The same, as people read it.
    since_time: Timestamp,
}

/// A force that is in effect.
#[derive(Clone, Copy)]
pub struct InForce {
    /// Until when.
    pub until: Timestamp,
    /// How long a budget has to refuse an eviction before the pod is deleted.
    pub after: Duration,
}

impl Evictees {
    /// Notes what a watch shows.
    pub fn note(&mut self, change: Change<Pod>) {
        match change {
            Change::Applied(pod) if has_to_go(&pod) => {
                let key = full_name(pod.as_ref());
                let before = self.pods.remove(&key);
                let same = before.filter(|before| before.pod.uid() == pod.uid());
                let (ending, refused, protected) = same.map_or((None, None, None), |same| {
                    (same.ends, same.refused, same.protected)
                });
                let ends = pod.meta().deletion_timestamp.as_ref().map(|ends| ends.0);
                let evictee = Evictee {
                    ends: ends.or(ending),
                    refused,
                    protected,
                    pod,
                };
                self.pods.insert(key, evictee);
            }
            Change::Applied(pod) | Change::Deleted(pod) => {
                self.pods.remove(&full_name(pod.as_ref()));
            }
            Change::Complete => self.is_complete = true,
        }
        self.volume = None;
    }

    /// Returns whether no pod is left, according to a complete list.
    pub fn is_done(&self) -> bool {
        self.is_complete && self.pods.is_empty()
    }

    /// Returns the pods to evict: those that aren't being deleted and weren't refused since the last change.
    pub fn due(&self) -> Vec<String> {
        let due = self
            .pods
            .iter()
            .filter(|(_, evictee)| evictee.refused.is_none() && evictee.ends.is_none());
        due.map(|(key, _)| key.clone()).collect()
    }

    /// Returns the pod of that name.
    pub fn pod(&self, key: &str) -> Option<&Pod> {
        self.pods.get(key).map(|evictee| evictee.pod.as_ref())
    }

    /// Notes the answer to an eviction.
    pub fn answered(&mut self, key: &str, answer: Answer) {
        match answer {
            Answer::Gone => drop(self.pods.remove(key)),
            Answer::Accepted => {
                if let Some(evictee) = self.pods.get_mut(key) {
                    // An estimate of what the API server sets. The watch brings the real value.
                    let spec = evictee.pod.spec.as_ref();
                    let grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
                    let grace = clock::seconds(grace.unwrap_or(30));
                    evictee.ends = Some(clock::after(clock::now(), grace));
                }
            }
            Answer::Refused(blocked) => {
                if let Some(evictee) = self.pods.get_mut(key) {
                    evictee.refused = Some(blocked);
                    evictee.protected = None;
                }
            }
            Answer::Protected(blocked, budget) => {
                if let Some(evictee) = self.pods.get_mut(key) {
                    let before = evictee.protected.take();
                    let (since, since_time) = before.map_or_else(
                        || (Instant::now(), clock::now()),
                        |before| (before.since, before.since_time),
                    );
                    evictee.refused = Some(blocked);
                    evictee.protected = Some(Protected {
                        budget,
                        since,
                        since_time,
                    });
                }
            }
        }
    }

    /// Returns the pods that a budget has protected for long enough, with their budgets.
    pub fn due_for_force(&self, after: Duration) -> Vec<(String, String)> {
        let is_due = |protected: &&Protected| protected.since.elapsed() >= after;
        let due = self.pods.iter().filter_map(|(key, evictee)| {
            let protected = evictee.protected.as_ref().filter(is_due)?;
            let refused = evictee.refused.as_ref();
            let is_by_budget = refused.is_some_and(|(reason, _)| reason == BLOCKED_BY_BUDGET);
            is_by_budget.then(|| (key.clone(), protected.budget.clone()))
        });
        due.collect()
    }

    /// Notes why a deletion by force failed. The pod is tried again with the next eviction.
    pub fn not_forced(&mut self, key: &str, blocked: Blocked) {
        if let Some(evictee) = self.pods.get_mut(key) {
            evictee.refused = Some(blocked);
        }
    }

    /// Waits until the next pod is due for a force.
    pub async fn until_due_for_force(&self, after: Duration) {
        let due = self.pods.values().filter_map(|evictee| {
            let protected = evictee.protected.as_ref()?;
            Some(protected.since + after)
        });
        match due.filter(|due| *due > Instant::now()).min() {
            None => std::future::pending().await,
            Some(due) => tokio::time::sleep_until(due).await,
        }
    }

    /// Allows another attempt to evict the refused pods for which `may` returns true.
    pub fn release(&mut self, may: impl Fn(&Pod) -> bool) {
        for evictee in self.pods.values_mut() {
            if evictee.refused.is_some() && may(&evictee.pod) {
                evictee.refused = None;
            }
        }
    }

    /// Notes that no pod is left, but volumes are still attached.
    pub fn wait_for_volumes(&mut self, attached: &[String]) {
        let message = match attached {
            [one] => format!("volume {one} is still attached to the node"),
            many => format!("volumes {} are still attached to the node", many.join(", ")),
        };
        self.volume = Some((BLOCKED_BY_VOLUME.to_owned(), message));
    }

    /// Returns how far the drain is. With a force, it says when a pod is deleted.
    pub fn draining(&self, force: Option<InForce>) -> Draining {
        let refused = || self.pods.values().find_map(|it| it.refused(force));
        let overdue = || self.pods.values().find_map(Evictee::overdue);
        Draining {
            left: self.pods.len(),
            blocked: refused().or_else(overdue).or_else(|| self.volume.clone()),
        }
    }

    /// Returns each pod that is left, and what blocks it.
    pub fn in_the_way(&self) -> impl Iterator<Item = (&str, Option<Blocked>)> {
        let pods = self.pods.iter();
        pods.map(|(key, evictee)| (key.as_str(), evictee.refused.clone()))
    }

    /// Returns the pods that should have ended by now.
    pub fn overdue(&self) -> Vec<Arc<Pod>> {
        let overdue = self.pods.values().filter(|it| it.overdue().is_some());
        overdue.map(|it| it.pod.clone()).collect()
    }

    /// Waits until the next pod is overdue.
    pub async fn until_overdue(&self) {
        let now = clock::now();
        let next = self.pods.values().filter_map(Evictee::due);
        match next.filter(|due| *due > now).min() {
            None => std::future::pending().await,
            Some(due) => tokio::time::sleep(clock::until(due)).await,
        }
    }
}

impl Evictee {
    /// Returns why the pod may not be evicted now. With a force, it says when the pod is deleted.
    fn refused(&self, force: Option<InForce>) -> Option<Blocked> {
        let (reason, message) = self.refused.clone()?;
        let is_by_budget = reason == BLOCKED_BY_BUDGET;
        let deleted_at = self
            .protected
            .as_ref()
            .filter(|_| is_by_budget)
            .zip(force)
            .map(|(it, force)| (clock::after(it.since_time, force.after), force.until))
            .filter(|(at, until)| at < until);
        let message = match deleted_at {
            Some((at, _)) => format!("{message}; by force, the pod is deleted at {at:.0}"),
            None => message,
        };
        Some((reason, message))
    }

    /// Returns when the pod should be gone. None if it isn't being deleted.
    fn due(&self) -> Option<Timestamp> {
        self.ends.map(|ends| clock::after(ends, SLACK))
    }

    fn overdue(&self) -> Option<Blocked> {
        let due = self.due().filter(|due| *due <= clock::now());
        due.map(|_| {
            let pod = full_name(self.pod.as_ref());
            let finalizers = self.pod.finalizers();
            let held = if finalizers.is_empty() {
                String::new()
            } else {
                format!(": it is held by finalizers ({})", finalizers.join(", "))
            };
            let message = format!("{pod} is being deleted and is past its grace period{held}");
            (BLOCKED_BY_POD.to_owned(), message)
        })
    }
}

/// Returns whether a drain has to evict the pod. Pods that have ended, mirror pods and pods of `DaemonSets` stay.
pub fn has_to_go(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    let is_mirror = pod
        .annotations()
        .contains_key("kubernetes.io/config.mirror");
    let mut owners = pod.owner_references().iter();
    let is_of_daemon_set =
        owners.any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
    !is_over && !is_mirror && !is_of_daemon_set
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const KEY: &str = "team-a/web-0";

    fn pod(uid: &str) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": "web-0", "namespace": "team-a", "uid": uid}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn by_budget() -> Answer {
        let blocked = (BLOCKED_BY_BUDGET.to_owned(), "it would violate".to_owned());
        Answer::Protected(blocked, "team-a/web".into())
    }

    fn protected() -> Evictees {
        let mut evictees = Evictees::default();
        evictees.note(Change::Applied(pod("1")));
        evictees.answered(KEY, by_budget());
        evictees
    }

    async fn wait(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_is_due_for_a_force_after_a_budget_has_refused_for_a_minute() {
        let mut evictees = protected();
        wait(59).await;
        assert!(evictees.due_for_force(MINUTE).is_empty());
        evictees.release(|_| true);
        evictees.answered(KEY, by_budget());
        wait(1).await;
        let due = evictees.due_for_force(MINUTE);
        assert_eq!(due, [(KEY.to_owned(), "team-a/web".to_owned())]);
        // A change of the same pod changes nothing. Another pod of that name has a minute of its own.
        evictees.note(Change::Applied(pod("1")));
        assert_eq!(evictees.due_for_force(MINUTE).len(), 1);
        evictees.note(Change::Applied(pod("2")));
        evictees.answered(KEY, by_budget());
        assert!(evictees.due_for_force(MINUTE).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_something_else_refuses_is_never_due_for_a_force() {
        let mut evictees = protected();
        wait(50).await;
        let forbidden = ("Forbidden".to_owned(), "a webhook refuses".to_owned());
        evictees.answered(KEY, Answer::Refused(forbidden));
        wait(3600).await;
        assert!(evictees.due_for_force(MINUTE).is_empty());
        // The minute begins again.
        evictees.answered(KEY, by_budget());
        assert!(evictees.due_for_force(MINUTE).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_deletion_is_reported_and_tried_after_the_next_refusal() {
        let mut evictees = protected();
        wait(60).await;
        let failed = ("EvictionFailed".to_owned(), "it failed".to_owned());
        evictees.not_forced(KEY, failed.clone());
        assert_eq!(evictees.draining(None).blocked, Some(failed));
        assert!(evictees.due_for_force(MINUTE).is_empty());
        evictees.release(|_| true);
        evictees.answered(KEY, by_budget());
        assert_eq!(evictees.due_for_force(MINUTE).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_block_says_when_a_force_deletes_the_pod_if_it_lasts_that_long() {
        let evictees = protected();
        let message = |seconds: i64| {
            let until = clock::after(clock::now(), clock::seconds(seconds));
            let force = InForce {
                until,
                after: MINUTE,
            };
            evictees.draining(Some(force)).blocked.expect("a block").1
        };
        assert!(message(300).contains("by force, the pod is deleted at "));
        assert_eq!(message(30), "it would violate");
        let without = evictees.draining(None).blocked.expect("a block");
        assert_eq!(without.1, "it would violate");
    }
}
