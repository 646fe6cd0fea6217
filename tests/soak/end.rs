//! The required end of an episode, after the last event and without faults: all operations end, a Reconcile continues
//! what is on hold, and then the nodes match the specs.

use std::time::{Duration, Instant};

use belay::api::{AgentPool, DRAINED_BY, JOINING, MADE_BY, ManagedCluster, Operation, PowerState};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    actions::NamespacedKind,
    belay::{is_cordoned, is_node_ready, is_true, version},
    digest,
    faults::{Stream, WATCHED},
    place::Place,
};

/// The time limit until everything is settled.
const PATIENCE: Duration = Duration::from_mins(3);
/// The maximum number of Reconciles of an object on hold: a Reconcile may lead to another hold.
const ROUNDS: usize = 4;
/// Waits until everything is settled, and checks the final state. Returns the problems as an error.
pub async fn wait_for_end(place: &Place) -> Result<(), String> {
    remove_faults(place).await;
    let mut world = World::settled(place).await?;
    for round in 0..ROUNDS {
        let on_hold = world.on_hold();
        if on_hold.is_empty() {
            break;
        }
        if round > 0 {
            // The spec may be impossible, such as a version that is two minor versions older.
            world.set_spec_to_running_version(place).await;
        }
        for (kind, name) in on_hold {
            reconcile(place, kind, &name, round).await?;
        }
        world = World::settled(place).await?;
    }
    let problems = world.problems();
    if problems.is_empty() {
        return Ok(());
    }
    let found = digest::of(&place.belay, true).await;
    Err(format!("{problems:#?}\n{}\n{found}", shown(place)))
}

