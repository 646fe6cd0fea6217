//! The known pods of a node that have to go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource as _, ResourceExt as _};

use crate::{
    machinery::{clock, index::Change, watches::full_name},
    provider::requests::Blocked,
};

use super::{BLOCKED_BY_POD, BLOCKED_BY_VOLUME, Draining};

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
}

impl Evictees {
    /// Notes what a watch shows.
    pub fn note(&mut self, change: Change<Pod>) {
        match change {
            Change::Applied(pod) if has_to_go(&pod) => {
                let key = full_name(pod.as_ref());
                let before = self.pods.remove(&key);
                let same = before.filter(|before| before.pod.uid() == pod.uid());
                let (ending, refused) = same.map_or((None, None), |same| (same.ends, same.refused));
                let ends = pod.meta().deletion_timestamp.as_ref().map(|ends| ends.0);
                let evictee = Evictee {
                    ends: ends.or(ending),
                    refused,
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
                }
            }
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

    /// Returns how far the drain is.
    pub fn draining(&self) -> Draining {
        let refused = || self.pods.values().find_map(|it| it.refused.clone());
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
