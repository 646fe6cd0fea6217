//! Shards: several operators divide the clusters. One operator works on each shard, and the next one continues its
//! work.

use std::sync::Arc;

use belay::{
    api::{AgentPool, CLUSTER_LABEL, ManagedCluster},
    machinery::shard::Shard,
};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use rustix::process::Signal;
use serde_json::json;

use crate::stage::{
    belay::{Belay, World, is_cordoned, is_true},
    operators::{Operator, lease_of},
};

impl Belay {
    /// Returns the name of a cluster in one of two shards, with this prefix.
    pub fn name_in_shard(&self, shard: usize, prefix: &str) -> String {
        let shard = Shard::all(2).nth(shard).expect("a shard");
        let mut names = (0..).map(|number| format!("{prefix}-{number}"));
        let name = names.find(|name| shard.has(&self.namespace, name));
        name.expect("a name")
    }

    /// Returns which of two shards the cluster `demo` belongs to.
    pub fn shard_of_demo(&self) -> usize {
        let mut shards = Shard::all(2);
        let found = shards.position(|shard| shard.has(&self.namespace, "demo"));
        found.expect("a shard")
    }

    /// Creates a cluster in one of two shards with a pool of the same name, and waits until both are Ready. Returns the
    /// name.
    pub async fn ready_in_shard(&self, shard: usize, prefix: &str, nodes: usize) -> String {
        let name = self.name_in_shard(shard, prefix);
        let provider = json!({"kwok": {"nodeProvisioningTime": "0s"}});
        let cluster = json!({"kubernetesVersion": "1.35.7", "provider": provider});
        self.create_object::<ManagedCluster>(&name, cluster).await;
        let pool = json!({"clusterName": name, "count": nodes});
        self.create_object::<AgentPool>(&name, pool).await;
        self.pool_is_ready(&name).await;
        let is_ready = || async {
            let cluster = self.api::<ManagedCluster>().get(&name).await;
            let status = cluster.expect("the cluster").status.unwrap_or_default();
            is_true(&status.conditions, "Ready")
        };
        self.eventually("the cluster is ready", is_ready).await;
        name
    }
}

/// Starts two operators, each with one of two shards. The first one has shard 0.
pub async fn two_operators(belay: &Belay) -> [Operator; 2] {
    let first = Operator::sharing(belay, "first", "2");
    first.has_shards(belay, &[0, 1]).await;
    let second = Operator::sharing(belay, "second", "2");
    second.has_shards(belay, &[1]).await;
    first.has_shards(belay, &[0]).await;
    [first, second]
}

/// Starts two operators. Returns the one that works on the cluster `demo` first.
async fn two_operators_by_demo(belay: &Belay) -> (Operator, Operator) {
    let [first, second] = two_operators(belay).await;
    if belay.shard_of_demo() == 0 {
        (first, second)
    } else {
        (second, first)
    }
}

fn is_of_demo(node: &Node) -> bool {
    node.labels()[CLUSTER_LABEL] == "demo"
}

/// Whether an operator has decided anything for a cluster.
fn decided_on(operator: &Operator, cluster: &str) -> bool {
    let log = operator.log();
    let mut decided = log.lines().filter(|line| line.contains("decided"));
    decided.any(|line| line.contains(&format!("cluster=\"{cluster}\"")))
}

pub async fn two_operators_take_one_shard_each_and_only_one_works_on_each_cluster(
    world: Arc<World>,
) {
    let belay = Belay::start_without_operator(&world).await;
    let operators = two_operators(&belay).await;
    for shard in [0, 1] {
        for prefix in ["a", "b"] {
            let cluster = belay.ready_in_shard(shard, prefix, 1).await;
            assert!(decided_on(&operators[shard], &cluster), "{cluster}");
            assert!(!decided_on(&operators[1 - shard], &cluster), "{cluster}");
        }
    }
    for (shard, operator) in operators.iter().enumerate() {
        let held = u32::try_from(shard).expect("a small number");
        assert_eq!(operator.shards(&belay).await, [held]);
    }
    belay.check_history();
}

