//! Why a pool can't be scaled now, told in its status for the API server to read, and the label by which it
//! finds the few pools of which that is so.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use crate::api::{
    AgentPool, ConcurrencyPolicy, OperationInFlight, OperationPhase, OperationTarget,
    OperationType, SCALE_REFUSED_LABEL, TargetKind,
};

use super::{Action, Snapshot, lock, messages};

/// Why the pool can't be scaled now, with that lock. What a person's Operation asks for is written into the
/// spec before it runs.
pub(super) fn of(
    snapshot: &Snapshot,
    lock: &[OperationInFlight],
    pool: &AgentPool,
) -> Option<String> {
    let cluster = &snapshot.cluster;
    let target = OperationTarget {
        kind: TargetKind::AgentPool,
        name: pool.name_any(),
    };
    let deletion = |metadata: &ObjectMeta| {
        let since = metadata.deletion_timestamp.as_ref()?.0;
        let deleted = metadata.name.as_deref().unwrap_or_default();
        let type_ = OperationType::Scale;
        Some(messages::deletion_was_issued(
            type_,
            &target.name,
            deleted,
            since,
            None,
        ))
    };
    let forbids = |held: &&OperationInFlight| {
        let is_written_now =
            held.type_ == OperationType::Scale && held.phase == OperationPhase::Pending;
        cluster.spec.concurrency_policy == ConcurrencyPolicy::Forbid && !is_written_now
    };
    deletion(&cluster.metadata)
        .or_else(|| deletion(&pool.metadata))
        .or_else(|| {
            let held = lock::conflict(lock, &target).filter(forbids)?;
            Some(messages::another_operation(&target, held))
        })
}

/// Labels the pools whose status refuses a scale, and no others. It only finds them: what holds is the
/// status, which is written first.
pub(super) fn label(snapshot: &Snapshot) -> Vec<Action> {
    let refuses = |pool: &AgentPool| {
        let status = pool.status.as_ref();
        status.is_some_and(|status| status.scale_refusal.is_some())
    };
    let is_labelled = |pool: &AgentPool| pool.labels().contains_key(SCALE_REFUSED_LABEL);
    let pools = snapshot.pools.iter();
    pools
        .filter(|pool| refuses(pool) != is_labelled(pool))
        .map(|pool| Action::LabelPool {
            name: pool.name_any(),
            refuses_scale: refuses(pool),
        })
        .collect()
}
