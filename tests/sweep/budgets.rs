//! Watches all pods: a namespace must never have fewer Ready pods than its budget requires.

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

/// The numbers of pods that the budgets require, and the violations. Clones share them.
#[derive(Clone, Default)]
pub struct Budgets(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The required number of pods of a namespace, each from a resourceVersion on.
    required: BTreeMap<String, Vec<(u64, usize)>>,
    ready: BTreeMap<String, BTreeSet<String>>,
    violations: Vec<(String, String)>,
}

impl Budgets {
    /// Starts to watch.
    pub fn watch(client: Client) -> Self {
        let this = Self::default();
        let recorder = this.clone();
        tokio::spawn(async move {
            let workload = watcher::Config::default().labels("app=web");
            let events = watcher(Api::<Pod>::all(client), workload).default_backoff();
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                        recorder.record(&pod, is_pod_up(&pod));
                    }
                    Ok(Event::Delete(pod)) => recorder.record(&pod, false),
                    Ok(Event::Init | Event::InitDone) | Err(_) => {}
                }
            }
        });
        this
    }

    /// Requires this many pods of a namespace in everything that the watch shows from now on. Call it before a budget
    /// is lowered.
    pub fn require(&self, namespace: &str, pods: usize) {
        let mut state = self.0.lock().expect("the budgets");
        state.required.insert(namespace.to_owned(), vec![(0, pods)]);
    }

    /// Requires this many pods of a namespace from a resourceVersion on. Call it after a budget is raised: until then
    /// pods may be evicted under the old budget.
    pub fn require_from(&self, version: u64, namespace: &str, pods: usize) {
        let mut state = self.0.lock().expect("the budgets");
        let required = state.required.entry(namespace.to_owned()).or_default();
        required.push((version, pods));
    }

    /// Returns the required number of pods of a namespace.
    pub fn required(&self, namespace: &str) -> usize {
        let state = self.0.lock().expect("the budgets");
        state.required_at(u64::MAX, namespace)
    }

    /// Returns the violations of a namespace's budget.
    pub fn violations(&self, namespace: &str) -> Vec<String> {
        let state = self.0.lock().expect("the budgets");
        let violations = state.violations.iter();
        let of_namespace = violations.filter(|(of, _)| of == namespace);
        of_namespace.map(|(_, how)| how.clone()).collect()
    }

    fn record(&self, pod: &Pod, is_up: bool) {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let mut state = self.0.lock().expect("the budgets");
        let ready = state.ready.entry(namespace.clone()).or_default();
        let changed = if is_up {
            ready.insert(name.clone())
        } else {
            ready.remove(&name)
        };
        let left = ready.len();
        let required = state.required_at(version(pod).unwrap_or_default(), &namespace);
        if changed && !is_up && left < required {
            let how = format!("{name} stopped, {left} pods were left, {required} are required");
            state.violations.push((namespace, how));
        }
    }
}

impl State {
    fn required_at(&self, version: u64, namespace: &str) -> usize {
        let required = self.required.get(namespace).into_iter().flatten();
        let before = required.take_while(|(from, _)| *from <= version);
        before.last().map_or(0, |(_, pods)| *pods)
    }
}
