//! Once deletion has started, only deletion is allowed.

use jiff::Timestamp;

use crate::{
    api::OperationType,
    lifecycle::{
        facts::{Facts, deletion_in_the_way, is_deletion},
        messages,
    },
};

use super::{Request, Source, Verdict, clock, not_allowed, replaced};

/// Refuses what came after a deletion was requested. Operations that waited before the deletion are aborted
/// elsewhere.
pub fn allows_only_deletion(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let target = facts.target(&request.spec.target)?;
    let of_cluster = facts.cluster.deleted.filter(|_| request.is_on_pool());
    let cluster = &facts.cluster.key.name;
    match request.source {
        Source::Operation(operation) => {
            if of_cluster.is_some() && is_deletion(facts, operation) {
                let why = messages::goes_with_its_cluster(&target.key.name, cluster);
                return Some(replaced(why));
            }
            let (deleted, since) = deletion_in_the_way(facts, operation)?;
            let came_after = operation.created.is_some_and(|asked| asked >= since);
            (came_after && operation.is_asked()).then(|| refused(facts, request, &deleted, since))
        }
        Source::Scale => {
            let of_pool = target.deleted.map(|since| (&target.key.name, since));
            let (deleted, since) = of_cluster.map(|since| (cluster, since)).or(of_pool)?;
            Some(refused(facts, request, deleted, since))
        }
        Source::Spec => {
            of_cluster.map(|_| Verdict::Wait("waits for its cluster's deletion".into()))
        }
    }
}

fn refused(facts: &Facts<'_>, request: &Request<'_>, deleted: &str, since: Timestamp) -> Verdict {
    let type_: OperationType = request.spec.type_;
    let name = &request.spec.target.name;
    let now = clock(facts, request);
    not_allowed(messages::deletion_was_issued(
        type_, name, deleted, since, now,
    ))
}
