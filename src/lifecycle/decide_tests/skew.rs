//! Which versions can be reached, by what nodes really run. Also: a cluster keeps a System pool.

use serde_json::json;

use crate::{
    api::{
        AgentPoolMode,
        OperationPhase::Failed,
        OperationType::{Reconcile, Upgrade},
    },
    lifecycle::{
        fixtures::{World, cluster, condition},
        snapshot::ObjectId,
    },
};

/// Returns a cluster whose upgrades, up to the last of these versions, were aborted while its nodes stayed on 1.35.7.
fn left_behind(up_to: &[&str]) -> World {
    let mut world = World::settled();
    world.guard("np1");
    for version in up_to {
        world.set_version(version);
        let upgrade = world.begin(Upgrade);
        for _ in 0..4 {
            world.work().stride();
        }
        world.abort(&upgrade, "nodes later").settle();
    }
    world
}

#[test]
fn a_control_plane_is_never_more_than_three_minor_versions_ahead_of_its_nodes() {
    let three = ["1.36.1", "1.37.1", "1.38.1"];
    let mut world = left_behind(&three);
    assert!(world.versions("np1").contains(&"1.35.7".to_owned()));
    assert_eq!(
        world.cluster_status().kubernetes_version.as_deref(),
        Some("1.38.1")
    );
    // Neither a person's Operation nor the spec can reach it.
    world.ask_for_version("on", "1.39.1", &cluster()).stride();
    let error = world.status("on").error.expect("an error");
    assert_eq!(error.code, "InvalidParameter");
    assert!(
        error.message.contains("AgentPool np1 runs 1.35.7"),
        "{}",
        error.message
    );
    world.set_version("1.39.1").settle();
    let last = world.cluster_status().last_operation.expect("an operation");
    assert_eq!((last.type_, last.phase), (Upgrade, Failed));
    assert_eq!(
        world.cluster_status().kubernetes_version.as_deref(),
        Some("1.38.1")
    );
    // A Reconcile would also bring the cluster to this spec.
    world.ask("all", Reconcile, &cluster()).settle();
    assert_eq!(world.phase("all"), Failed);
    // Once the nodes have followed, the upgrade is possible.
    world.set_version("1.38.1").unguard().settle();
    world.ask("nodes", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1"), ["1.38.1", "1.38.1"]);
    world.set_version("1.39.1").settle();
    assert_eq!(world.versions("np1"), ["1.39.1", "1.39.1"]);
}

#[test]
fn a_clusters_status_names_the_oldest_version_of_each_pool() {
    let world = left_behind(&["1.36.1"]);
    let pools = world.cluster_status().agent_pools;
    assert_eq!(pools[0].oldest_version.as_deref(), Some("1.35.7"));
}

#[test]
fn a_pinned_pool_limits_the_version_of_its_control_plane() {
    let mut world = World::settled().with_pool("own", 1).at_rest();
    world.set_pool_version("own", Some("1.35.7")).settle();
    for version in ["1.36.1", "1.37.1", "1.38.1"] {
        world.set_version(version).settle();
    }
    world.set_version("1.39.1").settle();
    assert_eq!(
        world.cluster_status().kubernetes_version.as_deref(),
        Some("1.38.1")
    );
}

#[test]
fn a_pool_that_pins_a_newer_version_waits_for_its_control_plane() {
    let mut world = World::settled().with_pool("own", 1).at_rest();
    world.set_pool_version("own", Some("1.36.1")).settle();
    assert_eq!(world.versions("own"), ["1.35.7"]);
    let conditions = world.pool_status("own").conditions;
    assert_eq!(
        condition(&conditions, "Ready"),
        ("False", "NewerThanControlPlane")
    );
    let ready = conditions.iter().find(|it| it.type_ == "Ready");
    assert_eq!(
        ready.expect("a condition").message,
        "AgentPool own can't be newer than its control plane, which runs 1.35.7: upgrade the ManagedCluster first"
    );
    world.set_version("1.36.1").settle();
    assert_eq!(world.versions("own"), ["1.36.1"]);
    let conditions = world.pool_status("own").conditions;
    assert_eq!(condition(&conditions, "Ready"), ("True", "Succeeded"));
}

#[test]
fn if_all_system_pools_become_user_pools_one_stays_a_system_pool() {
    let mut world = World::settled().with_pool("sys1", 1).with_pool("sys2", 1);
    world.make_system("sys1").make_system("sys2").settle();
    let user = json!({"mode": "User"});
    world
        .edit_pool("sys1", &user)
        .edit_pool("sys2", &user)
        .settle();
    let modes = |world: &World| -> Vec<AgentPoolMode> {
        let pools = world.cluster_status().agent_pools;
        pools.iter().map(|pool| pool.mode).collect()
    };
    assert_eq!(
        modes(&world),
        [
            AgentPoolMode::User,
            AgentPoolMode::User,
            AgentPoolMode::System
        ]
    );
    let nodes = world.snapshot().observed.nodes;
    assert_eq!(nodes["sys2"][0].settings.mode, AgentPoolMode::System);
    assert_eq!(nodes["sys1"][0].settings.mode, AgentPoolMode::User);
    let conditions = world.pool_status("sys2").conditions;
    assert_eq!(
        condition(&conditions, "Stalled"),
        ("True", "LastSystemPool")
    );
    // It also keeps one node, and stays a System pool after a restart.
    world.restart().set_count("sys2", 0).settle();
    assert_eq!(world.versions("sys2").len(), 1);
    world.delete(&ObjectId::Pool("sys2".into())).settle();
    assert!(world.exists(&ObjectId::Pool("sys2".into())));
    // It may be deleted once another System pool exists.
    world.create_pool("sys3", 1).make_system("sys3").settle();
    assert!(!world.exists(&ObjectId::Pool("sys2".into())));
}
