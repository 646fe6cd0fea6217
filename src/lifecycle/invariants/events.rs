//! What may happen to a cluster, and how it is applied to a world.

use serde_json::json;

use crate::{
    api::{ConcurrencyPolicy, OperationSpec, OperationType, PowerState},
    lifecycle::{
        fixtures::{NEW, OLD, World, cluster, pool},
        snapshot::ObjectId,
    },
};

/// Something that people or machines may cause.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    SetVersion(&'static str),
    SetPower(PowerState),
    SetPolicy(ConcurrencyPolicy),
    /// An edit of a field that no operation is about.
    EditElsewhere(i32),
    /// Sets how an abort on the cluster treats the step in process.
    SetAbortPolicy(Option<&'static str>),
    AbortCluster(&'static str),
    DeleteCluster,
    /// Happens to one of the pools.
    Pool(&'static str, PoolEvent),
    /// Happens to one of the Operations that haven't ended.
    Operation(usize, OperationEvent),
    /// Someone creates an Operation on the cluster, or on a pool, with a name that may have been used before.
    Ask(usize, OperationType, Option<&'static str>),
    /// Someone creates a Scale of a pool, with a name that may have been used before.
    AskForCount(usize, i32, &'static str),
    /// Someone deletes an Operation that a person asked for, whether it has ended or not.
    DeleteAsked(usize),
    /// The API server begins or ceases to refuse the spec changes that Operations ask for.
    RefuseSpecs(bool),
    LoseControlPlane,
    /// The provider loses or regains sight of the cluster.
    LoseSight(bool),
    /// The engine begins or ceases to refuse to stop its work.
    RefuseToStop(bool),
    /// The provider makes no progress until somebody stops it, or makes progress again.
    Stall(bool),
    /// Somebody begins to scale a pool at the engine, outside Belay.
    OthersBegin(&'static str),
    /// All running work fails.
    Fail,
    /// All running work advances by one tick.
    Work,
    Wait,
    /// Hours pass.
    WaitHours(i64),
}

#[derive(Clone, Copy, Debug)]
pub enum PoolEvent {
    Create(i32),
    SetCount(i32),
    SetVersion(Option<&'static str>),
    SetPower(PowerState),
    SetLabel(&'static str),
    Abort(&'static str),
    Delete,
    DeleteByForce,
    Guard,
    LoseNode,
    MakeSystem,
    SetAbortPolicy(Option<&'static str>),
}

#[derive(Clone, Copy, Debug)]
pub enum OperationEvent {
    Abort,
    AbortAfterStep,
    AbortNow,
    TakeAbortBack,
    Delete,
    DeleteByForce,
}

impl Event {
    /// Whether it removes an object despite its finalizers: then nodes are left for the next operation.
    pub fn forces_something_away(&self) -> bool {
        matches!(
            self,
            Self::Operation(_, OperationEvent::DeleteByForce)
                | Self::Pool(_, PoolEvent::DeleteByForce)
        )
    }

    /// Applies it to a world. Nothing happens to an object that doesn't exist.
    pub fn apply(&self, world: &mut World) {
        if world.is_gone() {
            return;
        }
        match self {
            Self::SetVersion(version) => world.set_version(version),
            Self::SetPower(power) => world.set_power(*power),
            Self::SetPolicy(policy) => world.set_policy(*policy),
            Self::EditElsewhere(limit) => {
                world.edit_cluster(&json!({"operationHistoryLimit": limit}))
            }
            Self::SetAbortPolicy(policy) => world.set_abort_policy(&ObjectId::Cluster, *policy),
            Self::AbortCluster(reason) => world.abort_on(&ObjectId::Cluster, reason),
            Self::DeleteCluster => world.delete(&ObjectId::Cluster),
            Self::Pool(pool, event) => event.apply(world, pool),
            Self::Operation(at, event) => event.apply(world, *at),
            Self::Ask(name, type_, on) => ask(world, *name, *type_, *on),
            Self::AskForCount(name, count, on) => {
                world.ask_for_count(&asked(*name), *count, &pool(on))
            }
            Self::DeleteAsked(name) => world.delete(&ObjectId::Operation(asked(*name))),
            Self::RefuseSpecs(refuses) => world.refuse_specs(*refuses),
            Self::LoseControlPlane => world.lose_control_plane(),
            Self::LoseSight(is_lost) => world.lose_sight(*is_lost),
            Self::RefuseToStop(refuses) => world.refuse_to_stop(*refuses),
            Self::Stall(stalls) => world.stall(*stalls),
            Self::OthersBegin(name) => world.others_begin(OperationSpec {
                type_: OperationType::Scale,
                target: pool(name),
                kubernetes_version: None,
                count: Some(1),
                timeout: None,
            }),
            Self::Fail => world.fail(),
            Self::Work => world.work(),
            Self::Wait => world.wait(1),
            Self::WaitHours(hours) => world.wait(hours * 3600),
        };
    }
}

fn asked(name: usize) -> String {
    format!("asked-{name}")
}

fn ask<'w>(
    world: &'w mut World,
    name: usize,
    type_: OperationType,
    on: Option<&str>,
) -> &'w mut World {
    let name = asked(name);
    let target = on.map_or_else(cluster, pool);
    match type_ {
        OperationType::Upgrade => world.ask_for_version(&name, NEW, &target),
        OperationType::Rollback => world.ask_to_go_back(&name, OLD, &target),
        OperationType::Scale => world.ask_for_count(&name, 1, &target),
        _ => world.ask(&name, type_, &target),
    }
}

impl PoolEvent {
    fn apply<'w>(&self, world: &'w mut World, pool: &str) -> &'w mut World {
        let id = ObjectId::Pool(pool.into());
        let exists = world.exists(&id);
        match self {
            Self::Create(count) if !exists => world.create_pool(pool, *count),
            Self::SetCount(count) if exists => world.set_count(pool, *count),
            Self::SetVersion(version) if exists => world.set_pool_version(pool, *version),
            Self::SetPower(power) if exists => world.set_pool_power(pool, *power),
            Self::SetLabel(value) if exists => world.set_label(pool, value),
            Self::Abort(reason) if exists => world.abort_on(&id, reason),
            Self::Delete => world.delete(&id),
            Self::DeleteByForce => world.delete_by_force(&id),
            Self::Guard => world.guard(pool),
            Self::LoseNode => world.lose_node(pool),
            Self::MakeSystem if exists => world.make_system(pool),
            Self::SetAbortPolicy(policy) if exists => world.set_abort_policy(&id, *policy),
            _ => world,
        }
    }
}

impl OperationEvent {
    fn apply(self, world: &mut World, at: usize) -> &mut World {
        let unfinished = world.unfinished();
        let Some(name) = unfinished.get(at % unfinished.len().max(1)) else {
            return world;
        };
        let id = ObjectId::Operation(name.clone());
        match self {
            Self::Abort => world.abort(name, "stop"),
            Self::AbortAfterStep => world.abort_after_step(name, "stop"),
            Self::AbortNow => world.abort_now(name, "stop"),
            Self::TakeAbortBack => world.take_abort_back(name),
            Self::Delete => world.delete(&id),
            Self::DeleteByForce => world.delete_by_force(&id),
        }
    }
}
