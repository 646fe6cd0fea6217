//! The drain of one node: its pods are evicted through the Eviction API, which honours
//! `PodDisruptionBudgets` and the pods' grace periods, until none is left that has to go.

use std::{collections::BTreeMap, time::Duration};

use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{Eviction, PodDisruptionBudget},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, LabelSelector, ObjectMeta, Preconditions},
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::PostParams,
    core::{Selector, SelectorExt as _, Status},
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};

use crate::{
    api::{ErrorDetail, OperationError},
    lifecycle::Stop,
    machinery::watches::WATCH_TIMEOUT_SECONDS,
    provider::Control,
};

use super::{
    node_work::NodeEnd,
    retry::{Ended, REQUEST_TIMEOUT},
    stores::Stores,
};

/// The reason of a block by a `PodDisruptionBudget`.
const BLOCKED_BY_BUDGET: &str = "PodDisruptionBudget";
/// The reason of a block by anything else.
const BLOCKED_BY_ERROR: &str = "EvictionFailed";
/// The reason of a block by a pod that doesn't end.
const BLOCKED_BY_POD: &str = "PodTerminating";
/// How long after its grace period a pod may be there still before that is told.
const SLACK: Duration = Duration::from_secs(5);
/// How long a refused eviction rests where no watch tells that it may succeed; kubectl drain's pause.
const RETRY: Duration = Duration::from_secs(5);

/// How far a drain is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Draining {
    /// How many pods have yet to go.
    pub left: usize,
    /// What stands in the way: a reason in one word, and a message.
    pub blocked: Option<(String, String)>,
}

/// One drain.
pub(super) struct Drain<'a> {
    pub client: &'a Client,
    pub stores: &'a Stores,
    pub control: &'a Control,
    pub node: &'a str,
    /// When the drain has taken too long.
    pub deadline: Timestamp,
    pub timeout: Duration,
    /// Told how far the drain is.
    pub report: &'a (dyn Fn(Draining) + Send + Sync),
}

/// A pod that has to go, and what the last attempt to evict it met.
struct Evictee {
    pod: Pod,
    refused: Option<(String, String)>,
}

