//! A leader is killed or cut off from the network: the next one takes over, and the two never work at the same time.

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

/// Starts an upgrade that hangs on a budget, with a watcher from before it began.
async fn hangs(belay: &Belay) -> (String, Guard) {
    belay.guarded_cluster(2).await;
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
    let (upgrade, guard) = hangs(&belay).await;
    first.signal(Signal::KILL);
    let killed = clock::now();
    first.has_ended(&belay).await;
    belay.abort(&upgrade, "while nobody leads").await;
    second.leads(&belay).await;
    let canceled = belay.is_canceled(&upgrade).await;
    let cancellation = canceled.cancellation.expect("a cancellation");
    assert_eq!(cancellation.reason, "while nobody leads");
    assert!(cancellation.left_behind.is_empty(), "{cancellation:#?}");
    let taken = lease(&belay).await.acquire_time.expect("a time").0;
    let waited = taken.duration_since(killed).as_secs();
    // The lease's ten seconds since the last renewal, and a check each second.
    assert!((7..=20).contains(&waited), "taken over after {waited} s");
    belay.lock_is_free().await;
    assert!(!belay.nodes().await.iter().any(is_cordoned));
    guard.check(2, 2, 3);
    belay.check_history();
}

pub async fn a_leader_without_network_has_ended_before_the_next_one_writes(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let as_user = |name: &str| {
        let name = format!("{name}-{}", belay.namespace);
        let control_plane = world.control_plane.try_lock().expect("nobody kills it");
        control_plane.kubeconfig_for_user(&name, &["system:masters"])
    };
    let network = Network::before(as_user("first")).await;
    let far = network.kubeconfig.display().to_string();
    let first = Operator::start_with(&belay, "first", &[("KUBECONFIG", &far)]);
    first.leads(&belay).await;
    let near = Network::before(as_user("second")).await;
    let own = near.kubeconfig.display().to_string();
    let second = Operator::start_with(&belay, "second", &[("KUBECONFIG", &own)]);
    second.says(&belay, "standing by").await;
    let (upgrade, guard) = hangs(&belay).await;
    network.cut();
    // Work that the old leader doesn't see.
    belay.keep_available(1).await;
    first.has_ended(&belay).await;
    let ended = clock::now();
    assert!(first.log().contains("leadership lost"), "{}", first.log());
    belay.succeeds(&upgrade).await;
    belay.cluster_is_ready().await;
    second.rests(&belay).await;
    let by = |name: &str| format!("{name}-{}", belay.namespace);
    let of_second = writes_of(&by("second"));
    let begins = of_second.first().expect("it has written").at;
    assert!(
        ended < begins,
        "it ended at {ended}, the next began at {begins}"
    );
    let of_first = writes_of(&by("first"));
    assert!(
        of_first.iter().all(|write| write.at < begins),
        "{of_first:#?}"
    );
    // The old leader's pending requests arrive now.
    network.mend();
    belay.has_upgraded_nodes(2).await;
    second.rests(&belay).await;
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.succeeds(&scale).await;
    let late = writes_of(&by("first"));
    let late = late
        .iter()
        .filter(|write| write.at > begins && write.code < 300);
    assert_eq!(
        late.count(),
        0,
        "nothing of the old leader's lands any more"
    );
    let transitions = lease(&belay).await.lease_transitions;
    assert_eq!(transitions, Some(2));
    guard.check(1, 2, 3);
    belay.check_history();
}
