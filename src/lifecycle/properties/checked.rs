//! A world whose every action is checked.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{
        CancellationStatus, ENGINE_HANDLE_ANNOTATION, FOR_GENERATION_LABEL, Operation,
        OperationInFlight, OperationPhase, OperationSpec, OperationStatus, OperationType,
    },
    lifecycle::{
        action::Action,
        desired::aspects_of,
        facts::Facts,
        fixtures::{CLUSTER, Kind, NEW, OLD, World, cluster, condition, pool},
        gate::excludes,
        snapshot::{ObjectId, Stop},
    },
};

use super::events::{Event, OperationEvent, PoolEvent};

/// A world whose every action is checked.
pub struct Checked {
    pub world: World,
    /// The statuses that were written last, by the Operations' uids.
    written: BTreeMap<String, OperationStatus>,
    /// The Operations that follow what others began.
    followers: BTreeSet<String>,
    /// Whether an Operation was removed by force: then its nodes are left to the next one.
    was_forced: bool,
    /// Whether what is done now was decided on an old view.
    is_stale: bool,
}

impl Checked {
    /// From a cluster that is settled, or from one that Belay has just seen.
    pub fn new(is_settled: bool) -> Self {
        let mut world = World::new().with_pool("np1", 2);
        if is_settled {
            world.settle();
        } else {
            world.stride();
        }
        Self {
            world,
            written: BTreeMap::new(),
            followers: BTreeSet::new(),
            was_forced: false,
            is_stale: false,
        }
    }