pub async fn a_new_operator_gets_a_shard_and_releases_it_when_it_ends(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::sharing(&belay, "first", "2");
    first.has_shards(&belay, &[0, 1]).await;
    let other_cluster = belay
        .ready_in_shard(1 - belay.shard_of_demo(), "other", 1)
        .await;
    let operation = belay.blocked_upgrade_of(2, 4).await;
    let second = Operator::sharing(&belay, "second", "2");
    second.has_shards(&belay, &[1]).await;
    first.has_shards(&belay, &[0]).await;
    assert!(first.log().contains("releasing a shard"), "{}", first.log());
    // The operator that now holds the shard continues the upgrade.
    belay.set_min_available(1).await;
    belay.is_upgraded_once(&operation, is_of_demo).await;
    belay.set_pool(&other_cluster, json!({"count": 2})).await;
    belay.pool_is_ready(&other_cluster).await;
    second.signal(Signal::TERM);
    second.has_ended(&belay).await;
    assert!(second.log().contains("belay stopped"), "{}", second.log());
    first.has_shards(&belay, &[0, 1]).await;
    belay.set_count("np1", 3).await;
    belay.pool_is_ready("np1").await;
    belay.set_pool(&other_cluster, json!({"count": 1})).await;
    belay.pool_is_ready(&other_cluster).await;
    first.signal(Signal::TERM);
    first.has_ended(&belay).await;
    for suffix in ["", "-shard-0-of-2", "-shard-1-of-2"] {
        let holder = lease_of(&belay, suffix).await.holder_identity;
        assert_eq!(
            holder.as_deref(),
            Some(""),
            "the lease {suffix:?} has no holder"
        );
    }
    belay.check_history();
}

pub async fn the_operations_of_a_killed_operator_continue(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let (active, other) = two_operators_by_demo(&belay).await;
    let operation = belay.blocked_upgrade_of(2, 4).await;
    active.signal(Signal::KILL);
    active.has_ended(&belay).await;
    belay.set_min_available(1).await;
    other.has_shards(&belay, &[0, 1]).await;
    belay.is_upgraded_once(&operation, is_of_demo).await;
}

pub async fn an_abort_requested_while_its_shard_has_no_operator_is_honoured(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let (active, other) = two_operators_by_demo(&belay).await;
    let operation = belay.blocked_upgrade_of(2, 4).await;
    active.signal(Signal::KILL);
    active.has_ended(&belay).await;
    belay.abort(&operation, "enough").await;
    let held = other.shards(&belay).await.len();
    assert_eq!(held, 1, "the killed operator's lease has not expired");
    belay.is_canceled(&operation).await;
    other.has_shards(&belay, &[0, 1]).await;
    belay.lock_is_free_in_status().await;
    let nodes = belay.nodes().await;
    assert!(!nodes.iter().any(is_cordoned));
    belay.check_history();
}

pub async fn an_operator_paused_beyond_its_leases_writes_nothing_after_it_resumes(
    world: Arc<World>,
) {
    let belay = Belay::start_without_operator(&world).await;
    let (active, other) = two_operators_by_demo(&belay).await;
    let operation = belay.blocked_upgrade_of(2, 4).await;
    active.signal(Signal::STOP);
    other.has_shards(&belay, &[0, 1]).await;
    belay.set_min_available(1).await;
    belay.is_upgraded_once(&operation, is_of_demo).await;
    other.is_idle(&belay).await;
    let before = belay.state().await;
    active.signal(Signal::CONT);
    active.has_ended(&belay).await;
    let log = active.log();
    assert!(log.contains("leadership lost"), "{log}");
    assert_eq!(belay.state().await, before);
    assert_eq!(other.shards(&belay).await, [0, 1]);
    belay.check_history();
}

pub async fn an_operator_exits_when_its_shard_is_taken(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::sharing(&belay, "first", "2");
    first.has_shards(&belay, &[0, 1]).await;
    let other_holder = Patch::Merge(json!({"spec": {"holderIdentity": "somebody"}}));
    let name = format!("belay-{}-shard-1-of-2", belay.namespace);
    let (leases, params) = (belay.api::<Lease>(), PatchParams::default());
    let patched = leases.patch(&name, &params, &other_holder).await;
    patched.expect("patched");
    first.has_ended(&belay).await;
    let expected = "leadership lost: somebody holds the lease now";
    assert!(first.log().contains(expected), "{}", first.log());
}
