//! A leader is killed or loses its network: a standby takes over, and the two never work at the same time.

use std::sync::Arc;

use belay::{api::OperationType, machinery::clock};
use rustix::process::Signal;

use super::{
    audit::writes_of,
    belay::{Belay, World, is_cordoned},
    guard::Guard,
    network::Network,
    operators::{Operator, lease},
};

/// Starts an upgrade that a budget blocks. A guard watches from before the upgrade starts.
async fn blocked_upgrade(belay: &Belay) -> (String, Guard) {
    belay.cluster_with_blocked_drains(2).await;
    let guard = Guard::watch(belay, 2, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked(&upgrade).await;
    (upgrade, guard)
}

pub async fn a_standby_replaces_a_killed_leader_and_honours_an_abort_requested_in_between(
    world: Arc<World>,
) {
    let belay = Belay::start_without_operator(&world).await;
    let first = Operator::leading(&belay, "first").await;
    let second = Operator::standing_by(&belay, "second").await;
    let (upgrade, guard) = blocked_upgrade(&belay).await;
    first.signal(Signal::KILL);
    let killed = clock::now();
    first.has_ended(&belay).await;
    belay.abort(&upgrade, "while there is no leader").await;
    second.leads(&belay).await;
    let canceled = belay.is_canceled(&upgrade).await;
    let cancellation = canceled.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "while there is no leader");
    assert!(cancellation.left_behind.is_empty(), "{cancellation:#?}");
    let taken = lease(&belay).await.acquire_time.expect("a time").0;
    let seconds = taken.duration_since(killed).as_secs();
    // The lease expires ten seconds after its last renewal, and the standby checks it each second.
    assert!(
        (7..=20).contains(&seconds),
        "the standby took over after {seconds} s"
    );
    belay.lock_is_free().await;
    assert!(!belay.nodes().await.iter().any(is_cordoned));
    guard.check(2, 2, 3);
    belay.check_history();
}

pub async fn a_leader_without_network_has_ended_before_the_next_one_writes(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let as_user = |name: &str| {
        let name = format!("{name}-{}", belay.namespace);
        let control_plane = world.control_plane.try_lock().expect("the control plane");
        control_plane.kubeconfig_for_user(&name, &["system:masters"])
    };
    let network = Network::in_front_of(as_user("first")).await;
    let first_kubeconfig = network.kubeconfig.display().to_string();
    let first = Operator::start_with(&belay, "first", &[("KUBECONFIG", &first_kubeconfig)]);
    first.leads(&belay).await;
    let second_network = Network::in_front_of(as_user("second")).await;
    let second_kubeconfig = second_network.kubeconfig.display().to_string();
    let second = Operator::start_with(&belay, "second", &[("KUBECONFIG", &second_kubeconfig)]);
    second.says(&belay, "standing by").await;
    let (upgrade, guard) = blocked_upgrade(&belay).await;
    network.cut();
    // The old leader doesn't see this change.
    belay.set_min_available(1).await;
    first.has_ended(&belay).await;
    let ended = clock::now();
    assert!(first.log().contains("leadership lost"), "{}", first.log());
    belay.succeeds(&upgrade).await;
    belay.cluster_is_ready().await;
    second.is_idle(&belay).await;
    let user = |name: &str| format!("{name}-{}", belay.namespace);
    let of_second = writes_of(&user("second"));
    let first_write = of_second.first().expect("a write").at;
    assert!(
        ended < first_write,
        "the old leader ended at {ended}, the new one first wrote at {first_write}"
    );
    let of_first = writes_of(&user("first"));
    assert!(
        of_first.iter().all(|write| write.at < first_write),
        "{of_first:#?}"
    );
    // The pending requests of the old leader arrive now.
    network.restore();
    belay.has_upgraded_nodes(2).await;
    second.is_idle(&belay).await;
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&scale).await;
    let late = writes_of(&user("first"));
    let late = late
        .iter()
        .filter(|write| write.at > first_write && write.code < 300);
    assert_eq!(
        late.count(),
        0,
        "late writes of the old leader have no effect"
    );
    let transitions = lease(&belay).await.lease_transitions;
    assert_eq!(transitions, Some(2));
    guard.check(1, 2, 3);
    belay.check_history();
}
