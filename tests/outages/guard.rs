//! Watches nodes and protected pods continuously, and records their minimum and maximum number.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{belay::Belay, pods::is_pod_up};

/// The minimum and the maximum number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: usize,
    pub max: usize,
}

/// A watcher of a test's nodes and of its workload.
pub struct Guard {
    pods: Count,
    joined: Count,
    nodes: Count,
}

impl Guard {
    /// Starts to watch, and waits until there are this many nodes and this many Ready pods.
    pub async fn watch(belay: &Belay, nodes: usize, pods: usize) -> Self {
        let of_namespace = format!("belay.dev/namespace={}", belay.namespace);
        let all = || Api::<Node>::all(belay.client.clone());
        let of_pods = Api::<Pod>::namespaced(belay.client.clone(), &belay.namespace);
        let this = Self {
            pods: Count::of(of_pods, "app=web", is_pod_up),
            joined: Count::of(all(), &of_namespace, |node| {
                is_not_deleted(node) && !node.annotations().contains_key("belay.dev/joining")
            }),
            nodes: Count::of(all(), &of_namespace, is_not_deleted),
        };
        belay
            .eventually("all pods and nodes exist", || async {
                this.pods.now() == pods && this.joined.now() == nodes && this.nodes.now() == nodes
            })
            .await;
        for count in [&this.pods, &this.joined, &this.nodes] {
            count.restart();
        }
        this
    }

    /// Checks that there were always at least this many pods up and this many nodes in their pool, and never more than
    /// `nodes` nodes.
    pub fn check(&self, pods: usize, joined: usize, nodes: usize) {
        let (up, in_pools, all) = (self.pods.range(), self.joined.range(), self.nodes.range());
        assert!(
            up.min >= pods,
            "protected pods: {up:?}, expected at least {pods}"
        );
        assert!(
            in_pools.min >= joined,
            "nodes of pools: {in_pools:?}, expected at least {joined}"
        );
        assert!(all.max <= nodes, "nodes: {all:?}, expected at most {nodes}");
    }
}

fn is_not_deleted(node: &Node) -> bool {
    node.metadata.deletion_timestamp.is_none()
}

/// The number of objects of a kind that are in the expected state.
#[derive(Clone)]
struct Count(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    now: HashMap<String, bool>,
    /// The objects of a list that isn't complete yet.
    listing: Option<HashMap<String, bool>>,
    range: Option<Range>,
}

impl Counted {
    fn up(&self) -> usize {
        self.now.values().filter(|is_up| **is_up).count()
    }

    fn record(&mut self) {
        let up = self.up();
        let range = self.range.get_or_insert(Range { min: up, max: up });
        range.min = range.min.min(up);
        range.max = range.max.max(up);
    }
}

impl Count {
    fn of<K>(api: Api<K>, labels: &str, is_up: fn(&K) -> bool) -> Self
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let this = Self(Arc::default());
        let config = watcher::Config::default().labels(labels);
        let events = watcher::watcher(api, config).default_backoff();
        let recorder = this.clone();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                // A watch that fails starts again.
                if let Ok(event) = event {
                    recorder.record(event, is_up);
                }
            }
        });
        this
    }

    fn record<K: Resource>(&self, event: Event<K>, is_up: fn(&K) -> bool) {
        let mut counted = self.0.lock().expect("the count");
        let key = |object: &K| object.uid().unwrap_or_default();
        match event {
            Event::Init => counted.listing = Some(HashMap::new()),
            Event::InitApply(object) => {
                let listing = counted.listing.get_or_insert_default();
                listing.insert(key(&object), is_up(&object));
                return;
            }
            Event::InitDone => counted.now = counted.listing.take().unwrap_or_default(),
            Event::Apply(object) => {
                counted.now.insert(key(&object), is_up(&object));
            }
            Event::Delete(object) => {
                counted.now.remove(&key(&object));
            }
        }
        if counted.listing.is_none() {
            counted.record();
        }
    }

    fn now(&self) -> usize {
        self.0.lock().expect("the count").up()
    }

    fn restart(&self) {
        let mut counted = self.0.lock().expect("the count");
        counted.range = None;
        counted.record();
    }

    fn range(&self) -> Range {
        let counted = self.0.lock().expect("the count");
        counted.range.expect("a range")
    }
}
