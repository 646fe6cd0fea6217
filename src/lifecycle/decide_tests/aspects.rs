//! Holds by aspect: an edit ends the hold on the aspect that it changes, and on no other.

use serde_json::json;

use crate::{
    api::{
        Aspect,
        OperationPhase::{Canceled, Failed, Succeeded},
        OperationType::{Delete, Reconcile, Rollback, Scale, Start, Stop, Upgrade},
        PowerState,
    },
    lifecycle::{
        fixtures::{NEW, OLD, World, cluster, condition, pool},
        snapshot::ObjectId,
    },
};

use super::{blocked_upgrade, failed_upgrade};

fn canceled_upgrade() -> World {
    let (mut world, upgrade) = blocked_upgrade();
    world.abort(&upgrade, "not now").settle().unguard();
    assert_eq!(world.phase(&upgrade), Canceled);
    world
}

fn upgrades(world: &World) -> usize {
    world
        .operations()
        .filter(|name| name.contains("upgrade"))
        .count()
}

fn old(world: &World) -> usize {
    let versions = world.versions("np1");
    versions.iter().filter(|version| *version == OLD).count()
}

#[test]
fn an_unrelated_edit_does_not_restart_an_aborted_upgrade() {
    for fields in [
        json!({"operationHistoryLimit": 20}),
        json!({"concurrencyPolicy": "Queue"}),
        json!({"provider": {"kwok": {"nodeProvisioningTimeout": "1m"}}}),
    ] {
        let mut world = canceled_upgrade();
        let nodes = world.versions("np1");
        world.edit_cluster(&fields).settle();
        assert_eq!(
            (upgrades(&world), world.versions("np1")),
            (1, nodes),
            "{fields}"
        );
        let conditions = world.cluster_status().conditions;
        assert_eq!(condition(&conditions, "Stalled").0, "True", "{fields}");
    }
}

