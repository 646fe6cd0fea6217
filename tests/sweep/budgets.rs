//! Watches all pods throughout: never may a namespace have fewer of them than its budget keeps.

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

/// What the budgets keep, and whether they were heeded. Clones share it.
#[derive(Clone, Default)]
pub struct Budgets(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// How many pods of a namespace have to be up, each from a resource version on.
    kept: BTreeMap<String, Vec<(u64, usize)>>,
    ready: BTreeMap<String, BTreeSet<String>>,
    violations: Vec<(String, String)>,
}

impl Budgets {
    /// Begins to watch.
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

    /// In all that is seen from now on, so many pods of a namespace have to be up. Say less before a budget keeps less.
    pub fn keep(&self, namespace: &str, pods: usize) {
        let mut known = self.0.lock().expect("the budgets");
        known.kept.insert(namespace.to_owned(), vec![(0, pods)]);
    }

    /// From a resource version on, so many pods of a namespace have to be up. Say more after a budget keeps more: until
    /// then pods may go by what it kept before.
    pub fn keep_from(&self, version: u64, namespace: &str, pods: usize) {
        let mut known = self.0.lock().expect("the budgets");
        let kept = known.kept.entry(namespace.to_owned()).or_default();
        kept.push((version, pods));
    }

    /// How many pods of a namespace have to be up.
    pub fn kept(&self, namespace: &str) -> usize {
        let known = self.0.lock().expect("the budgets");
        known.kept_at(u64::MAX, namespace)
    }

    /// How the budget of a namespace was violated.
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
