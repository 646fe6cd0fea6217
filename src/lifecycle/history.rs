//! How many finished Operations are kept.

use crate::api::Operation;

use super::{Action, Snapshot, finalizers, names::name_of, phase};

/// How many are deleted in one go.
const BATCH: usize = 20;

/// Deletes the finished Operations of the cluster and its pools beyond its limit, those that ended first
/// first. What isn't noted on its target yet, or is kept by a finalizer, stays.
pub(super) fn prune(snapshot: &Snapshot) -> Vec<Action> {
    let limit = usize::try_from(snapshot.cluster.spec.operation_history_limit).unwrap_or_default();
    let is_over = |operation: &&std::sync::Arc<Operation>| {
        phase::of(operation).is_finished()
            && !phase::holds_lock(snapshot, operation)
            && operation.metadata.deletion_timestamp.is_none()
    };
    let mut over: Vec<_> = snapshot.operations.iter().filter(is_over).collect();
    over.sort_by_key(|operation| {
        let ended = operation.status.as_ref().and_then(|status| {
            let end = status.end_time.as_ref()?;
            Some(end.0)
        });
        (ended, name_of(operation))
    });
    let surplus = over.len().saturating_sub(limit);
    over.into_iter()
        .take(surplus)
        .filter(|operation| !finalizers::is_kept(&operation.metadata))
        .take(BATCH)
        .map(|operation| Action::DeleteOperation(name_of(operation)))
        .collect()
}
