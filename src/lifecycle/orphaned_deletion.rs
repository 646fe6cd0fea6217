//! The deletion of a cluster when no Operation can be created for it, such as in a namespace that is being deleted.
//! The work runs without an Operation and is identified by the cluster's uid.

use super::{
    action::Action,
    facts::Facts,
    plan::Job,
    planning,
    snapshot::{Stop, Work},
};

/// Starts the work once nothing else is in flight.
pub fn work(facts: &Facts<'_>) -> Vec<Action> {
    if !is_needed(facts) {
        return Vec::new();
    }
    match facts.snapshot.work.get(facts.cluster.uid) {
        None => {
            let plan = planning::deletion_of_cluster(facts);
            let job = Job {
                uid: facts.cluster.uid.to_owned(),
                operation: format!("deletion of {}", facts.cluster.key.name),
                ..planning::job_without_operation(facts.snapshot, &plan)
            };
            vec![Action::StartWork {
                job: Box::new(job),
                stop: Stop::No,
            }]
        }
        Some(Work::Stopped(_) | Work::Refused(..) | Work::Failed(..)) => vec![Action::ForgetWork {
            uid: facts.cluster.uid.to_owned(),
        }],
        Some(Work::Running(..) | Work::Done(_)) => Vec::new(),
    }
}

fn is_needed(facts: &Facts<'_>) -> bool {
    let namespace_goes = facts.snapshot.namespace_is_terminating;
    namespace_goes
        && facts.cluster.deleted.is_some()
        && !facts.cluster.is_gone()
        && facts.unfinished().next().is_none()
}

/// Whether that work is such a deletion.
pub fn is_its_work(facts: &Facts<'_>, uid: &str) -> bool {
    uid == facts.cluster.uid && is_needed(facts)
}

/// Whether everything of the cluster is deleted.
pub fn is_done(facts: &Facts<'_>) -> bool {
    let work = facts.snapshot.work.get(facts.cluster.uid);
    is_needed(facts) && matches!(work, Some(Work::Done(_)))
}