#[test]
fn a_pool_on_hold_can_be_autoscaled_without_replacing_nodes() {
    let mut world = canceled_upgrade();
    assert_eq!(old(&world), 2);
    world.set_count("np1", 5).settle();
    assert_eq!((world.versions("np1").len(), old(&world)), (5, 2));
    assert_eq!((upgrades(&world), world.cordoned("np1")), (1, 0));
    let hold = world.pool_status("np1").cluster_hold.expect("a hold");
    assert_eq!(hold.aspects, [Aspect::Version]);
    world.ask("go-on", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1"), [NEW; 5]);
    assert_eq!(world.pool_status("np1").cluster_hold, None);
}

#[test]
fn a_pool_on_hold_can_be_scaled_by_an_operation_without_replacing_nodes() {
    let mut world = canceled_upgrade();
    world.ask_for_count("more", 5, &pool("np1")).settle();
    assert_eq!(world.phase("more"), Succeeded);
    assert_eq!((world.versions("np1").len(), old(&world)), (5, 2));
}

#[test]
fn a_label_on_a_pool_on_hold_changes_no_count_and_no_version() {
    let mut world = canceled_upgrade();
    let nodes = world.versions("np1");
    world.set_label("np1", "gold").settle();
    assert_eq!(world.versions("np1"), nodes);
    let updates = world.operations().filter(|name| name.contains("-update-"));
    assert_eq!(updates.count(), 1);
    assert_eq!(upgrades(&world), 1);
}

#[test]
fn settings_on_hold_are_not_applied_to_old_nodes_but_to_new_ones() {
    let mut world = World::settled();
    world.set_label("np1", "gold").stride();
    let update = world.unfinished().remove(0);
    world.abort(&update, "not now").settle();
    let hold = world.pool_status("np1").hold.expect("a hold");
    assert_eq!(hold.aspects, [Aspect::Settings]);
    world.set_count("np1", 3).settle();
    let labels: Vec<_> = world
        .snapshot()
        .nodes("np1")
        .iter()
        .map(|node| node.settings.labels.get("tier").cloned())
        .collect();
    let gold = labels.iter().filter(|label| label.is_some()).count();
    assert_eq!((labels.len(), gold), (3, 1), "{labels:?}");
}

#[test]
fn an_edit_of_the_provider_options_counts_as_the_fix_of_a_failure() {
    let (mut world, _) = failed_upgrade();
    world
        .edit_cluster(&json!({"provider": {"kwok": {"maxNodes": 50}}}))
        .settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
    let (mut world, _) = failed_upgrade();
    world
        .edit_cluster(&json!({"operationHistoryLimit": 20}))
        .settle();
    assert!(world.versions("np1").contains(&OLD.to_owned()));
}

#[test]
fn a_new_cluster_version_counts_as_the_fix_of_a_pools_failure() {
    let mut world = World::settled();
    world.delete(&ObjectId::Pool("np1".into()));
    let delete = world.begin(Delete);
    world.fail().settle();
    assert_eq!(world.phase(&delete), Failed);
    assert_eq!(
        world.versions("np1").len(),
        2,
        "nobody asks again by itself"
    );
    world.set_version(NEW).settle();
    assert_eq!(world.versions("np1").len(), 0);
}

#[test]
fn a_count_set_by_an_autoscaler_does_not_continue_a_failed_upgrade() {
    let (mut world, _) = failed_upgrade();
    let before = old(&world);
    world.set_count("np1", 4).settle();
    assert_eq!((world.versions("np1").len(), old(&world)), (4, before));
}

#[test]
fn a_pool_with_an_aborted_stop_keeps_its_nodes_whatever_its_count() {
    let mut world = World::settled();
    world
        .guard("np1")
        .set_pool_power("np1", PowerState::Stopped);
    let stop = world.begin(Stop);
    world.abort(&stop, "not now").settle().unguard();
    let left = world.versions("np1").len();
    assert!(left > 0);
    world.set_count("np1", 5).settle();
    assert_eq!(world.versions("np1").len(), left);
    world.set_version(NEW).settle();
    assert_eq!(
        world.versions("np1"),
        vec![NEW; left],
        "its version is the cluster's"
    );
    world.ask("again", Stop, &pool("np1")).settle();
    assert_eq!(world.versions("np1").len(), 0);
}

#[test]
fn a_cluster_with_an_aborted_start_stays_off_when_its_version_changes() {
    let mut world = World::settled();
    world.set_power(PowerState::Stopped).settle();
    world.set_power(PowerState::Running);
    let start = world.begin(Start);
    world.abort(&start, "not now").settle();
    assert_eq!(world.phase(&start), Canceled);
    world.set_version(NEW).settle();
    let status = world.cluster_status();
    assert_eq!(status.kubernetes_version.as_deref(), Some(NEW));
    assert_eq!(world.power().0, PowerState::Stopped);
    assert_eq!(world.versions("np1").len(), 0);
}

#[test]
fn a_reconcile_of_the_cluster_does_not_continue_an_operation_on_a_pool() {
    let mut world = World::settled();
    world.set_count("np1", 4);
    let scale = world.begin(Scale);
    world.abort(&scale, "not now").settle();
    world.ask("all", Reconcile, &cluster()).settle();
    assert_eq!(world.versions("np1").len(), 2);
    world.ask("pool", Reconcile, &pool("np1")).settle();
    assert_eq!(world.versions("np1").len(), 4);
}

#[test]
fn a_hold_of_the_cluster_does_not_cover_pools_that_it_did_not_concern() {
    let mut world = World::settled().with_pool("own", 2).at_rest();
    world.set_pool_version("own", Some(OLD)).settle();
    world.guard("np1").set_version(NEW);
    let upgrade = world.begin(Upgrade);
    for _ in 0..6 {
        world.work().stride();
    }
    world.abort(&upgrade, "not now").settle();
    assert_eq!(world.pool_status("own").cluster_hold, None);
    world.lose_node("own").settle();
    assert_eq!(world.versions("own").len(), 2, "it is repaired");
    world.set_pool_version("own", Some(NEW)).settle();
    assert_eq!(world.versions("own"), [NEW, NEW]);
}

#[test]
fn the_condition_says_what_is_on_hold_and_what_ends_the_hold() {
    let world = canceled_upgrade();
    let conditions = world.cluster_status().conditions;
    let stalled = conditions.iter().find(|it| it.type_ == "Stalled");
    let message = &stalled.expect("a condition").message;
    assert!(
        message.ends_with(
            "was canceled; Version of this ManagedCluster is on hold until the spec of ManagedCluster demo asks for another value, or until someone creates an Operation of type Reconcile on it"
        ),
        "{message}"
    );
}

#[test]
fn pools_return_to_the_control_planes_version_after_an_aborted_rollback_or_reconcile() {
    for type_ in [Rollback, Reconcile] {
        let mut world = World::settled();
        world.set_version(NEW).settle();
        world.guard("np1").set_version(OLD);
        let rollback = world.begin(Rollback);
        let mut aborted = rollback.clone();
        if type_ == Reconcile {
            // Abort before a node goes back; then a Reconcile takes it back.
            world.abort(&rollback, "first").settle();
            world.ask("back", Reconcile, &cluster()).stride();
            aborted = "back".into();
        }
        world.unguard();
        for _ in 0..20 {
            if old(&world) == 1 {
                break;
            }
            world.stride().work();
        }
        assert_eq!(old(&world), 1, "one node went back");
        world.abort(&aborted, "the old one is worse").settle();
        assert_eq!(world.phase(&aborted), Canceled, "{type_:?}");
        assert_eq!(world.versions("np1"), [NEW, NEW], "{type_:?}");
        assert_eq!(
            world.cluster_status().kubernetes_version.as_deref(),
            Some(NEW)
        );
        let hold = world.cluster_status().hold.expect("a hold");
        assert_eq!(hold.aspects, [Aspect::Version]);
    }
}

#[test]
fn an_aborted_deletion_stays_on_hold_after_any_edit() {
    let mut world = World::settled();
    world.guard("np1").delete(&ObjectId::Pool("np1".into()));
    let delete = world.begin(crate::api::OperationType::Delete);
    world.work().work().stride();
    world.abort(&delete, "keep it").settle().unguard();
    world.set_count("np1", 1).set_label("np1", "gold").settle();
    assert_eq!(world.versions("np1").len(), 2);
    let hold = world.pool_status("np1").hold.expect("a hold");
    assert_eq!(hold.aspects, [Aspect::Deletion]);
}
