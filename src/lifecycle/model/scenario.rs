//! What a search covers: the initial world, the events that may happen in it, and how often.

use crate::{
    api::{AbortPolicy, ConcurrencyPolicy, OperationStatus, OperationType},
    lifecycle::{
        fixtures::{Kind, NEW, OLD, World, pool},
        invariants::{Event, OperationEvent, PoolEvent},
        snapshot::ObjectId,
    },
};

/// A part of the possible events, small enough to search completely.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    /// The initial world.
    pub begin: fn() -> World,
    /// The events by people and machines, each at most once.
    pub may: Vec<Event>,
    /// The maximum number of these events.
    pub most: usize,
    /// How often the operator crashes.
    pub crashes: usize,
    /// How often an event isn't visible at once.
    pub unseen: usize,
    /// For each event, the cache that is stale then.
    pub kinds: Vec<Kind>,
    /// How often another operator takes over.
    pub takeovers: usize,
    /// Whether Belay sees each request before the next one comes. Then the search also checks that the newest wins.
    pub each_is_seen: bool,
    /// The conditions that some state has to meet, so that the search proves something.
    pub meets: &'static [&'static str],
}

impl Scenario {
    fn new(name: &'static str, begin: fn() -> World, may: Vec<Event>) -> Self {
        Self {
            name,
            begin,
            may,
            most: 2,
            crashes: 0,
            unseen: 0,
            kinds: Vec::new(),
            takeovers: 0,
            each_is_seen: false,
            meets: &[],
        }
    }

    /// An upgrade that a budget blocks is aborted in each way.
    pub fn upgrade_and_abort() -> Self {
        let may = vec![
            on(0, OperationEvent::Abort),
            on(0, OperationEvent::AbortAfterStep),
            Event::RefuseToStop(true),
        ];
        Self {
            meets: &[
                super::MEETS_CANCELED,
                super::MEETS_REFUSED,
                super::MEETS_HOLD,
                super::MEETS_AFTER_STEP,
            ],
            ..Self::new("upgrade and abort", guarded_upgrade, may)
        }
    }

    /// An upgrade is aborted or ends, and the operator crashes.
    pub fn upgrade_and_crash() -> Self {
        let may = vec![on(0, OperationEvent::Abort)];
        Self {
            most: 1,
            crashes: 1,
            meets: &[super::MEETS_CANCELED, super::MEETS_HOLD, super::MEETS_LOST],
            ..Self::new("upgrade and a crash", guarded_upgrade, may)
        }
    }

    /// A rollback is aborted, before its point of no return and after it.
    pub fn rollback_and_abort() -> Self {
        let may = vec![on(0, OperationEvent::Abort), np1(PoolEvent::Guard)];
        Self {
            most: 1,
            meets: &[
                super::MEETS_CANCELED,
                super::MEETS_REFUSED,
                super::MEETS_LATE,
            ],
            ..Self::new("rollback and abort", rollback, may)
        }
    }

    /// A pool is scaled while an upgrade is blocked, with the concurrencyPolicy Forbid or Replace.
    pub fn scale_and_replace() -> Self {
        let may = vec![
            Event::SetPolicy(ConcurrencyPolicy::Replace),
            np1(PoolEvent::SetCount(2)),
        ];
        Self {
            meets: &[
                super::MEETS_CANCELED,
                super::MEETS_QUEUE,
                super::MEETS_REPLACED,
                super::MEETS_HOLD,
            ],
            ..Self::new("scale and replace", guarded_upgrade, may)
        }
    }

    /// A cluster, a pool or an Operation is deleted while an upgrade is blocked, which aborts the upgrade.
    pub fn delete_and_abort() -> Self {
        let may = vec![
            Event::DeleteCluster,
            np1(PoolEvent::Delete),
            on(0, OperationEvent::Delete),
        ];
        Self {
            most: 1,
            meets: &[super::MEETS_CANCELED, super::MEETS_GONE],
            ..Self::new("delete and abort", guarded_upgrade, may)
        }
    }

    /// Changes come from a spec and from Operations while another is in flight: the newest wins.
    pub fn queue_and_newest() -> Self {
        let may = vec![np1(PoolEvent::SetCount(2)), Event::AskForCount(1, 4, "np1")];
        Self {
            each_is_seen: true,
            meets: &[super::MEETS_QUEUE, super::MEETS_REPLACED],
            ..Self::new("queue, and the newest wins", queue, may)
        }
    }

    /// The name of an Operation that ended is used again.
    pub fn names_again() -> Self {
        let may = vec![
            Event::AskForCount(1, 3, "np1"),
            Event::DeleteAsked(1),
            Event::AskForCount(1, 1, "np1"),
        ];
        Self {
            most: 3,
            meets: &[super::MEETS_AGAIN],
            ..Self::new("names used again", used_name, may)
        }
    }

    /// Another operator takes over; what the first decided arrives late.
    pub fn take_over() -> Self {
        let may = vec![on(0, OperationEvent::Abort)];
        Self {
            takeovers: 1,
            most: 1,
            meets: &[
                super::MEETS_CANCELED,
                super::MEETS_STALE,
                super::MEETS_LOST,
                super::MEETS_LATE_WRITE,
            ],
            ..Self::new("another operator takes over", scaling, may)
        }
    }

