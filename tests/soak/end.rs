//! The required end of an episode, once people are quiet and nothing is broken any more: everything settles; a
//! Reconcile continues what is on hold; then the nodes match the specs.

use std::time::{Duration, Instant};

use belay::api::{AgentPool, DRAINED_BY, JOINING, MADE_BY, ManagedCluster, Operation, PowerState};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    acts::Known,
    belay::{is_cordoned, is_node_ready, is_true, version},
    digest,
    faults::{Stream, WATCHED},
    place::Place,
};

/// How long it may take until everything has settled.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often objects on hold are reconciled again: a Reconcile may reveal another hold.
const ROUNDS: usize = 4;
/// Waits until everything has come to its end. Returns what is wrong there as an error.
pub async fn comes(place: &Place) -> Result<(), String> {
    calm(place).await;
    let mut world = World::settled(place).await?;
    for round in 0..ROUNDS {
        let on_hold = world.on_hold();
        if on_hold.is_empty() {
            break;
        }
        if round > 0 {
            // The spec may ask for something impossible, such as two minor versions back.
            world.asks_for_what_runs(place).await;
        }
        for (kind, name) in on_hold {
            reconcile(place, kind, &name, round).await?;
        }
        world = World::settled(place).await?;
    }
    let wrong = world.wrong();
    if wrong.is_empty() {
        return Ok(());
    }
    let found = digest::of(&place.belay, true).await;
    Err(format!("{wrong:#?}\n{}\n{found}", shown(place)))
}