/// Removes all faults and obstacles.
async fn remove_faults(place: &Place) {
    place.faults.arm([]);
    for kind in WATCHED {
        // A watch that lost events must start again.
        place.faults.order(kind, Stream::Ends);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    for kind in WATCHED {
        place.faults.order(kind, Stream::Flows);
    }
    place.set_protected_pods(0).await;
    let nodes = Api::<Node>::all(place.belay.client.clone());
    for node in place.belay.nodes().await {
        if is_cordoned(&node) && !node.annotations().contains_key(DRAINED_BY) {
            let patch = Patch::Merge(json!({"spec": {"unschedulable": false}}));
            // This may fail: the node may be gone.
            let _ = nodes
                .patch(&node.name_any(), &PatchParams::default(), &patch)
                .await;
        }
    }
}

/// Creates a Reconcile. Retries while another operation excludes it.
async fn reconcile(place: &Place, kind: &str, name: &str, round: usize) -> Result<(), String> {
    let operation = format!("reconcile-{round}-{name}");
    let object = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": operation},
        "spec": {"type": "Reconcile", "target": {"kind": kind, "name": name}}});
    let object: Operation = serde_json::from_value(object).expect("an object");
    let (all, started) = (place.belay.api::<Operation>(), Instant::now());
    loop {
        match all.create(&PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.message.contains(" is in progress") => {}
            // The target was deleted in the meantime.
            Err(kube::Error::Api(status)) if status.message.contains("not found") => return Ok(()),
            Err(error) => {
                return Err(format!(
                    "the Reconcile of {kind} {name}: {error}\n{}",
                    shown(place)
                ));
            }
        }
        if started.elapsed() > PATIENCE {
            return Err(format!(
                "admission does not allow a Reconcile of {name}\n{}",
                shown(place)
            ));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// All objects of the namespace.
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

    /// Waits until nothing is left to do, or all that is left waits for a user. Returns all objects.
    async fn settled(place: &Place) -> Result<Self, String> {
        let started = Instant::now();
        let mut settled_since = None;
        loop {
            let world = Self::read(place).await;
            let unsettled = world.unsettled();
            if !unsettled.is_empty() {
                settled_since = None;
            }
            // This must remain true for two seconds: a spec may have changed just now.
            let since = *settled_since.get_or_insert_with(Instant::now);
            if unsettled.is_empty() && since.elapsed() > Duration::from_secs(2) {
                return Ok(world);
            }
            if started.elapsed() > PATIENCE {
                let calls = place.faults.calls();
                let last: Vec<_> = calls
                    .iter()
                    .rev()
                    .take(12)
                    .map(ToString::to_string)
                    .collect();
                let world = digest::of(&place.belay, true).await;
                return Err(format!(
                    "not settled: {unsettled:?}\n{}\nlast requests, newest first: {last:#?}\n{world}",
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
        // The pools of a cluster that is being deleted wait for its deletion, also while this is on hold.
        let is_being_deleted =
            |cluster: &ManagedCluster| cluster.metadata.deletion_timestamp.is_some();
        if self.clusters.iter().any(is_being_deleted) {
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
    async fn set_spec_to_running_version(&self, place: &Place) {
        let cluster = self.clusters.first();
        let status = cluster.and_then(|cluster| cluster.status.as_ref());
        let has_failed = status.is_some_and(|status| status.hold.is_some());
        let runs = status.and_then(|status| status.kubernetes_version.as_deref());
        if let (true, Some(version)) = (has_failed, runs) {
            place.belay.set_version(version).await;
        }
    }

    /// Returns the objects that wait for a user: the clusters on hold, or else the pools.
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

    /// Returns the differences from the required state.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut expected = 0;
        let cluster = self.clusters.first();
        for pool in &self.pools {
            let Some(cluster) = cluster else {
                continue;
            };
            expected += self.problems_of_pool(cluster, pool, &mut problems);
        }
        if self.nodes.len() != expected {
            problems.push(format!("{} nodes, expected {expected}", self.nodes.len()));
        }
        for node in &self.nodes {
            let marks: Vec<_> = [JOINING, DRAINED_BY]
                .into_iter()
                .filter(|mark| node.annotations().contains_key(*mark))
                .collect();
            if !marks.is_empty() || is_cordoned(node) || !is_node_ready(node) {
                problems.push(format!(
                    "node {} is cordoned, not Ready or in the middle of a step: {marks:?}",
                    node.name_any()
                ));
            }
            if !node.annotations().contains_key(MADE_BY) {
                problems.push(format!(
                    "node {} doesn't show which Operation created it",
                    node.name_any()
                ));
            }
        }
        for operation in &self.operations {
            let status = operation.status.clone().unwrap_or_default();
            let has_abort = operation
                .annotations()
                .contains_key(belay::api::ABORT_ANNOTATION);
            if has_abort && status.cancellation.is_none() {
                problems.push(format!(
                    "Belay has not noticed the abort of {}",
                    operation.name_any()
                ));
            }
        }
        problems
    }

    /// Checks the conditions and the nodes of a pool. Returns how many nodes it must have.
    fn problems_of_pool(
        &self,
        cluster: &ManagedCluster,
        pool: &AgentPool,
        problems: &mut Vec<String>,
    ) -> usize {
        let (name, status) = (pool.name_any(), pool.status.clone().unwrap_or_default());
        if !is_true(&status.conditions, "Ready") {
            problems.push(format!("pool {name} isn't Ready: {:?}", status.conditions));
        }
        let runs = cluster.spec.power_state == PowerState::Running
            && pool.spec.power_state == PowerState::Running;
        let expected = if runs {
            usize::try_from(pool.spec.count).expect("a count")
        } else {
            0
        };
        let of_pool = |node: &&Node| node.labels().get(belay::api::AGENT_POOL_LABEL) == Some(&name);
        let nodes: Vec<_> = self.nodes.iter().filter(of_pool).collect();
        if nodes.len() != expected {
            problems.push(format!(
                "pool {name} has {} nodes, expected {expected}",
                nodes.len()
            ));
        }
        let of_cluster = &cluster.spec.kubernetes_version;
        let runs = pool.spec.kubernetes_version.as_ref().unwrap_or(of_cluster);
        for node in nodes {
            if version(node).trim_start_matches('v') != runs.as_str() {
                problems.push(format!(
                    "node {} runs {}, not {runs}",
                    node.name_any(),
                    version(node)
                ));
            }
        }
        expected
    }
}

fn is_settled(conditions: &[Condition]) -> bool {
    is_true(conditions, "Ready") || is_true(conditions, "Stalled")
}

async fn all<K: NamespacedKind>(place: &Place) -> Vec<K> {
    let listed = place.belay.api::<K>().list(&ListParams::default()).await;
    listed.expect("listed").items
}

/// Returns what kubectl shows.
fn shown(place: &Place) -> String {
    place.belay.kubectl(&["get", "mc,ap,op", "-o", "wide"])
}