    /// An event isn't visible at once, because the cache of one kind is stale.
    pub fn old_caches() -> Self {
        let may = vec![
            Event::AbortCluster("stop"),
            np1(PoolEvent::SetCount(2)),
            on(0, OperationEvent::Abort),
        ];
        Self {
            most: 1,
            unseen: 1,
            kinds: vec![Kind::Clusters, Kind::Pools, Kind::Operations],
            meets: &[super::MEETS_CANCELED, super::MEETS_STALE],
            ..Self::new("old caches", guarded_upgrade, may)
        }
    }

    /// An abort waits for the step in process.
    pub fn abort_after_step() -> Self {
        let may = vec![on(0, OperationEvent::AbortAfterStep)];
        Self {
            most: 1,
            meets: &[super::MEETS_CANCELED, super::MEETS_AFTER_STEP],
            ..Self::new("abort after the step", guarded_upgrade, may)
        }
    }

    /// A node breaks while an upgrade is blocked.
    pub fn node_lost() -> Self {
        let may = vec![np1(PoolEvent::LoseNode)];
        Self {
            most: 1,
            ..Self::new("a node is lost", guarded_upgrade, may)
        }
    }

    /// The provider makes no progress, or fails, while somebody aborts.
    pub fn provider_in_trouble() -> Self {
        let may = vec![
            Event::Stall(true),
            Event::Fail,
            on(0, OperationEvent::Abort),
        ];
        Self {
            meets: &[
                super::MEETS_CANCELED,
                super::MEETS_FAILED,
                super::MEETS_HOLD,
                super::MEETS_LATE,
            ],
            ..Self::new("provider in trouble", guarded_upgrade, may)
        }
    }

    /// An abort waits for the step in process, and is hurried or taken back.
    pub fn abort_again() -> Self {
        let may = vec![
            on(0, OperationEvent::AbortAfterStep),
            on(0, OperationEvent::AbortNow),
            on(0, OperationEvent::TakeAbortBack),
        ];
        Self {
            meets: &[
                super::MEETS_CANCELED,
                super::MEETS_AFTER_STEP,
                super::MEETS_TAKEN_BACK,
            ],
            ..Self::new("abort hurried, and taken back", guarded_upgrade, may)
        }
    }

    /// With Replace, a newer change comes, and the provider refuses to stop for it.
    pub fn refusal_and_replace() -> Self {
        let may = vec![Event::RefuseToStop(true), np1(PoolEvent::SetCount(2))];
        Self {
            meets: &[
                super::MEETS_REFUSED,
                super::MEETS_QUEUE,
                super::MEETS_REPLACED,
            ],
            ..Self::new("refusal and replace", replaceable, may)
        }
    }

    /// The policy becomes Queue while an upgrade is blocked and a change waits in a spec.
    pub fn queue_midway() -> Self {
        let may = vec![
            Event::SetPolicy(ConcurrencyPolicy::Queue),
            np1(PoolEvent::SetCount(2)),
        ];
        Self {
            meets: &[super::MEETS_QUEUE],
            ..Self::new("Queue from the middle on", guarded_upgrade, may)
        }
    }

    /// A pool's abort annotation stays, and another change of the pool follows.
    pub fn honoured_once() -> Self {
        let may = vec![np1(PoolEvent::Abort("stop")), np1(PoolEvent::SetCount(3))];
        Self {
            meets: &[super::MEETS_CANCELED, super::MEETS_HOLD],
            ..Self::new("abort annotation stays", scaling, may)
        }
    }

    /// Allows one more event and one more crash. The search then takes long.
    pub fn deep(mut self) -> Self {
        self.most += 1;
        self.crashes += 1;
        self
    }
}

/// Whether an abort waits for the step in process.
pub fn is_after_step(status: &OperationStatus) -> bool {
    let cancellation = status.cancellation.as_ref();
    cancellation.is_some_and(|cancellation| cancellation.policy == AbortPolicy::AfterStep)
}

fn np1(event: PoolEvent) -> Event {
    Event::Pool("np1", event)
}

fn on(at: usize, event: OperationEvent) -> Event {
    Event::Operation(at, event)
}

/// A settled cluster with a pool of one node.
fn small() -> World {
    World::new().with_pool("np1", 1).at_rest()
}

/// An upgrade of the cluster has begun, and a budget guards the pods.
fn guarded_upgrade() -> World {
    let mut world = small();
    world.guard("np1").set_version(NEW);
    world.begin(OperationType::Upgrade);
    world
}

/// The same, with the policy Replace, so that newer changes replace it.
fn replaceable() -> World {
    let mut world = small();
    world.set_policy(ConcurrencyPolicy::Replace).settle();
    world.guard("np1").set_version(NEW);
    world.begin(OperationType::Upgrade);
    world
}

/// A pool is about to get one node more.
fn scaling() -> World {
    let mut world = small();
    world.set_count("np1", 2);
    world.begin(OperationType::Scale);
    world
}

/// A rollback of the cluster has begun. The pool's node goes back first.
fn rollback() -> World {
    let mut world = small();
    world.set_version(NEW).settle().set_version(OLD);
    world.begin(OperationType::Rollback);
    world
}

/// A guarded upgrade has begun, and changes wait in a queue.
fn queue() -> World {
    let mut world = small();
    world.set_policy(ConcurrencyPolicy::Queue).settle();
    world.guard("np1").set_version(NEW);
    world.begin(OperationType::Upgrade);
    world
}

/// A Scale was created with a name, has ended, and was deleted.
fn used_name() -> World {
    let mut world = small();
    world.ask_for_count("asked-1", 2, &pool("np1"));
    world.settle();
    world.delete(&ObjectId::Operation("asked-1".into()));
    world.settle();
    world
}
