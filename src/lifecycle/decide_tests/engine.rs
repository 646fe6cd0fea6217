//! Cases that only an engine has: a cluster that can't be seen for a while, operations that others began, refusals.

use crate::{
    api::{
        BEGUN_BY_ANNOTATION, ENGINE_HANDLE_ANNOTATION, Operation,
        OperationPhase::{Canceled, Canceling, InProgress, Pending, Succeeded},
        OperationSpec,
        OperationType::{Reconcile, Scale, Stop, Upgrade},
    },
    lifecycle::{
        action::Action,
        fixtures::{NEW, World, cluster, condition, pool},
    },
};

fn scale() -> OperationSpec {
    OperationSpec {
        type_: Scale,
        target: pool("np1"),
        kubernetes_version: None,
        count: Some(5),
        timeout: None,
    }
}

#[test]
fn no_operation_starts_on_an_unreachable_cluster() {
    for is_seen in [true, false] {
        let mut world = World::settled();
        world.lose_sight(true);
        if !is_seen {
            // As after a restart: Belay hasn't seen the cluster yet.
            world.observe(|observed| {
                observed.control_plane = None;
                observed.nodes.clear();
                if let Some(trouble) = &mut observed.trouble {
                    trouble.seen_at = None;
                }
            });
        }
        world.set_version(NEW).ask("go-on", Reconcile, &cluster());
        world.stride();
        assert_eq!(world.phase("go-on"), Pending);
        assert_eq!(world.unfinished(), ["go-on"]);
        let status = world.cluster_status();
        assert_eq!(
            condition(&status.conditions, "Ready"),
            ("Unknown", "Unreachable")
        );
        assert_eq!(status.kubernetes_version.as_deref(), Some("1.35.7"));
        assert_eq!(world.pool_status("np1").count, 2);
        world.abort("go-on", "not now").stride();
        assert_eq!(world.phase("go-on"), Canceled);
    }
}

#[test]
fn a_change_started_by_others_is_followed_by_one_operation_that_holds_the_lock() {
    let mut world = World::settled();
    world.others_begin(scale());
    world.stride();
    let follower = world.unfinished().pop().expect("an Operation");
    world.stride().stride();
    assert_eq!(world.phase(&follower), InProgress);
    assert_eq!(world.lock(), [follower.as_str()]);
    assert_eq!(world.unfinished(), [follower.as_str()]);
    let handle = world.status(&follower).steps[0].handle.clone();
    assert!(handle.is_some_and(|it| it.starts_with("other-")));
    // It doesn't change the spec.
    assert_eq!(world.wanted_nodes("np1").0, 2);
}

#[test]
fn a_change_by_others_in_progress_is_followed_and_not_reverted() {
    let mut world = World::settled();
    world.others_begin(scale());
    world.lose_node("np1").stride();
    let unfinished = world.unfinished();
    let types: Vec<_> = unfinished
        .iter()
        .map(|name| world.spec(name).type_)
        .collect();
    assert_eq!(types, [Scale]);
}

#[test]
fn a_change_started_by_others_holds_the_lock_beside_the_operation_in_flight() {
    let mut world = World::settled();
    world.guard("np1").set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world.others_begin(scale());
    world.stride().stride().stride();
    assert_eq!(world.lock().len(), 2);
    assert_eq!(world.phase(&upgrade), InProgress);
}

#[test]
fn a_forged_claim_that_others_started_a_change_is_canceled() {
    let mut world = World::settled();
    let mut forged = Operation::new("forged", scale());
    forged.metadata.annotations = Some(
        [
            (ENGINE_HANDLE_ANNOTATION.to_owned(), "az-1".to_owned()),
            (BEGUN_BY_ANNOTATION.to_owned(), "az".to_owned()),
        ]
        .into(),
    );
    world.create(forged).stride();
    assert_eq!(world.phase("forged"), Canceled);
    assert!(!world.is_working());
}

#[test]
fn work_that_the_engine_refuses_to_stop_continues_with_the_engines_message() {
    let mut world = World::settled();
    world.guard("np1").set_version(NEW);
    let upgrade = world.begin(Upgrade);
    world.abort(&upgrade, "not now").stride();
    assert_eq!(world.phase(&upgrade), Canceling);
    world.refuse_to_stop(true).work();
    let decided = world.decide();
    let starts = |action: &Action| matches!(action, Action::StartWork { .. });
    assert!(decided.place(starts).is_some(), "it is followed on");
    world.stride();
    let status = world.status(&upgrade);
    assert_eq!(status.phase, InProgress);
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "it can't be stopped");
    assert!(world.is_working());
}

#[test]
fn an_upgrade_of_the_control_plane_by_others_upgrades_no_pool() {
    let mut world = World::settled();
    let upgrade = OperationSpec {
        type_: Upgrade,
        target: cluster(),
        kubernetes_version: Some(NEW.into()),
        count: None,
        timeout: None,
    };
    world.others_begin(upgrade).stride();
    world.observe(|observed| {
        if let Some(control_plane) = &mut observed.control_plane {
            control_plane.version = NEW.parse().expect("a version");
        }
    });
    world.settle();
    assert_eq!(world.unfinished().len(), 0);
    assert_eq!(world.versions("np1"), ["1.35.7", "1.35.7"]);
    // The nodes follow once somebody asks for it.
    world.set_version(NEW).settle();
    assert_eq!(world.versions("np1"), [NEW, NEW]);
}

#[test]
fn a_pool_that_is_already_off_at_the_engine_gets_no_stop() {
    let mut world = World::settled();
    world
        .lose_statuses()
        .set_pool_power("np1", crate::api::PowerState::Stopped)
        .observe(|observed| {
            observed.nodes.remove("np1");
            observed.off.insert("np1".into());
        });
    world.settle();
    let types = world.operations().map(|name| world.spec(&name).type_);
    assert!(types.into_iter().all(|type_| type_ != Stop));
    let power = world.pool_status("np1").power_state.map(|power| power.code);
    assert_eq!(power, Some(crate::api::PowerState::Stopped));
}

#[test]
fn a_change_started_by_others_is_followed_before_it_can_be_canceled() {
    let mut world = World::settled();
    world.others_begin(scale());
    let follower = loop {
        world.stride();
        if let Some(name) = world.unfinished().pop() {
            break name;
        }
    };
    assert_eq!(world.phase(&follower), Pending);
    world.abort(&follower, "not that many").settle();
    // The work may have ended before Belay could stop it.
    assert!([Canceled, Succeeded].contains(&world.phase(&follower)));
    assert_eq!(world.steps(&follower).len(), 1, "its work was begun");
}