    pub fn happens(&mut self, event: &Event) {
        match event {
            Event::Stride => self.stride(usize::MAX, None),
            Event::Die(actions) => {
                self.stride(*actions, None);
                self.world.restart();
            }
            Event::Meanwhile(actions, event) => self.stride(*actions, Some(event)),
            Event::Rival(kind) => self.strides_beside(*kind),
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
            Event::EditElsewhere(limit) => {
                world.edit_cluster(&json!({"operationHistoryLimit": limit}))
            }
            Event::SetAbortPolicy(policy) => world.set_abort_policy(&ObjectId::Cluster, *policy),
            Event::RefuseSpecs(refuses) => world.refuse_specs(*refuses),
            Event::LoseControlPlane => world.lose_control_plane(),
            Event::LoseSight(is_lost) => world.lose_sight(*is_lost),
            Event::RefuseToStop(refuses) => world.refuse_to_stop(*refuses),
            Event::OthersBegin(name) => world.others_begin(OperationSpec {
                type_: OperationType::Scale,
                target: pool(name),
                kubernetes_version: None,
                count: Some(1),
            }),
            Event::Remember => world.remember(),
            Event::AbortCluster(reason) => world.abort_on(&ObjectId::Cluster, reason),
            Event::DeleteCluster => world.delete(&ObjectId::Cluster),
            Event::Pool(pool, event) => self.befalls_pool(pool, event),
            Event::Operation(at, event) => self.befalls_operation(*at, event),
            Event::Ask(name, type_, on) => {
                let name = format!("asked-{name}");
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
            Event::Stride | Event::Die(_) | Event::Rival(_) | Event::Meanwhile(..) => {
                unreachable!("an operator's")
            }
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
            PoolEvent::MakeSystem if exists => world.make_system(pool),
            PoolEvent::SetAbortPolicy(policy) if exists => world.set_abort_policy(&id, *policy),
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
            OperationEvent::AbortNow => world.abort_now(name, "stop"),
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

    /// Two operators act in turns. The other one's cache of a kind is old.
    fn strides_beside(&mut self, kind: Kind) {
        self.is_stale = true;
        let mut passes = [self.world.pass_on_old(kind), self.world.pass()];
        let mut is_going = true;
        while is_going {
            is_going = false;
            for pass in &mut passes {
                // Work is a leader's alone: the other's writes are fenced, and its work with them.
                if let Some(action) = self.world.act(pass) {
                    is_going = true;
                    self.check(&action);
                }
            }
        }
        self.is_stale = false;
        // A write that conflicts is followed by a pass on what is there, before the work goes on.
        self.happens(&Event::Stride);
    }

    /// Nothing is created for what is held back.
    fn check_hold(&self, operation: &Operation) {
        let snapshot = self.world.snapshot();
        let facts = Facts::of(&snapshot, self.world.now());
        let Some(target) = facts.target(&operation.spec.target) else {
            return;
        };
        let about = match operation.spec.type_ {
            // It is for what nobody asked for: a node that is gone.
            OperationType::Reconcile | OperationType::Update | OperationType::Create => return,
            type_ => aspects_of(type_),
        };
        let held = target.held.all();
        let labels = operation.metadata.labels.clone().unwrap_or_default();
        let is_from_spec = labels.contains_key(FOR_GENERATION_LABEL);
        assert!(
            !is_from_spec || !about.is_subset(&held),
            "{:?} is made though {held:?} is held",
            operation.spec
        );
    }

    fn check(&mut self, action: &Action) {
        self.check_work();
        if let Action::CreateOperation(operation) = action
            && operation
                .annotations()
                .contains_key(ENGINE_HANDLE_ANNOTATION)
        {
            self.followers.insert(operation.name_any());
        }
        match action {
            Action::CreateOperation(operation) if !self.is_stale => self.check_hold(operation),
            Action::WriteOperationStatus { name, status } => {
                let before = self
                    .written
                    .insert(self.world.uid(name), (**status).clone());
                check_transition(name, &before.unwrap_or_default(), status);
            }
            Action::WriteClusterStatus(status) => self.check_lock(&status.operations),
            Action::StartWork { job, stop }
                if self
                    .world
                    .exists(&ObjectId::Operation(job.operation.clone())) =>
            {
                let phase = self.world.phase(&job.operation);
                let holds = self.world.lock().contains(&job.operation);
                assert!(holds, "{} works without the lock", job.operation);
                // The fence lets only one of two operators write, so nobody cancels in between.
                let may_begin_steps = phase == OperationPhase::InProgress || self.is_stale;
                assert!(
                    *stop != Stop::No || may_begin_steps,
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

    /// No two holders of the lock exclude each other, except those that others began outside Belay.
    fn check_lock(&self, held: &[OperationInFlight]) {
        let held = held
            .iter()
            .filter(|held| !self.followers.contains(&held.name));
        let held: Vec<_> = held.collect();
        for (at, one) in held.iter().enumerate() {
            for other in &held[at + 1..] {
                let both = format!("{} and {} both hold the lock", one.name, other.name);
                assert!(!excludes(&one.target, &other.target), "{both}");
            }
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
    pub fn comes_to_rest(&mut self) {
        self.world.unguard().refuse_specs(false);
        self.world.lose_sight(false).refuse_to_stop(false);
        self.world
            .edit_cluster(&json!({"operationHistoryLimit": 3}));
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
        for target in std::iter::once(cluster()).chain(world.pools().map(|name| pool(&name))) {
            let kept = world.finished_on(&target);
            assert!(kept.0 <= 3 && kept.1 <= 3, "{target:?} keeps {kept:?}");
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
    use OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending, Succeeded};
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
            Succeeded | Failed | InProgress | Pending => Status::Failed,
            Canceling => Status::InProgress,
        };
        assert_eq!(cancellation.status, expected, "{change}");
    }
}

fn is_refused(status: &OperationStatus) -> bool {
    let cancellation = status.cancellation.as_ref();
    cancellation.is_some_and(|cancellation| cancellation.status == CancellationStatus::Failed)
}

/// It is as its spec says, or says itself that it waits for someone.
fn assert_told(conditions: &[Condition], of: &str) {
    let is_stalled = condition(conditions, "Stalled").0 == "True";
    assert!(is_ready(conditions) != is_stalled, "{of}: {conditions:#?}");
}

fn is_ready(conditions: &[Condition]) -> bool {
    condition(conditions, "Ready").0 == "True"
}
