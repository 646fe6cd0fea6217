//! Predicts what will happen to a cluster if nothing interferes. The core decides, the decisions are applied to the
//! snapshot in memory, and all work ends as planned.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use crate::api::{Operation, OperationPhase, OperationStatus, Step};

use super::{
    action::Action,
    decide::decide,
    edit::id_of,
    gate::SpecChange,
    observed::ControlPlaneView,
    plan::{Job, Stage},
    snapshot::{ObjectId, Progress, Snapshot, Stop, Work},
    steps,
    windows::Windows,
};

/// More passes than a cluster needs to settle.
const ENOUGH: usize = 400;

/// An Operation and its predicted course.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// The Operation as it ends.
    pub operation: Operation,
    /// When it begins. Operations of the same turn run in parallel; those of the next turn wait for them. 0 if it is
    /// in flight now; None if it never begins.
    pub turn: Option<usize>,
    /// When the maintenance window opens that it waits for. None if it waits for no window.
    pub window: Option<Timestamp>,
    /// Whether the Operation doesn't exist yet.
    pub is_new: bool,
    /// What it does, stage by stage.
    pub parts: Vec<Part>,
}

/// What an Operation does to the control plane or to one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The pool. None for the control plane.
    pub pool: Option<String>,
    /// The steps.
    pub steps: Vec<Step>,
    /// The nodes of the pool that are drained.
    pub drained: Vec<String>,
    /// The highest number of nodes that the cluster has meanwhile.
    pub most_nodes: usize,
}

/// Returns the Operations that haven't ended and those that Belay will create until the next maintenance window is over, in
/// the order in which they begin. Those that never begin come last.
pub fn forecast(snapshot: Snapshot, now: Timestamp) -> Vec<Foreseen> {
    let mut future = Future::new(snapshot, now);
    future.come_to_rest();
    let mut foreseen: Vec<_> = future.foreseen.into_values().collect();
    let turns: BTreeSet<_> = foreseen.iter().filter_map(|seen| seen.turn).collect();
    let later: Vec<_> = turns.into_iter().filter(|turn| *turn > 0).collect();
    for turn in foreseen.iter_mut().filter_map(|seen| seen.turn.as_mut()) {
        *turn = later.binary_search(turn).map_or(0, |at| at + 1);
    }
    foreseen.sort_by_key(|seen| {
        let metadata = &seen.operation.metadata;
        let turn = seen.turn.unwrap_or(usize::MAX);
        (
            turn,
            metadata.creation_timestamp.clone(),
            seen.operation.name_any(),
        )
    });
    foreseen
}

fn phase_of(operation: &Operation) -> OperationPhase {
    let status = operation.status.as_ref();
    status.map(|status| status.phase).unwrap_or_default()
}

/// A snapshot that advances.
struct Future {
    snapshot: Snapshot,
    now: Timestamp,
    jobs: BTreeMap<String, Job>,
    foreseen: BTreeMap<String, Foreseen>,
    /// Counts the rounds in which work ended, from 1.
    turn: usize,
    /// When the maintenance window opened that it has waited for.
    window: Option<Timestamp>,
    is_gone: bool,
}

impl Future {
    /// Work that runs is started anew, as after a restart.
    fn new(mut snapshot: Snapshot, now: Timestamp) -> Self {
        snapshot.work.clear();
        let unfinished = snapshot
            .operations
            .iter()
            .filter(|operation| !phase_of(operation).is_finished());
        let seen = |operation: &Arc<Operation>| Foreseen {
            operation: operation.as_ref().clone(),
            turn: (phase_of(operation) != OperationPhase::Pending).then_some(0),
            window: None,
            is_new: false,
            parts: Vec::new(),
        };
        let foreseen = unfinished.map(|operation| (operation.name_any(), seen(operation)));
        Self {
            foreseen: foreseen.collect(),
            snapshot,
            now,
            jobs: BTreeMap::new(),
            turn: 1,
            window: None,
            is_gone: false,
        }
    }

    fn come_to_rest(&mut self) {
        for _ in 0..ENOUGH {
            let actions = decide(&self.snapshot, self.now);
            if self.is_gone || (actions.is_empty() && !self.end_work() && !self.go_to_window()) {
                return;
            }
            for action in actions {
                self.perform(action);
            }
        }
    }

    /// Goes on to the moment at which the next maintenance window opens. Returns false if none opens, or if it was there
    /// before: no more than one window is waited for.
    fn go_to_window(&mut self) -> bool {
        let windows = Windows::at(&self.snapshot.cluster.spec.maintenance_windows, self.now);
        match windows {
            Windows::Closed { opens_at, .. } if self.window.is_none() => {
                self.now = opens_at;
                self.window = Some(opens_at);
                true
            }
            _ => false,
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::AddFinalizer(id) => self.snapshot.set_finalizer(&id, true),
            Action::RemoveFinalizer(id) => {
                self.snapshot.set_finalizer(&id, false);
                self.remove_if_let_go(&id);
            }
            Action::AdoptPool(name) => self.snapshot.adopt(&name),
            Action::Label { id, label, has } => self.snapshot.label(&id, label, has),
            Action::DeletePool(name) => self.delete(&ObjectId::Pool(name)),
            Action::DeleteOperation(name) => self.delete(&ObjectId::Operation(name)),
            Action::CreateOperation(operation) => self.create(*operation),
            Action::ChangeSpec { change, .. } => self.change_spec(&change),
            Action::WriteOperationStatus { name, status } => self.write(&name, *status),
            Action::WritePoolStatus { name, status } => {
                if let Some(pool) = self.snapshot.pool_mut(&name) {
                    pool.status = Some(*status);
                }
            }
            Action::WriteClusterStatus(status) => {
                Arc::make_mut(&mut self.snapshot.cluster).status = Some(*status);
            }
            Action::StartWork { job, stop } => self.start(*job, stop),
            Action::StopWork { uid, stop } => {
                let work = Work::Running(Progress::default(), stop);
                self.snapshot.work.insert(uid, work);
            }
            Action::ForgetWork { uid } => {
                self.snapshot.work.remove(&uid);
                self.jobs.remove(&uid);
            }
            Action::LookForOperation { uid, .. } => {
                self.snapshot.gone.insert(uid);
            }
            Action::Mend { uids } => self.snapshot.mend(&uids),
            Action::Publish(_) => {}
        }
    }