impl Drain<'_> {
    /// Evicts until no pod is left that has to go. Told to stop, it evicts no more.
    ///
    /// # Errors
    /// `PodDrainFailure` where the drain took longer than it may.
    pub async fn run(&self) -> Result<(), NodeEnd> {
        let pods = Api::<Pod>::all(self.client.clone());
        let of_node = watcher::Config::default()
            .fields(&format!("spec.nodeName={}", self.node))
            .timeout(WATCH_TIMEOUT_SECONDS);
        let mut events = watcher(pods, of_node).default_backoff().boxed();
        let mut budgets = self.stores.watch_budgets();
        let mut evictees = BTreeMap::new();
        self.first_look(&mut events, &mut evictees).await?;
        loop {
            budgets.mark_unchanged();
            self.evict(&mut evictees).await?;
            if evictees.is_empty() {
                return Ok(());
            }
            let draining = draining(&evictees);
            let is_blocked = draining.blocked.is_some();
            (self.report)(draining);
            tokio::select! {
                event = events.next() => note(&mut evictees, event),
                _ = budgets.changed() => release(&mut evictees, |evictee| self.may_be_evicted_now(&evictee.pod)),
                () = tokio::time::sleep(RETRY), if is_blocked => release(&mut evictees, |_| true),
                () = until_overdue(&evictees) => {}
                () = self.time_is_up() => return Err(NodeEnd::Failed(self.took_too_long(&evictees))),
                () = self.control.told(Stop::Now) => return Err(NodeEnd::Stopped),
            }
        }
    }

    async fn first_look(
        &self,
        events: &mut (impl Stream<Item = Result<Event<Pod>, watcher::Error>> + Unpin),
        evictees: &mut BTreeMap<String, Evictee>,
    ) -> Result<(), NodeEnd> {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.control.told(Stop::Now) => return Err(NodeEnd::Stopped),
            };
            let is_complete = matches!(event, Some(Ok(Event::InitDone)));
            note(evictees, event);
            if is_complete {
                return Ok(());
            }
        }
    }

    /// Evicts each pod that isn't going yet and wasn't refused since the last change.
    async fn evict(&self, evictees: &mut BTreeMap<String, Evictee>) -> Result<(), NodeEnd> {
        let due = |evictee: &Evictee| {
            evictee.refused.is_none() && evictee.pod.metadata.deletion_timestamp.is_none()
        };
        let mut gone = Vec::new();
        for (key, evictee) in evictees.iter_mut().filter(|(_, evictee)| due(evictee)) {
            match self.evict_one(&evictee.pod).await {
                Ok(()) => {
                    // As the API server sets it; its own word comes by the watch.
                    let grace = evictee.pod.spec.as_ref();
                    let grace = grace.and_then(|spec| spec.termination_grace_period_seconds);
                    let ends = now() + Duration::from_secs(grace.unwrap_or(30).unsigned_abs());
                    evictee.pod.metadata.deletion_timestamp = Some(ends.into());
                }
                Err(Ended::Stopped) => return Err(NodeEnd::Stopped),
                Err(Ended::Refused(status)) if status.code == 404 || status.code == 409 => {
                    gone.push(key.clone());
                }
                Err(Ended::Refused(status)) => {
                    evictee.refused = Some(self.refusal(&evictee.pod, &status));
                }
            }
        }
        for key in gone {
            evictees.remove(&key);
        }
        Ok(())
    }

    /// One eviction, asked for once: that a PDB refuses it is to be told, and told by a watch when it no
    /// longer does. (`kube::Api::evict` names its options so that the API server doesn't see them, and
    /// with them the uid that makes sure that it is this pod.)
    async fn evict_one(&self, pod: &Pod) -> Result<(), Ended> {
        if self.control.stop() == Stop::Now {
            return Err(Ended::Stopped);
        }
        let name = pod.name_any();
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: pod.metadata.name.clone(),
                namespace: pod.namespace(),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                preconditions: Some(Preconditions {
                    uid: pod.uid(),
                    resource_version: None,
                }),
                ..DeleteOptions::default()
            }),
        };
        let pods =
            Api::<Pod>::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let params = PostParams::default();
        let request = pods.create_subresource::<_, Status>("eviction", &name, &params, &eviction);
        let failed = |message: String| {
            Ended::Refused(Box::new(Status {
                message,
                code: 500,
                ..Status::default()
            }))
        };
        tokio::select! {
            answer = tokio::time::timeout(REQUEST_TIMEOUT, request) => match answer {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(kube::Error::Api(status))) => Err(Ended::Refused(status)),
                Ok(Err(error)) => Err(failed(error.to_string())),
                Err(_) => Err(failed(format!("no answer in {REQUEST_TIMEOUT:?}"))),
            },
            // An eviction that was sent is waited for, but not for long: it may hang.
            () = async {
                self.control.told(Stop::Now).await;
                tokio::time::sleep(super::retry::GRACE).await;
            } => Err(Ended::Stopped),
        }
    }

    fn refusal(&self, pod: &Pod, status: &Status) -> (String, String) {
        let pod_name = full_name(pod);
        if status.code != 429 {
            return (
                BLOCKED_BY_ERROR.into(),
                format!("eviction of {pod_name} failed: {}", status.message),
            );
        }
        let budgets = self.budgets_of(pod);
        let in_the_way = budgets
            .iter()
            .find(|budget| allowed(budget) <= 0)
            .or(budgets.first());
        let message = match in_the_way {
            Some(budget) => {
                let namespace = budget.namespace().unwrap_or_default();
                format!(
                    "eviction of {pod_name} would violate {BLOCKED_BY_BUDGET} {namespace}/{}{}",
                    budget.name_any(),
                    cut_off(budget, pod)
                )
            }
            None => format!("eviction of {pod_name} was refused: {}", status.message),
        };
        (BLOCKED_BY_BUDGET.into(), message)
    }

    fn budgets_of(&self, pod: &Pod) -> Vec<std::sync::Arc<PodDisruptionBudget>> {
        self.stores.budgets.state_filter(|budget| {
            budget.namespace() == pod.namespace()
                && budget
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.selector.as_ref())
                    .is_some_and(|selector| selects(selector, pod))
        })
    }

    /// Whether every PDB of the pod allows a disruption now.
    fn may_be_evicted_now(&self, pod: &Pod) -> bool {
        self.budgets_of(pod)
            .iter()
            .all(|budget| allowed(budget) > 0)
    }

    async fn time_is_up(&self) {
        let left = self.deadline.duration_since(now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }

    fn took_too_long(&self, evictees: &BTreeMap<String, Evictee>) -> OperationError {
        let why = draining(evictees).blocked.map(|(_, message)| message);
        let details = evictees.values().map(|evictee| ErrorDetail {
            code: evictee
                .refused
                .as_ref()
                .map_or(BLOCKED_BY_POD, |(reason, _)| reason)
                .to_owned(),
            message: evictee
                .refused
                .as_ref()
                .map_or("has not ended yet", |(_, message)| message)
                .to_owned(),
            target: format!("pod/{}", full_name(&evictee.pod)),
        });
        OperationError {
            code: "PodDrainFailure".into(),
            message: format!(
                "node {} could not be drained in {:?}: {}; let the pods go, or set a longer spec.upgradeSettings.drainTimeout, then create an Operation of type Reconcile",
                self.node,
                self.timeout,
                why.unwrap_or_else(|| format!("{} pods have not ended", evictees.len()))
            ),
            subcode: evictees
                .values()
                .find_map(|evictee| evictee.refused.as_ref())
                .map_or(BLOCKED_BY_POD, |(reason, _)| reason)
                .to_owned(),
            details: details.take(10).collect(),
        }
    }
}

