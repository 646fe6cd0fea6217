//! Operators with different numbers of shards never work at the same time.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{ResourceExt as _, api::ListParams};
use rustix::process::Signal;

use crate::stage::{
    belay::{Belay, World},
    operators::{Operator, lease},
};

const STANDS_BY: &str = "standing by: operators with another number of shards";

/// Waits until operators with this number of shards work.
async fn is_divided_into(belay: &Belay, shards: u32) {
    let holder = format!("shards-of-{shards}");
    belay
        .eventually(
            &format!("the operators divide the clusters into {shards} shards"),
            || async { lease(belay).await.holder_identity.as_ref() == Some(&holder) },
        )
        .await;
}

async fn has_lease_of(belay: &Belay, shards: u32) -> bool {
    let leases = belay.api::<Lease>().list(&ListParams::default()).await;
    let mut leases = leases.expect("leases").items.into_iter();
    leases.any(|lease| lease.name_any().ends_with(&format!("-of-{shards}")))
}

pub async fn operators_with_another_number_of_shards_wait_until_the_others_have_ended(
    world: Arc<World>,
) {
    let belay = Belay::start_without_operator(&world).await;
    // As in a rolling update, new operators start before the old ones end.
    let undivided = Operator::leading(&belay, "undivided").await;
    belay.ready_cluster(0, 1).await;
    let two = Operator::sharing(&belay, "two", "2");
    two.says(&belay, STANDS_BY).await;
    assert!(
        !has_lease_of(&belay, 2).await,
        "the new operator takes no shard"
    );
    undivided.signal(Signal::TERM);
    undivided.has_ended(&belay).await;
    two.has_shards(&belay, &[0, 1]).await;
    is_divided_into(&belay, 2).await;
    belay.set_count("np1", 2).await;
    belay.pool_is_ready("np1").await;

    let also_two = Operator::sharing(&belay, "also-two", "2");
    also_two.has_shards(&belay, &[1]).await;
    let three = Operator::sharing(&belay, "three", "3");
    three.says(&belay, STANDS_BY).await;
    two.signal(Signal::TERM);
    two.has_ended(&belay).await;
    also_two.has_shards(&belay, &[0, 1]).await;
    assert!(
        !has_lease_of(&belay, 3).await,
        "an operator with two shards still works"
    );
    is_divided_into(&belay, 2).await;
    also_two.signal(Signal::TERM);
    also_two.has_ended(&belay).await;
    is_divided_into(&belay, 3).await;
    belay.set_count("np1", 1).await;
    belay.pool_is_ready("np1").await;

    let undivided_again = Operator::start_with(&belay, "again", &[]);
    undivided_again.says(&belay, STANDS_BY).await;
    // A killed operator doesn't release its lease, so the lease must expire.
    three.signal(Signal::KILL);
    three.has_ended(&belay).await;
    undivided_again.leads(&belay).await;
    belay.set_count("np1", 2).await;
    belay.pool_is_ready("np1").await;
    belay.check_history();
}

pub async fn shards_need_leader_election(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let election = ("BELAY_LEADER_ELECTION", "never");
    let operator = Operator::start_with(&belay, "alone", &[election, ("BELAY_SHARDS", "2")]);
    operator.has_ended(&belay).await;
    let expected = "2 shards need leader election";
    assert!(operator.log().contains(expected), "{}", operator.log());
}
