//! Leader election: one of several operators works, and the next leader continues its work.

use std::{sync::Arc, time::Duration};

use belay::machinery::clock;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use rustix::process::Signal;
use serde_json::json;

use crate::stage::{
    belay::{Belay, World},
    operators::{Operator, lease},
};

fn renewed(lease: &LeaseSpec) -> Timestamp {
    lease.renew_time.as_ref().expect("a time").0
}

fn acquired(lease: &LeaseSpec) -> Timestamp {
    lease.acquire_time.as_ref().expect("a time").0
}

pub async fn of_two_operators_one_works_and_the_other_stands_by(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::leading(&belay, "first").await;
    let second = Operator::standing_by(&belay, "second").await;
    belay.ready_cluster(50, 2).await;
    let created = "created";
    assert!(first.log().contains(created));
    assert!(!second.log().contains(created));
    assert!(first.holds_the_lease(&belay).await);
    assert_eq!(lease(&belay).await.lease_transitions, Some(1));
    belay.check_history();
}

pub async fn a_standby_completes_the_upgrade_of_a_killed_leader(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::leading(&belay, "first").await;
    let second = Operator::standing_by(&belay, "second").await;
    let operation = belay.blocked_upgrade_of(2, 4).await;
    first.signal(Signal::KILL);
    first.has_ended(&belay).await;
    let before = lease(&belay).await;
    belay.set_min_available(1).await;
    second.leads(&belay).await;
    let delay = acquired(&lease(&belay).await).duration_since(renewed(&before));
    assert!(
        delay.as_secs() >= 9,
        "another operator acquired the lease {delay:?} after its renewal"
    );
    belay.is_upgraded_once(&operation, |_| true).await;
}

pub async fn a_leader_paused_beyond_its_lease_writes_nothing_after_it_resumes(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::leading(&belay, "first").await;
    let second = Operator::standing_by(&belay, "second").await;
    let operation = belay.blocked_upgrade_of(2, 4).await;
    first.signal(Signal::STOP);
    second.leads(&belay).await;
    belay.set_min_available(1).await;
    belay.is_upgraded_once(&operation, |_| true).await;
    second.is_idle(&belay).await;
    let before = belay.state().await;
    first.signal(Signal::CONT);
    first.has_ended(&belay).await;
    assert!(first.log().contains("leadership lost"), "{}", first.log());
    assert_eq!(belay.state().await, before);
    assert!(second.holds_the_lease(&belay).await);
    belay.check_history();
}

pub async fn a_leader_that_gets_sigterm_releases_its_lease(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::leading(&belay, "first").await;
    let second = Operator::standing_by(&belay, "second").await;
    let operation = belay.blocked_upgrade_of(2, 4).await;
    // The paused standby cannot take the lease while the test reads it.
    second.signal(Signal::STOP);
    first.signal(Signal::TERM);
    first.has_ended(&belay).await;
    assert!(first.log().contains("belay stopped"), "{}", first.log());
    let released = lease(&belay).await;
    let holder = released.holder_identity.unwrap_or_default();
    assert_eq!(holder, "", "the lease has no holder");
    let resumed = clock::now();
    second.signal(Signal::CONT);
    second.leads(&belay).await;
    let delay = acquired(&lease(&belay).await).duration_since(resumed);
    assert!(
        delay.as_secs() < 9,
        "the lease was acquired {delay:?} after it could be"
    );
    belay.set_min_available(1).await;
    belay.is_upgraded_once(&operation, |_| true).await;
}

pub async fn a_leader_exits_when_its_lease_is_taken(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::leading(&belay, "first").await;
    let name = format!("belay-{}", belay.namespace);
    // The operator continues to renew the lease after others change its metadata.
    let annotation = Patch::Merge(json!({"metadata": {"annotations": {"team": "a"}}}));
    let leases = belay.api::<Lease>();
    let params = PatchParams::default();
    leases
        .patch(&name, &params, &annotation)
        .await
        .expect("patched");
    let before = renewed(&lease(&belay).await);
    belay
        .eventually("the operator has renewed the lease", || async {
            renewed(&lease(&belay).await).duration_since(before)
                > Duration::from_secs(3).try_into().expect("a duration")
        })
        .await;
    let other_holder = Patch::Merge(json!({"spec": {"holderIdentity": "somebody"}}));
    leases
        .patch(&name, &params, &other_holder)
        .await
        .expect("patched");
    first.has_ended(&belay).await;
    let expected = "leadership lost: somebody holds the lease now";
    assert!(first.log().contains(expected), "{}", first.log());
}

pub async fn a_leader_recreates_its_deleted_lease(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::leading(&belay, "first").await;
    let second = Operator::standing_by(&belay, "second").await;
    let name = format!("belay-{}", belay.namespace);
    let leases = belay.api::<Lease>();
    let before = leases.get(&name).await.expect("a lease").uid();
    let params = DeleteParams::default();
    leases.delete(&name, &params).await.expect("deleted");
    belay
        .eventually("there is a new lease", || async {
            let lease = leases.get_opt(&name).await.expect("an answer");
            lease.is_some_and(|lease| lease.uid() != before)
        })
        .await;
    assert!(first.holds_the_lease(&belay).await);
    belay.ready_cluster(0, 1).await;
    assert!(first.log().contains("created"));
    assert!(!second.log().contains("created"));
}