    fn create(&mut self, mut operation: Operation) {
        let name = operation.name_any();
        if self.snapshot.operation(&name).is_some() {
            return;
        }
        operation.metadata.uid = Some(format!("foreseen-{name}"));
        operation.metadata.generation = Some(1);
        operation.metadata.creation_timestamp = Some(Time(self.now));
        let seen = Foreseen {
            operation: operation.clone(),
            turn: None,
            window: None,
            is_new: true,
            parts: Vec::new(),
        };
        self.foreseen.insert(name, seen);
        self.snapshot.operations.push(Arc::new(operation));
        self.snapshot.put_in_order();
    }

    fn write(&mut self, name: &str, status: OperationStatus) {
        let Some(operation) = self.snapshot.operation_mut(name) else {
            return;
        };
        operation.status = Some(status);
        if let Some(seen) = self.foreseen.get_mut(name) {
            seen.operation = operation.clone();
        }
    }

    fn start(&mut self, job: Job, stop: Stop) {
        if let Some(seen) = self.foreseen.get_mut(&job.operation) {
            if seen.turn.is_none() {
                (seen.turn, seen.window) = (Some(self.turn), self.window);
            }
            if stop == Stop::No {
                let part = |stage: &Stage| Part::of(stage, &job.uid, &self.snapshot);
                seen.parts = job.stages.iter().map(part).collect();
            }
        }
        let work = Work::Running(Progress::default(), stop);
        self.snapshot.work.insert(job.uid.clone(), work);
        self.jobs.insert(job.uid.clone(), job);
    }

    /// Ends all work. Returns whether there was any.
    fn end_work(&mut self) -> bool {
        let mut has_ended = false;
        for (uid, job) in &self.jobs {
            let Some(Work::Running(progress, stop)) = self.snapshot.work.get(uid) else {
                continue;
            };
            let progress = progress.clone();
            let end = if *stop == Stop::No {
                bring_about(&mut self.snapshot, job);
                Work::Done(progress)
            } else {
                Work::Stopped(progress)
            };
            self.snapshot.work.insert(uid.clone(), end);
            has_ended = true;
        }
        self.turn += 1;
        has_ended
    }

    fn change_spec(&mut self, change: &SpecChange) {
        let id = id_of(&change.target);
        match &change.spec {
            None => self.delete(&id),
            Some(fields) => {
                self.snapshot.change_spec(&change.target, fields);
                self.next_generation(&id);
            }
        }
    }

    fn delete(&mut self, id: &ObjectId) {
        let now = self.now;
        if let Some(metadata) = self.snapshot.metadata_mut(id) {
            metadata.deletion_timestamp.get_or_insert(Time(now));
        }
        self.next_generation(id);
        self.remove_if_let_go(id);
    }

    fn next_generation(&mut self, id: &ObjectId) {
        if let Some(metadata) = self.snapshot.metadata_mut(id) {
            *metadata.generation.get_or_insert_default() += 1;
        }
    }

    fn remove_if_let_go(&mut self, id: &ObjectId) {
        let is_let_go = self.snapshot.remove_if_let_go(id);
        self.is_gone |= is_let_go && *id == ObjectId::Cluster;
    }
}

impl Part {
    fn of(stage: &Stage, uid: &str, snapshot: &Snapshot) -> Self {
        Self {
            pool: match stage {
                Stage::ControlPlane(_) | Stage::Follow(_) => None,
                Stage::Pool(goal) => Some(goal.pool.clone()),
            },
            steps: steps::of_stage(stage, uid, snapshot, usize::MAX),
            drained: drained(stage, uid, snapshot),
            most_nodes: most_nodes(stage, snapshot),
        }
    }
}

fn drained(stage: &Stage, uid: &str, snapshot: &Snapshot) -> Vec<String> {
    match stage {
        Stage::ControlPlane(_) | Stage::Follow(_) => Vec::new(),
        Stage::Pool(goal) => (snapshot.rules).drained(goal, uid, snapshot.nodes(&goal.pool)),
    }
}

fn most_nodes(stage: &Stage, snapshot: &Snapshot) -> usize {
    let nodes = &snapshot.observed.nodes;
    match stage {
        Stage::ControlPlane(_) | Stage::Follow(_) => nodes.values().map(Vec::len).sum(),
        Stage::Pool(goal) => goal.most_nodes(nodes),
    }
}

/// Changes the snapshot as the job asks.
fn bring_about(snapshot: &mut Snapshot, job: &Job) {
    for stage in &job.stages {
        match stage {
            // What others began isn't planned here, so its outcome isn't known.
            Stage::Follow(_) => {}
            Stage::ControlPlane(goal) => {
                snapshot.observed.control_plane = goal.map(|goal| ControlPlaneView {
                    version: goal.version,
                    running: goal.running,
                    changing_to: None,
                });
                snapshot.observed.is_unsettled = false;
            }
            Stage::Pool(goal) => {
                let nodes = snapshot
                    .rules
                    .outcome(goal, &job.uid, snapshot.nodes(&goal.pool));
                snapshot.observed.nodes.insert(goal.pool.clone(), nodes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
