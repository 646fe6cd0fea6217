//! From a snapshot to what must be written and done: facts, transitions, ledger, report, actions.

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

/// Decides what to do now. A settled snapshot needs nothing: then there is no action.
///
/// `now` is cut to whole seconds, as Kubernetes' times are.
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
    // An abort waits for nothing: whatever else can't be written, it is accepted.
    let mut actions = write_operations(&transitions, When::Urgent);
    actions.extend(stop_work(&transitions));
    actions.extend(finalizers::keep(&facts));
    actions.extend(finalizers::keep_operations(&transitions));
    // Created before what replaced them is written Failed: then nobody would ask for them again.
    actions.extend(creation::asked_again(&facts, &transitions));
    actions.extend(write_operations(&transitions, When::First));
    actions.extend(write_targets(&facts, &report));
    // An operation that ends without having begun is kept on its target first: were it forgotten in between,
    // the spec would ask for the same operation again.
    actions.extend(write_operations(&transitions, When::Last));
    actions.extend(change_specs(&transitions));
    actions.extend(start_work(&transitions));
    actions.extend(forget_work(&facts));
    // Before anything is created: a quota may have no room for more.
    actions.extend(prune(&facts));
    actions.extend(creation::following(&facts));
    actions.extend(creation::needed(&facts, &ledger));
    actions.extend(orphaned_deletion::work(&facts));
    actions.extend(finalizers::release(&facts, &transitions));
    actions.extend(
        transitions
            .iter()
            .filter_map(|transition| report::note(&facts, transition))
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

/// Once `Canceling` is written, what is in process comes to a stop.
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
    /// Before all else: it is coming to a stop, or it is seen for the first time. Its place in the order of arrival is
    /// kept before anything else changes its resourceVersion.
    Urgent,
    /// Before its targets' statuses.
    First,
    /// After them.
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

/// The cluster's status is the lock. Pools that record an operation's end are written before it: then the lock is
/// released. Pools that show an operation that takes the lock are written after it: they never show one that
/// didn't get it.
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

/// Work of Operations that have ended and were written so, or that are no more.
fn forget_work(facts: &Facts<'_>) -> Vec<Action> {
    let work = facts.snapshot.work.keys();
    let over = work
        .filter(|uid| facts.snapshot.is_over(uid) && !orphaned_deletion::is_its_work(facts, uid));
    over.map(|uid| Action::ForgetWork { uid: uid.clone() })
        .collect()
}

/// Finished Operations beyond what is kept.
fn prune(facts: &Facts<'_>) -> Vec<Action> {
    let surplus = ledger::surplus(facts).into_iter();
    surplus
        .map(|operation| Action::DeleteOperation(operation.name.to_owned()))
        .collect()
}