fn draining(evictees: &BTreeMap<String, Evictee>) -> Draining {
    let refused = evictees
        .values()
        .find_map(|evictee| evictee.refused.clone());
    let overdue = || {
        evictees.values().find_map(|evictee| {
            let due = due(evictee)?;
            (due <= now()).then(|| {
                let message = format!(
                    "{} was told to end and is past its grace period",
                    full_name(&evictee.pod)
                );
                (BLOCKED_BY_POD.to_owned(), message)
            })
        })
    };
    Draining {
        left: evictees.len(),
        blocked: refused.or_else(overdue),
    }
}

/// When a pod that was told to end should be gone: its `deletionTimestamp` is the end of its grace period.
fn due(evictee: &Evictee) -> Option<Timestamp> {
    let ends = evictee.pod.metadata.deletion_timestamp.as_ref()?;
    Some(ends.0 + SLACK)
}

/// Waits until the next pod is overdue.
async fn until_overdue(evictees: &BTreeMap<String, Evictee>) {
    let next = evictees.values().filter_map(due).filter(|due| *due > now());
    match next.min() {
        None => std::future::pending().await,
        Some(due) => {
            let left = due.duration_since(now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        }
    }
}

/// Lets those be tried again of which `may` says so.
fn release(evictees: &mut BTreeMap<String, Evictee>, may: impl Fn(&Evictee) -> bool) {
    for evictee in evictees.values_mut() {
        if evictee.refused.is_some() && may(evictee) {
            evictee.refused = None;
        }
    }
}

fn note(
    evictees: &mut BTreeMap<String, Evictee>,
    event: Option<Result<Event<Pod>, watcher::Error>>,
) {
    match event {
        Some(Ok(Event::Init)) => evictees.clear(),
        Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
            let key = full_name(&pod);
            if !has_to_go(&pod) {
                evictees.remove(&key);
                return;
            }
            let refused = evictees.remove(&key).and_then(|before| before.refused);
            evictees.insert(key, Evictee { pod, refused });
        }
        Some(Ok(Event::Delete(pod))) => {
            evictees.remove(&full_name(&pod));
        }
        Some(Ok(Event::InitDone)) | None => {}
        Some(Err(error)) => {
            tracing::warn!(%error, "failed to watch the pods of a node, trying again");
        }
    }
}

/// Pods that end by themselves, mirror pods and those of `DaemonSets` stay.
fn has_to_go(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    let is_mirror = pod
        .annotations()
        .contains_key("kubernetes.io/config.mirror");
    let is_of_daemon_set = pod
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
    !is_over && !is_mirror && !is_of_daemon_set
}

fn selects(selector: &LabelSelector, pod: &Pod) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| {
        selector.matches(pod.meta().labels.as_ref().unwrap_or(&BTreeMap::new()))
    })
}

fn allowed(budget: &PodDisruptionBudget) -> i32 {
    budget
        .status
        .as_ref()
        .and_then(|status| status.disruptions_allowed)
        .unwrap_or_default()
}

/// An eviction that was approved and cut off (whoever asked for it died) is held against the budget for
/// two minutes: that tells why no other is allowed.
fn cut_off(budget: &PodDisruptionBudget, pod: &Pod) -> String {
    let status = budget.status.as_ref();
    let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
    let since = disrupted.and_then(|pods| pods.get(&pod.name_any()));
    since.map_or_else(String::new, |since| {
        format!(
            ", which waits up to 2 minutes for an eviction that was approved at {} and cut off",
            since.0
        )
    })
}

fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

fn now() -> Timestamp {
    crate::machinery::clock::now()
}
