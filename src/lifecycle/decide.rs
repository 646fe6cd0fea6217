//! Turns a snapshot into actions: facts, transitions, ledger, report, actions.

use jiff::Timestamp;

use crate::api::{OperationPhase, PoolOperation};

use super::{
    action::Action,
    creation,
    facts::Facts,
    finalizers,
    ledger::{self, Ledger},
    leftovers, orphaned_deletion,
    report::{self, Report},
    snapshot::{Snapshot, Work},
    transition::{self, Transition},
};

/// Returns when to decide again although nothing changes: when the next timeout of an operation is over. None if there is
/// no such time.
pub fn due_at(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    let facts = Facts::of(snapshot, now);
    let unfinished = facts.unfinished();
    unfinished
        .filter_map(|operation| operation.due_at(&facts))
        .min()
}

/// Decides what to do now. A settled snapshot needs nothing, so it returns no action.
///
/// `now` is truncated to whole seconds, as times in Kubernetes are.
pub fn decide(snapshot: &Snapshot, now: Timestamp) -> Vec<Action> {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let facts = Facts::of(snapshot, now);
    let mut transitions = transition::all(&facts);
    for transition in &mut transitions {
        let (object, waits) = (transition.operation.object, transition.waits.clone());
        report::of_operation(&mut transition.status, object, &waits, now);
    }
    let ledger = Ledger::of(&facts, &transitions);
    let report = Report {
        facts: &facts,
        transitions: &transitions,
        ledger: &ledger,
    };
    // An abort waits for nothing: it is accepted even if nothing else can be written.
    let mut actions = write_operations(&transitions, When::Urgent);
    actions.extend(stop_work(&transitions));
    actions.extend(finalizers::keep(&facts));
    actions.extend(finalizers::keep_operations(&transitions));
    // Create these before their replacements are written as Failed: afterwards nobody would ask for them again.
    actions.extend(creation::asked_again(&facts, &transitions));
    actions.extend(write_operations(&transitions, When::First));
    actions.extend(write_targets(&facts, &report));
    // If an operation ends without having begun, record it on its target first. If Belay lost it in between, the spec
    // would ask for the same operation again.
    actions.extend(write_operations(&transitions, When::Last));
    actions.extend(change_specs(&transitions));
    actions.extend(start_work(&transitions));
    actions.extend(forget_work(&facts));
    // Before anything is created, because a quota may have no room for more.
    actions.extend(prune(&facts));
    actions.extend(creation::following(&facts));
    actions.extend(creation::needed(&facts, &ledger));
    actions.extend(orphaned_deletion::work(&facts));
    actions.extend(finalizers::release(&facts, &transitions));
    actions.extend(
        transitions
            .iter()
            .flat_map(|transition| report::notes(&facts, transition))
            .map(Action::Publish),
    );
    actions.extend(finalizers::label(&facts));
    actions.extend(leftovers::mend(&facts));
    actions.extend(
        ledger::unseen(&facts)
            .into_iter()
            .map(|held| Action::LookForOperation {
                name: held.name.clone(),
                uid: held.uid.clone(),
            }),
    );
    actions
}

/// Stops what is in process, once `Canceling` is written.
fn stop_work(transitions: &[Transition<'_, '_>]) -> Vec<Action> {
    let stops = transitions.iter().filter_map(|transition| {
        let stop = transition.stop;
        match transition.operation.work {
            Some(Work::Running(_, asked)) if *asked < stop => Some(Action::StopWork {
                uid: transition.operation.uid.to_owned(),
                stop,
            }),
            _ => None,
        }
    });
    stops.collect()
}

/// When an Operation's status is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before everything else: the Operation is stopping, or Belay sees it for the first time. Its place in the order
    /// of arrival is recorded before anything else changes its resourceVersion.
    Urgent,
    /// Before the statuses of the targets.
    First,
    /// After the statuses of the targets.
    Last,
}

impl When {
    fn of(transition: &Transition<'_, '_>) -> Self {
        match transition.status.phase {
            OperationPhase::Canceling => Self::Urgent,
            OperationPhase::Pending if transition.operation.status.arrival.is_none() => {
                Self::Urgent
            }
            OperationPhase::Canceled if ledger::never_took_the_lock(transition) => Self::Last,
            _ => Self::First,
        }
    }
}

fn write_operations(transitions: &[Transition<'_, '_>], when: When) -> Vec<Action> {
    transitions
        .iter()
        .filter(|transition| {
            transition.operation.object.status.as_ref() != Some(&transition.status)
        })
        .filter(|transition| When::of(transition) == when)
        .map(|transition| Action::WriteOperationStatus {
            name: transition.operation.name.to_owned(),
            status: Box::new(transition.status.clone()),
        })
        .collect()
}

fn change_specs(transitions: &[Transition<'_, '_>]) -> Vec<Action> {
    let changes = transitions.iter().filter_map(|transition| {
        Some(Action::ChangeSpec {
            uid: transition.operation.uid.to_owned(),
            change: transition.change.clone()?,
        })
    });
    changes.collect()
}

fn start_work(transitions: &[Transition<'_, '_>]) -> Vec<Action> {
    let starts = transitions.iter().filter_map(|transition| {
        Some(Action::StartWork {
            job: transition.start.clone()?,
            stop: transition.stop,
        })
    });
    starts.collect()
}

/// Writes the statuses of the cluster and its pools. The cluster's status contains the lock. Pools that record an
/// operation's end are written before it, because it releases the lock. Pools that show an operation that takes the
/// lock are written after it, so that they never show one that didn't get the lock.
fn write_targets(facts: &Facts<'_>, report: &Report<'_, '_>) -> Vec<Action> {
    let cluster = report.cluster();
    let held_before = |uid: &str| facts.snapshot.lock().iter().any(|held| held.uid == uid);
    let taking = cluster.operations.iter();
    let taking: Vec<_> = taking.filter(|held| !held_before(&held.uid)).collect();
    let takes_it = |shown: &PoolOperation| taking.iter().any(|held| held.name == shown.name);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for target in &facts.pools {
        let Some(pool) = &target.pool else { continue };
        let status = report.pool(target, pool, &cluster);
        if pool.object.status.as_ref() == Some(&status) {
            continue;
        }
        let group = if status.operation.as_ref().is_some_and(takes_it) {
            &mut after
        } else {
            &mut before
        };
        group.push(Action::WritePoolStatus {
            name: target.key.name.clone(),
            status: Box::new(status),
        });
    }
    if facts.snapshot.cluster.status.as_ref() != Some(&cluster) {
        before.push(Action::WriteClusterStatus(Box::new(cluster)));
    }
    before.extend(after);
    before
}

/// Forgets work of Operations that ended and whose end is written, and of Operations that no longer exist.
fn forget_work(facts: &Facts<'_>) -> Vec<Action> {
    let work = facts.snapshot.work.keys();
    let over = work
        .filter(|uid| facts.snapshot.is_over(uid) && !orphaned_deletion::is_its_work(facts, uid));
    over.map(|uid| Action::ForgetWork { uid: uid.clone() })
        .collect()
}

/// Deletes finished Operations beyond the history limit.
fn prune(facts: &Facts<'_>) -> Vec<Action> {
    let surplus = ledger::surplus(facts).into_iter();
    surplus
        .map(|operation| Action::DeleteOperation(operation.name.to_owned()))
        .collect()
}
