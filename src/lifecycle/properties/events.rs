//! What may happen to a cluster, as proptest makes it up.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    api::{ConcurrencyPolicy, OperationType, PowerState},
    lifecycle::{
        fixtures::Kind,
        invariants::{Event, OperationEvent, PoolEvent},
    },
};

pub const POOLS: [&str; 3] = ["np1", "np2", "np3"];
const REASONS: [&str; 2] = ["stop", "once more"];
const VERSIONS: [&str; 3] = ["1.35.7", "1.36.3", "1.36.4"];

fn power() -> impl Strategy<Value = PowerState> {
    select(&[
        PowerState::Running,
        PowerState::Running,
        PowerState::Stopped,
    ])
}

fn policy() -> impl Strategy<Value = ConcurrencyPolicy> {
    use ConcurrencyPolicy::{Forbid, Queue, Replace};
    select(&[Forbid, Queue, Replace])
}

fn abort_policy() -> impl Strategy<Value = Option<&'static str>> {
    select(&[None, Some("Now"), Some("AfterStep"), Some("afterstep")])
}

fn kind() -> impl Strategy<Value = Kind> {
    select(&[
        Kind::Clusters,
        Kind::Pools,
        Kind::Operations,
        Kind::Nodes,
        Kind::None,
    ])
}

fn pool_event() -> impl Strategy<Value = PoolEvent> {
    prop_oneof![
        4 => (0..4).prop_map(PoolEvent::SetCount),
        3 => (0..4).prop_map(PoolEvent::Create),
        2 => option::of(select(&VERSIONS)).prop_map(PoolEvent::SetVersion),
        2 => power().prop_map(PoolEvent::SetPower),
        2 => select(&REASONS).prop_map(PoolEvent::SetLabel),
        2 => select(&REASONS).prop_map(PoolEvent::Abort),
        2 => Just(PoolEvent::Delete),
        1 => Just(PoolEvent::DeleteByForce),
        1 => Just(PoolEvent::Guard),
        1 => Just(PoolEvent::LoseNode),
        1 => Just(PoolEvent::MakeSystem),
        1 => abort_policy().prop_map(PoolEvent::SetAbortPolicy),
    ]
}

fn operation_event() -> impl Strategy<Value = OperationEvent> {
    prop_oneof![
        6 => Just(OperationEvent::Abort),
        3 => Just(OperationEvent::AbortAfterStep),
        1 => Just(OperationEvent::AbortNow),
        1 => Just(OperationEvent::TakeAbortBack),
        1 => Just(OperationEvent::Delete),
        1 => Just(OperationEvent::DeleteByForce),
    ]
}

fn asked() -> impl Strategy<Value = OperationType> {
    prop_oneof![
        6 => Just(OperationType::Reconcile),
        1 => Just(OperationType::Create),
        1 => Just(OperationType::Scale),
        1 => Just(OperationType::Start),
        1 => Just(OperationType::Stop),
        1 => Just(OperationType::Update),
        1 => Just(OperationType::Rollback),
        1 => Just(OperationType::Upgrade),
        1 => Just(OperationType::Delete),
    ]
}

/// A turn that something takes.
#[derive(Clone, Debug)]
pub enum Turn {
    Others(Event),
    Stride,
    /// Another operator, whose cache of one kind is old, does what it decides, between the actions of a stride.
    Rival(Kind),
    /// What is there now is what an old cache will show.
    Remember,
    /// The operator dies before the n-th action of a stride, or between strides.
    Die(usize),
    /// Something happens before the n-th action of a stride.
    Meanwhile(usize, Event),
}

/// What needs no operator.
fn by_others() -> impl Strategy<Value = Event> {
    let pool = (select(&POOLS), pool_event());
    let operation = (0..4_usize, operation_event());
    let ask = (0..6_usize, asked(), option::of(select(&POOLS)));
    prop_oneof![
        4 => select(&VERSIONS).prop_map(Event::SetVersion),
        14 => pool.prop_map(|(pool, event)| Event::Pool(pool, event)),
        12 => operation.prop_map(|(at, event)| Event::Operation(at, event)),
        4 => ask.prop_map(|(name, type_, on)| Event::Ask(name, type_, on)),
        1 => any::<bool>().prop_map(Event::RefuseSpecs),
        1 => (0..50).prop_map(Event::EditElsewhere),
        1 => abort_policy().prop_map(Event::SetAbortPolicy),
        1 => Just(Event::LoseControlPlane),
        1 => any::<bool>().prop_map(Event::LoseSight),
        1 => any::<bool>().prop_map(Event::RefuseToStop),
        1 => any::<bool>().prop_map(Event::Stall),
        1 => select(&POOLS).prop_map(Event::OthersBegin),
        3 => power().prop_map(Event::SetPower),
        2 => policy().prop_map(Event::SetPolicy),
        2 => select(&REASONS).prop_map(Event::AbortCluster),
        1 => Just(Event::DeleteCluster),
        9 => Just(Event::Work),
        2 => Just(Event::Wait),
        1 => Just(Event::Fail),
    ]
}

pub fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let meanwhile =
        (0..6_usize, by_others()).prop_map(|(actions, event)| Turn::Meanwhile(actions, event));
    let turn = prop_oneof![
        8 => by_others().prop_map(Turn::Others),
        8 => Just(Turn::Stride),
        3 => (0..10_usize).prop_map(Turn::Die),
        1 => Just(Turn::Remember),
        2 => kind().prop_map(Turn::Rival),
        4 => meanwhile,
    ];
    vec(turn, 0..40)
}