/// Ends all faults and obstacles.
async fn calm(place: &Place) {
    place.faults.arm([]);
    for kind in WATCHED {
        // A watch that lost events must start again.
        place.faults.order(kind, Stream::Ends);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for kind in WATCHED {
        place.faults.order(kind, Stream::Flows);
    }
    place.keep(0).await;
    let nodes = Api::<Node>::all(place.belay.client.clone());
    for node in place.belay.nodes().await {
        if is_cordoned(&node) && !node.annotations().contains_key(DRAINED_BY) {
            let patch = Patch::Merge(json!({"spec": {"unschedulable": false}}));
            // If the node is gone by now, so is its cordon.
            let _ = nodes
                .patch(&node.name_any(), &PatchParams::default(), &patch)
                .await;
        }
    }
}

/// Creates a Reconcile, once no other operation excludes it.
async fn reconcile(place: &Place, kind: &str, name: &str, round: usize) -> Result<(), String> {
    let asked = format!("again-{round}-{name}");
    let object = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": asked},
        "spec": {"type": "Reconcile", "target": {"kind": kind, "name": name}}});
    let object: Operation = serde_json::from_value(object).expect("an object");
    let (all, began) = (place.belay.api::<Operation>(), Instant::now());
    loop {
        match all.create(&PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.message.contains(" is in progress") => {}
            // It was deleted in the meantime.
            Err(kube::Error::Api(status)) if status.message.contains("not found") => return Ok(()),
            Err(error) => {
                return Err(format!(
                    "the Reconcile of {kind} {name}: {error}\n{}",
                    shown(place)
                ));
            }
        }
        if began.elapsed() > PATIENCE {
            return Err(format!(
                "never admits a Reconcile of {name}\n{}",
                shown(place)
            ));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// All objects of the place.
struct World {
    clusters: Vec<ManagedCluster>,
    pools: Vec<AgentPool>,
    operations: Vec<Operation>,
    nodes: Vec<Node>,
}

impl World {
    async fn read(place: &Place) -> Self {
        Self {
            clusters: all(place).await,
            pools: all(place).await,
            operations: all(place).await,
            nodes: place.belay.nodes().await,
        }
    }

    /// Returns all objects once nothing is left to be done, or everything that is left waits for a person.
    async fn settled(place: &Place) -> Result<Self, String> {
        let began = Instant::now();
        let mut calm_since = None;
        loop {
            let world = Self::read(place).await;
            let unsettled = world.unsettled();
            if !unsettled.is_empty() {
                calm_since = None;
            }
            // It must stay so for a moment: somebody may just have written a spec.
            let since = *calm_since.get_or_insert_with(Instant::now);
            if unsettled.is_empty() && since.elapsed() > Duration::from_secs(2) {
                return Ok(world);
            }
            if began.elapsed() > PATIENCE {
                let calls = place.faults.calls();
                let last: Vec<_> = calls
                    .iter()
                    .rev()
                    .take(12)
                    .map(ToString::to_string)
                    .collect();
                let world = digest::of(&place.belay, true).await;
                return Err(format!(
                    "never settles: {unsettled:?}\n{}\nasked last, newest first: {last:#?}\n{world}",
                    shown(place)
                ));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn unsettled(&self) -> Vec<String> {
        let mut unsettled = Vec::new();
        for operation in &self.operations {
            let status = operation.status.as_ref();
            if !status.is_some_and(|status| status.phase.is_finished()) {
                unsettled.push(format!("{} is in flight", operation.name_any()));
            }
        }
        for cluster in &self.clusters {
            let status = cluster.status.clone().unwrap_or_default();
            let is_observed = status.observed_generation == cluster.metadata.generation;
            if !is_observed || !is_settled(&status.conditions) || !status.operations.is_empty() {
                unsettled.push(format!("cluster {}", cluster.name_any()));
            }
        }
        // The pools of a cluster that is being deleted wait for its deletion, also while the deletion is on hold.
        let goes = |cluster: &ManagedCluster| cluster.metadata.deletion_timestamp.is_some();
        if self.clusters.iter().any(goes) {
            return unsettled;
        }
        for pool in &self.pools {
            let status = pool.status.clone().unwrap_or_default();
            let is_observed = status.observed_generation == pool.metadata.generation;
            if !is_observed || !is_settled(&status.conditions) || status.operation.is_some() {
                unsettled.push(format!("pool {}", pool.name_any()));
            }
        }
        unsettled
    }

    /// If the cluster is on hold, sets its spec to the version that its control plane runs.
    async fn asks_for_what_runs(&self, place: &Place) {
        let cluster = self.clusters.first();
        let status = cluster.and_then(|cluster| cluster.status.as_ref());
        let has_failed = status.is_some_and(|status| status.hold.is_some());
        let runs = status.and_then(|status| status.kubernetes_version.as_deref());
        if let (true, Some(version)) = (has_failed, runs) {
            place.belay.set_version(version).await;
        }
    }

    /// Returns the objects that wait for a person, clusters first.
    fn on_hold(&self) -> Vec<(&'static str, String)> {
        let clusters = self.clusters.iter().filter(|cluster| {
            let status = cluster.status.as_ref();
            status.is_some_and(|status| is_true(&status.conditions, "Stalled"))
        });
        let mut on_hold: Vec<_> = clusters
            .map(|cluster| ("ManagedCluster", cluster.name_any()))
            .collect();
        if !on_hold.is_empty() || self.clusters.is_empty() {
            return on_hold;
        }
        let pools = self.pools.iter().filter(|pool| {
            let status = pool.status.as_ref();
            status.is_some_and(|status| is_true(&status.conditions, "Stalled"))
        });
        on_hold.extend(pools.map(|pool| ("AgentPool", pool.name_any())));
        on_hold
    }

    /// Returns everything that isn't as it must be.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut wanted = 0;
        let cluster = self.clusters.first();
        for pool in &self.pools {
            let Some(cluster) = cluster else {
                continue;
            };
            wanted += self.wrong_of_pool(cluster, pool, &mut wrong);
        }
        if self.nodes.len() != wanted {
            wrong.push(format!("{} nodes, {wanted} are wanted", self.nodes.len()));
        }
        for node in &self.nodes {
            let marks: Vec<_> = [JOINING, DRAINED_BY]
                .into_iter()
                .filter(|mark| node.annotations().contains_key(*mark))
                .collect();
            if !marks.is_empty() || is_cordoned(node) || !is_node_ready(node) {
                wrong.push(format!("node {} isn't at work: {marks:?}", node.name_any()));
            }
            if !node.annotations().contains_key(MADE_BY) {
                wrong.push(format!("nobody made node {}", node.name_any()));
            }
        }
        for operation in &self.operations {
            let status = operation.status.clone().unwrap_or_default();
            let is_asked = operation
                .annotations()
                .contains_key(belay::api::ABORT_ANNOTATION);
            if is_asked && status.cancellation.is_none() {
                wrong.push(format!(
                    "the abort of {} is forgotten",
                    operation.name_any()
                ));
            }
        }
        wrong
    }

    /// Checks the conditions and the nodes of a pool. Returns how many nodes it must have.
    fn wrong_of_pool(
        &self,
        cluster: &ManagedCluster,
        pool: &AgentPool,
        wrong: &mut Vec<String>,
    ) -> usize {
        let (name, status) = (pool.name_any(), pool.status.clone().unwrap_or_default());
        if !is_true(&status.conditions, "Ready") {
            wrong.push(format!("pool {name} isn't Ready: {:?}", status.conditions));
        }
        let runs = cluster.spec.power_state == PowerState::Running
            && pool.spec.power_state == PowerState::Running;
        let wanted = if runs {
            usize::try_from(pool.spec.count).expect("a count")
        } else {
            0
        };
        let of_pool = |node: &&Node| node.labels().get(belay::api::AGENT_POOL_LABEL) == Some(&name);
        let nodes: Vec<_> = self.nodes.iter().filter(of_pool).collect();
        if nodes.len() != wanted {
            wrong.push(format!(
                "pool {name} has {} nodes, {wanted} are wanted",
                nodes.len()
            ));
        }
        let of_cluster = &cluster.spec.kubernetes_version;
        let runs = pool.spec.kubernetes_version.as_ref().unwrap_or(of_cluster);
        for node in nodes {
            if version(node).trim_start_matches('v') != runs.as_str() {
                wrong.push(format!(
                    "node {} runs {}, not {runs}",
                    node.name_any(),
                    version(node)
                ));
            }
        }
        wanted
    }
}

fn is_settled(conditions: &[Condition]) -> bool {
    is_true(conditions, "Ready") || is_true(conditions, "Stalled")
}

async fn all<K: Known>(place: &Place) -> Vec<K> {
    let listed = place.belay.api::<K>().list(&ListParams::default()).await;
    listed.expect("listed").items
}

/// Returns what kubectl shows.
fn shown(place: &Place) -> String {
    place.belay.kubectl(&["get", "mc,ap,op", "-o", "wide"])
}
