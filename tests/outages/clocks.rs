//! Operators whose clocks differ, or jump during an operation.

use std::sync::Arc;

use belay::api::{Operation, OperationStatus, OperationType};
use jiff::Timestamp;
use kube::api::ListParams;
use rustix::process::Signal;
use serde_json::json;

use super::{
    belay::{Belay, World},
    clock::Clock,
    guard::Guard,
    operators::{Operator, lease},
};

const HOUR: i64 = 3600;

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    let all = environment.iter();
    all.map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

impl Operator {
    fn start_with_clock(
        belay: &Belay,
        name: &'static str,
        clock: &Clock,
        more: &[(&str, &str)],
    ) -> Self {
        Self::start_with(belay, name, &borrowed(&clock.environment(more)))
    }
}

/// Checks that nothing ends before it starts.
fn check_times(status: &OperationStatus) {
    let all = [(&status.start_time, &status.end_time)].into_iter();
    let steps = status
        .steps
        .iter()
        .map(|step| (&step.start_time, &step.end_time));
    for times in all.chain(steps) {
        if let (Some(start), Some(end)) = times {
            assert!(start.0 <= end.0, "{status:#?}");
        }
    }
}

async fn check_all_times(belay: &Belay) {
    let operations = belay.api::<Operation>().list(&ListParams::default()).await;
    for operation in operations.expect("operations").items {
        check_times(&operation.status.unwrap_or_default());
    }
}

pub async fn replicas_with_clocks_two_minutes_apart_replace_each_other(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let (ahead, behind) = (Clock::shifted(60), Clock::shifted(-60));
    let first = Operator::start_with_clock(&belay, "first", &ahead, &[]);
    first.leads(&belay).await;
    let second = Operator::start_with_clock(&belay, "second", &behind, &[]);
    second.says(&belay, "standing by").await;
    let provider = json!({"provider": {"kwok": {"nodeProvisioningTime": "0s", "nodeProvisioningTimeout": "30s"}}});
    belay.create_cluster_with(provider).await;
    belay.create_pool("np1", 2).await;
    let create = belay.operation(OperationType::Create, "np1").await;
    belay.succeeds(&create).await;
    belay.create_workload(2, 2).await;
    let guard = Guard::watch(&belay, 2, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    let renewed = lease(&belay).await.renew_time.expect("a time").0;
    assert!(
        renewed > now() + jiff::SignedDuration::from_secs(40),
        "the first operator's clock is ahead"
    );
    first.signal(Signal::KILL);
    first.has_ended(&belay).await;
    second.leads(&belay).await;
    assert_eq!(lease(&belay).await.lease_transitions, Some(2));
    belay.set_min_available(1).await;
    belay.succeeds(&upgrade).await;
    belay.cluster_is_ready().await;
    check_all_times(&belay).await;
    guard.check(1, 2, 3);
    belay.check_history();
}

#[expect(clippy::disallowed_methods, reason = "the machine's own clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Lets the clock jump by this many seconds, first while a machine comes up, then while a drain waits.
async fn clock_jump(world: &Arc<World>, seconds: i64) {
    let belay = Belay::start_without_operator(world).await;
    let clock = Clock::shifted(0);
    let alone = [("BELAY_LEADER_ELECTION", "never")];
    let operator = Operator::start_with_clock(&belay, "belay", &clock, &alone);
    belay.cluster_with_blocked_drains(2).await;
    let guard = Guard::watch(&belay, 2, 2).await;
    belay.set_provisioning_time("3s").await;
    belay.cluster_is_ready().await;
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.creates_nodes(&scale, 1).await;
    clock.shift(seconds);
    let status = belay.succeeds(&scale).await;
    check_times(&status);
    belay.pool_is_ready("np1").await;
    clock.shift(0);
    belay.set_provisioning_time("0s").await;
    belay.lock_is_free().await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    clock.shift(seconds);
    let reconciles = operator.log().matches("decided").count();
    let touched = json!({"example.com/touched": "yes"});
    belay
        .annotate::<belay::api::ManagedCluster>("demo", touched)
        .await;
    belay
        .eventually("the operator has reconciled again", || async {
            operator.log().matches("decided").count() > reconciles
        })
        .await;
    belay.set_min_available(1).await;
    let status = belay.succeeds(&upgrade).await;
    check_times(&status);
    belay.cluster_is_ready().await;
    check_all_times(&belay).await;
    belay.has_upgraded_nodes(3).await;
    guard.check(1, 2, 4);
    drop(operator);
    belay.check_history();
}

pub async fn a_clock_jump_of_an_hour_ahead_times_nothing_out(world: Arc<World>) {
    clock_jump(&world, HOUR).await;
}

pub async fn a_clock_jump_of_an_hour_back_times_nothing_out(world: Arc<World>) {
    clock_jump(&world, -HOUR).await;
}

/// By the leader's clock, its lease has expired, so it must renew the lease before it writes. No other operator has
/// taken the lease.
pub async fn a_leader_whose_clock_jumps_renews_its_lease_and_continues(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let clock = Clock::shifted(0);
    let first = Operator::start_with_clock(&belay, "first", &clock, &[]);
    first.leads(&belay).await;
    let second = Operator::standing_by(&belay, "second").await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    for shift in [HOUR, -HOUR] {
        clock.shift(shift);
        belay
            .eventually("the leader has renewed its lease", || async {
                let renewed = lease(&belay).await.renew_time.expect("a time").0;
                (renewed.as_second() - now().as_second() - shift).abs() < 60
            })
            .await;
    }
    belay.abort(&upgrade, "enough").await;
    let status = belay.is_canceled(&upgrade).await;
    check_times(&status);
    assert!(first.holds_the_lease(&belay).await);
    assert_eq!(lease(&belay).await.lease_transitions, Some(1));
    assert!(!second.log().contains("leading"), "{}", second.log());
    belay.check_history();
}
