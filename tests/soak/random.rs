//! The random events of an episode. The seed determines them.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    event::{Event, POOLS, What},
    faults::{Fault, Stream, WATCHED},
};

const VERSIONS: &[&str] = &["1.34.9", "1.35.7", "1.35.8", "1.36.3", "1.37.0"];
const POLICIES: &[&str] = &["Forbid", "Queue", "Replace"];
const POWER: &[&str] = &["Running", "Stopped"];
const OF_CLUSTER: &[&str] = &[
    "Upgrade",
    "Rollback",
    "Stop",
    "Start",
    "Reconcile",
    "Update",
];
const OF_POOL: &[&str] = &[
    "Upgrade",
    "Scale",
    "Stop",
    "Start",
    "Reconcile",
    "Update",
    "Delete",
];
const CODES: &[u16] = &[403, 409, 429, 500, 503];

/// Returns the events of the episode with this seed.
pub fn events(seed: u64) -> Vec<Event> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = vec(event(), 8..30).new_tree(&mut runner);
    tree.expect("events").current()
}

fn event() -> impl Strategy<Value = Event> {
    let after = prop_oneof![2 => 0..100_u64, 3 => 100..1_000_u64, 1 => 1_000..4_000_u64];
    let what = prop_oneof![
        4 => of_cluster(),
        5 => of_pool(),
        5 => of_operation(),
        3 => of_others(),
        4 => of_operator(),
    ];
    (after, what).prop_map(|(after, what)| Event {
        after: Duration::from_millis(after),
        what,
    })
}

fn of_cluster() -> impl Strategy<Value = What> {
    prop_oneof![
        6 => select(VERSIONS).prop_map(What::Version),
        3 => select(POLICIES).prop_map(What::Policy),
        2 => select(POWER).prop_map(What::ClusterPower),
        2 => select(&["0s", "300ms", "2s"][..]).prop_map(What::ProvisioningTime),
        1 => Just(What::DeleteCluster),
        1 => Just(What::CreateCluster),
    ]
}

fn of_pool() -> impl Strategy<Value = What> {
    let pool = || select(&POOLS[..]);
    prop_oneof![
        5 => (pool(), 0..5_usize).prop_map(|(pool, count)| What::Count(pool, count)),
        2 => (pool(), 0..5_usize).prop_map(|(pool, count)| What::ScaleSubresource(pool, count)),
        3 => (pool(), 0..3_usize).prop_map(|(pool, label)| What::Labels(pool, label)),
        2 => (pool(), 0..3_usize, 0..3_usize).prop_map(|(pool, surge, unavailable)| What::Surge(pool, surge, unavailable)),
        2 => (pool(), select(POWER)).prop_map(|(pool, power)| What::PoolPower(pool, power)),
        1 => pool().prop_map(What::DeletePool),
        3 => (pool(), 0..4_usize).prop_map(|(pool, count)| What::CreatePool(pool, count)),
    ]
}

fn of_operation() -> impl Strategy<Value = What> {
    let pool = || select(&POOLS[..]);
    let policy = select(&[None, Some("Now"), Some("AfterStep")][..]);
    prop_oneof![
        2 => select(OF_CLUSTER).prop_map(What::OperationOnCluster),
        2 => (select(OF_POOL), pool()).prop_map(|(type_, pool)| What::OperationOnPool(type_, pool)),
        6 => (any::<usize>(), policy).prop_map(|(which, policy)| What::Abort(which, policy)),
        1 => Just(What::AbortOnCluster),
        1 => pool().prop_map(What::AbortOnPool),
        1 => any::<usize>().prop_map(What::DeleteOperation),
    ]
}

fn of_others() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => (0..5_usize).prop_map(What::ProtectedPods),
        2 => any::<usize>().prop_map(What::DeleteNode),
        2 => any::<(usize, bool)>().prop_map(|(which, cordoned)| What::Cordon(which, cordoned)),
        2 => any::<usize>().prop_map(What::DeletePod),
    ]
}

fn of_operator() -> impl Strategy<Value = What> {
    let at = 1..12_usize;
    let death = select(&[Fault::CrashBefore, Fault::CrashAfter][..]);
    let answer = (select(CODES), any::<bool>()).prop_map(|(code, is_done)| {
        if is_done && code != 409 {
            Fault::LoseAnswer(code)
        } else {
            Fault::Answer(code)
        }
    });
    let delay = (50..3_000_u64).prop_map(|time| Fault::Delay(Duration::from_millis(time)));
    let lasting = select(&[Stream::HeldBack, Stream::Silent][..]);
    let once = select(&[Stream::Ends, Stream::Breaks, Stream::Gone, Stream::Replayed][..]);
    let time = (200..4_000_u64).prop_map(Duration::from_millis);
    let stream = prop_oneof![lasting, once];
    prop_oneof![
        1 => Just(What::Dies),
        4 => (at.clone(), death).prop_map(|(at, fault)| What::DiesAt(at, fault)),
        4 => (at.clone(), 1..4_usize, answer).prop_map(|(at, times, fault)| What::Refused(at, times, fault)),
        1 => (at, 1..3_usize, delay).prop_map(|(at, times, fault)| What::Refused(at, times, fault)),
        5 => (select(&WATCHED[..]), stream, time).prop_map(|(kind, stream, time)| What::Watches(kind, stream, time)),
    ]
}
