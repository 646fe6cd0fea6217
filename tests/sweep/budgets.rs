//! Watches all pods throughout: a namespace must never have fewer of them than its budget keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use belay::machinery::versions::version;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};

use crate::pods::is_pod_up;

/// What the budgets keep, and their violations. Clones share it.
#[derive(Clone, Default)]
pub struct Budgets(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// The required number of pods of a namespace, each from a resourceVersion on.
    kept: BTreeMap<String, Vec<(u64, usize)>>,
    ready: BTreeMap<String, BTreeSet<String>>,
    violations: Vec<(String, String)>,
}

impl Budgets {
    /// Starts to watch.
    pub fn watch(client: Client) -> Self {
        let this = Self::default();
        let noted = this.clone();
        tokio::spawn(async move {
            let guarded = watcher::Config::default().labels("app=web");
            let events = watcher(Api::<Pod>::all(client), guarded).default_backoff();
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                        noted.note(&pod, is_pod_up(&pod));
                    }
                    Ok(Event::Delete(pod)) => noted.note(&pod, false),
                    Ok(Event::Init | Event::InitDone) | Err(_) => {}
                }
            }
        });
        this
    }

    /// Requires this many pods of a namespace in everything that is seen from now on. Call it before a budget is
    /// lowered.
    pub fn keep(&self, namespace: &str, pods: usize) {
        let mut known = self.0.lock().expect("the budgets");
        known.kept.insert(namespace.to_owned(), vec![(0, pods)]);
    }

    /// Requires this many pods of a namespace from a resourceVersion on. Call it after a budget is raised: until then
    /// pods may be evicted under the old budget.
    pub fn keep_from(&self, version: u64, namespace: &str, pods: usize) {
        let mut known = self.0.lock().expect("the budgets");
        let kept = known.kept.entry(namespace.to_owned()).or_default();
        kept.push((version, pods));
    }

    /// Returns the required number of pods of a namespace.
    pub fn kept(&self, namespace: &str) -> usize {
        let known = self.0.lock().expect("the budgets");
        known.kept_at(u64::MAX, namespace)
    }

    /// Returns the violations of a namespace's budget.
    pub fn violations(&self, namespace: &str) -> Vec<String> {
        let known = self.0.lock().expect("the budgets");
        let violations = known.violations.iter();
        let of_namespace = violations.filter(|(of, _)| of == namespace);
        of_namespace.map(|(_, how)| how.clone()).collect()
    }

    fn note(&self, pod: &Pod, is_up: bool) {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let mut known = self.0.lock().expect("the budgets");
        let ready = known.ready.entry(namespace.clone()).or_default();
        let changed = if is_up {
            ready.insert(name.clone())
        } else {
            ready.remove(&name)
        };
        let left = ready.len();
        let kept = known.kept_at(version(pod).unwrap_or_default(), &namespace);
        if changed && !is_up && left < kept {
            let how = format!("{name} went, {left} were left, {kept} are kept");
            known.violations.push((namespace, how));
        }
    }
}

impl Known {
    fn kept_at(&self, version: u64, namespace: &str) -> usize {
        let kept = self.kept.get(namespace).into_iter().flatten();
        let before = kept.take_while(|(from, _)| *from <= version);
        before.last().map_or(0, |(_, pods)| *pods)
    }
}
