//! What always holds, whatever people do, and whenever the operator dies or reads an old view.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::api::{
    CancellationStatus, ConcurrencyPolicy, OperationInFlight, OperationPhase, OperationStatus,
    OperationType, PowerState,
};

use super::{
    action::Action,
    fixtures::{CLUSTER, NEW, OLD, World, cluster, condition, pool},
    gate::excludes,
    snapshot::{ObjectId, Stop},
};

const POOLS: [&str; 3] = ["np1", "np2", "np3"];
const REASONS: [&str; 2] = ["stop", "once more"];
const VERSIONS: [&str; 3] = ["1.35.7", "1.36.3", "1.36.4"];

/// What may happen.
#[derive(Clone, Debug)]
enum Event {
    SetVersion(&'static str),
    SetPower(PowerState),
    SetPolicy(ConcurrencyPolicy),
    AbortCluster(&'static str),
    DeleteCluster,
    /// To one of the pools.
    Pool(&'static str, PoolEvent),
    /// To one of the Operations that haven't ended.
    Operation(usize, OperationEvent),
    /// Someone asks for an Operation on the cluster, or on a pool.
    Ask(OperationType, Option<&'static str>),
    /// All work in hand meets an error.
    Fail,
    /// All work in hand goes on by a tick.
    Work,
    Wait,
    Stride,
    /// The operator dies before the n-th action of a stride, or between strides.
    Die(usize),
    /// Something happens before the n-th action of a stride.
    Meanwhile(usize, Box<Event>),
}

#[derive(Clone, Debug)]
enum PoolEvent {
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
}

#[derive(Clone, Debug)]
enum OperationEvent {
    Abort,
    AbortAfterStep,
    TakeAbortBack,
    Delete,
    DeleteByForce,
}

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
    ]
}

fn operation_event() -> impl Strategy<Value = OperationEvent> {
    prop_oneof![
        6 => Just(OperationEvent::Abort),
        3 => Just(OperationEvent::AbortAfterStep),
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

/// What needs no operator.
fn by_others() -> impl Strategy<Value = Event> {
    let pool = (select(&POOLS), pool_event());
    let operation = (0..4_usize, operation_event());
    let ask = (asked(), option::of(select(&POOLS)));
    prop_oneof![
        4 => select(&VERSIONS).prop_map(Event::SetVersion),
        14 => pool.prop_map(|(pool, event)| Event::Pool(pool, event)),
        12 => operation.prop_map(|(at, event)| Event::Operation(at, event)),
        3 => ask.prop_map(|(type_, on)| Event::Ask(type_, on)),
        3 => power().prop_map(Event::SetPower),
        2 => policy().prop_map(Event::SetPolicy),
        2 => select(&REASONS).prop_map(Event::AbortCluster),
        1 => Just(Event::DeleteCluster),
        9 => Just(Event::Work),
        2 => Just(Event::Wait),
        1 => Just(Event::Fail),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let meanwhile = (0..6_usize, by_others())
        .prop_map(|(actions, event)| Event::Meanwhile(actions, Box::new(event)));
    let event = prop_oneof![
        8 => by_others(),
        8 => Just(Event::Stride),
        3 => (0..10_usize).prop_map(Event::Die),
        4 => meanwhile,
    ];
    vec(event, 0..40)
}

/// A world whose every action is checked.
struct Checked {
    world: World,
    /// The statuses that were written last, by the Operations' uids.
    written: BTreeMap<String, OperationStatus>,
    asked: usize,
    /// Whether an Operation was removed by force: then its nodes are left to the next one.
    was_forced: bool,
}

impl Checked {
    /// From a cluster that is settled, or from one that Belay has just seen.
    fn new(is_settled: bool) -> Self {
        let mut world = World::new().with_pool("np1", 2);
        if is_settled {
            world.settle();
        } else {
            world.stride();
        }
        Self {
            world,
            written: BTreeMap::new(),
            asked: 0,
            was_forced: false,
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Stride => self.stride(usize::MAX, None),
            Event::Die(actions) => {
                self.stride(*actions, None);
                self.world.restart();
            }
            Event::Meanwhile(actions, event) => self.stride(*actions, Some(event)),
            event => self.befalls(event),
        }
    }

    fn befalls(&mut self, event: &Event) {
        let world = &mut self.world;
        if world.is_gone() {
            return;
        }
        match event {
            Event::SetVersion(version) => world.set_version(version),
            Event::SetPower(power) => world.set_power(*power),
            Event::SetPolicy(policy) => world.set_policy(*policy),
            Event::AbortCluster(reason) => world.abort_on(&ObjectId::Cluster, reason),
            Event::DeleteCluster => world.delete(&ObjectId::Cluster),
            Event::Pool(pool, event) => self.befalls_pool(pool, event),
            Event::Operation(at, event) => self.befalls_operation(*at, event),
            Event::Ask(type_, on) => {
                self.asked += 1;
                let name = format!("asked-{}", self.asked);
                let target = on.map_or_else(cluster, pool);
                match type_ {
                    OperationType::Upgrade => world.ask_for_version(&name, NEW, &target),
                    OperationType::Rollback => world.ask_to_go_back(&name, OLD, &target),
                    OperationType::Scale => world.ask_for_count(&name, 1, &target),
                    _ => world.ask(&name, *type_, &target),
                }
            }
            Event::Fail => world.fail(),
            Event::Work => world.work(),
            Event::Wait => world.wait(1),
            Event::Stride | Event::Die(_) | Event::Meanwhile(..) => unreachable!("an operator's"),
        };
    }

    fn befalls_pool(&mut self, pool: &str, event: &PoolEvent) -> &mut World {
        let world = &mut self.world;
        let id = ObjectId::Pool(pool.into());
        let exists = world.exists(&id);
        match event {
            PoolEvent::Create(count) if !exists => world.create_pool(pool, *count),
            PoolEvent::SetCount(count) if exists => world.set_count(pool, *count),
            PoolEvent::SetVersion(version) if exists => world.set_pool_version(pool, *version),
            PoolEvent::SetPower(power) if exists => world.set_pool_power(pool, *power),
            PoolEvent::SetLabel(value) if exists => world.set_label(pool, value),
            PoolEvent::Abort(reason) if exists => world.abort_on(&id, reason),
            PoolEvent::Delete => world.delete(&id),
            PoolEvent::DeleteByForce => world.delete_by_force(&id),
            PoolEvent::Guard => world.guard(pool),
            PoolEvent::LoseNode => world.lose_node(pool),
            _ => world,
        }
    }

    fn befalls_operation(&mut self, at: usize, event: &OperationEvent) -> &mut World {
        let world = &mut self.world;
        let unfinished = world.unfinished();
        let Some(name) = unfinished.get(at % unfinished.len().max(1)) else {
            return world;
        };
        let id = ObjectId::Operation(name.clone());
        match event {
            OperationEvent::Abort => world.abort(name, "stop"),
            OperationEvent::AbortAfterStep => world.abort_after_step(name, "stop"),
            OperationEvent::TakeAbortBack => world.take_abort_back(name),
            OperationEvent::Delete => world.delete(&id),
            OperationEvent::DeleteByForce => {
                self.was_forced = true;
                world.delete_by_force(&id)
            }
        }
    }

    /// One pass of the shell: at most `actions` of it, or something happens after them.
    fn stride(&mut self, actions: usize, meanwhile: Option<&Event>) {
        let mut pass = self.world.pass();
        for _ in 0..actions {
            let Some(action) = self.world.act(&mut pass) else {
                return;
            };
            self.check(&action);
        }
        let Some(event) = meanwhile else { return };
        self.befalls(event);
        while let Some(action) = self.world.act(&mut pass) {
            self.check(&action);
        }
    }

    fn check(&mut self, action: &Action) {
        self.check_work();
        match action {
            Action::WriteOperationStatus { name, status } => {
                let before = self
                    .written
                    .insert(self.world.uid(name), (**status).clone());
                check_transition(name, &before.unwrap_or_default(), status);
            }
            Action::WriteClusterStatus(status) => check_lock(&status.operations),
            Action::StartWork { job, stop }
                if self
                    .world
                    .exists(&ObjectId::Operation(job.operation.clone())) =>
            {
                let phase = self.world.phase(&job.operation);
                let holds = self.world.lock().contains(&job.operation);
                assert!(holds, "{} works without the lock", job.operation);
                let may_begin_steps = phase == OperationPhase::InProgress;
                assert_eq!(
                    *stop == Stop::No,
                    may_begin_steps,
                    "{} is {phase:?}",
                    job.operation
                );
            }
            Action::StopWork {
                uid,
                stop: Stop::Now,
            } => {
                let mut operations = self.world.operations();
                let stopped = operations.find(|name| self.world.uid(name) == *uid);
                if let Some(name) = stopped {
                    let phase = self.world.phase(&name);
                    assert_eq!(phase, OperationPhase::Canceling, "{name} stops");
                }
            }
            _ => {}
        }
    }

    /// Whose work goes on holds the lock.
    fn check_work(&self) {
        let lock = self.world.lock();
        let mut operations = self
            .world
            .operations()
            .map(|name| (self.world.uid(&name), name));
        let is_at_work = |uid: &String| self.world.working().any(|working| working == uid);
        let without = operations.find(|(uid, name)| is_at_work(uid) && !lock.contains(name));
        assert_eq!(without, None, "works without the lock");
    }

    /// People have had their say, and nothing hangs any more: it all comes to rest.
    fn comes_to_rest(&mut self) {
        self.world.unguard();
        for _ in 0..400 {
            if !self.world.is_working() && self.world.decide().0.is_empty() {
                return self.check_rest();
            }
            self.stride(usize::MAX, None);
            self.world.work().wait(1);
        }
        panic!("it doesn't come to rest: {:#?}", self.world.decide());
    }

    fn check_rest(&self) {
        let world = &self.world;
        if world.is_gone() {
            let is_kept = |pool: &String| world.is_kept(&ObjectId::Pool(pool.clone()));
            let left: Vec<_> = world.pools().filter(is_kept).collect();
            assert!(left.is_empty(), "{left:?} wait for a cluster that is gone");
            return;
        }
        assert_eq!(world.unfinished(), Vec::<String>::new());
        assert_eq!(world.lock(), Vec::<String>::new());
        let status = world.cluster_status();
        assert_told(&status.conditions, CLUSTER);
        if is_ready(&status.conditions) {
            assert_eq!(status.kubernetes_version, Some(world.wanted_version()));
            let (told, wanted) = world.power();
            assert_eq!(told, wanted);
        }
        for pool in world.pools() {
            let told = world.pool_status(&pool);
            let waits_for_cluster =
                status.kubernetes_version.is_none() || world.is_going(&ObjectId::Cluster);
            if !waits_for_cluster {
                assert_told(&told.conditions, &pool);
            }
            if is_ready(&told.conditions) {
                let (count, own) = world.wanted_nodes(&pool);
                let runs = status.kubernetes_version.clone().unwrap_or_default();
                let expected = vec![own.map_or(runs.clone(), |own| own.min(runs)); count];
                assert_eq!(world.versions(&pool), expected, "{pool}");
            }
            let is_mended = world.cordoned(&pool) == 0;
            assert!(is_mended || self.was_forced, "{pool} takes pods");
        }
    }
}

fn check_transition(name: &str, before: &OperationStatus, after: &OperationStatus) {
    use OperationPhase::{Canceled, Canceling, Failed, InProgress, Succeeded};
    // Where an abort is refused, the operation goes on.
    let goes_on = before.phase == Canceling && after.phase == InProgress;
    let may_follow = before.phase.may_become(after.phase)
        && (!goes_on || is_refused(after))
        && (!before.phase.is_finished() || after == before);
    let change = format!("{name}: {before:#?} to {after:#?}");
    assert!(may_follow, "{change}");
    assert!(
        before.percent_complete <= after.percent_complete,
        "{change}"
    );
    assert_eq!(
        after.percent_complete == 100,
        after.phase == Succeeded,
        "{change}"
    );
    assert_eq!(
        after.end_time.is_some(),
        after.phase.is_finished(),
        "{change}"
    );
    if let Some(cancellation) = &after.cancellation {
        use CancellationStatus as Status;
        let expected = match after.phase {
            Canceled => Status::Successful,
            // It goes on where the abort was refused.
            Succeeded | Failed | InProgress => Status::Failed,
            _ => Status::InProgress,
        };
        assert_eq!(cancellation.status, expected, "{change}");
    }
}

fn is_refused(status: &OperationStatus) -> bool {
    let cancellation = status.cancellation.as_ref();
    cancellation.is_some_and(|cancellation| cancellation.status == CancellationStatus::Failed)
}

fn check_lock(held: &[OperationInFlight]) {
    for (at, one) in held.iter().enumerate() {
        for other in &held[at + 1..] {
            assert!(
                !excludes(&one.target, &other.target),
                "{} and {} both hold the lock",
                one.name,
                other.name
            );
        }
    }
}

/// It is as its spec says, or says itself that it waits for someone.
fn assert_told(conditions: &[Condition], of: &str) {
    let is_stalled = condition(conditions, "Stalled").0 == "True";
    assert!(is_ready(conditions) != is_stalled, "{of}: {conditions:#?}");
}

fn is_ready(conditions: &[Condition]) -> bool {
    condition(conditions, "Ready").0 == "True"
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1536,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_rules_hold_and_it_comes_to_rest(
        is_settled: bool,
        events in events(),
    ) {
        let mut checked = Checked::new(is_settled);
        for event in &events {
            checked.happens(event);
        }
        checked.comes_to_rest();
    }
}
