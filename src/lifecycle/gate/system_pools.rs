//! A cluster that has System pools keeps one as long as it lives.

use crate::{
    api::{OperationType, TargetKind},
    lifecycle::{
        facts::{Facts, Target},
        messages::refusal,
    },
};

use super::{Request, Source, Verdict, not_allowed};

/// Refuses the deletion of the last System pool.
pub fn one_is_left(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    let is_asked = matches!(request.source, Source::Spec) || request.asked_by_person().is_some();
    let deletes_pool = request.spec.type_ == OperationType::Delete
        && request.spec.target.kind == TargetKind::AgentPool;
    if !is_asked || !deletes_pool {
        return None;
    }
    let pool = facts.target(&request.spec.target)?;
    is_last(facts, pool).then(|| not_allowed(message(facts, pool)))
}

/// Returns why a pool stays although its spec or its deletion says otherwise: the cluster would have no System pool.
/// None if it doesn't stay.
pub fn why_it_stays(facts: &Facts<'_>, pool: &Target<'_>) -> Option<String> {
    let mode_is_kept = pool.pool.as_ref().is_some_and(|pool| pool.mode_is_kept);
    let stays = mode_is_kept || (pool.deleted.is_some() && is_last(facts, pool));
    stays.then(|| message(facts, pool))
}

/// Whether a pool is the last System pool of a cluster that isn't being deleted. If several are deleted at once,
/// before the API server can know, the one deleted last counts as the last.
fn is_last(facts: &Facts<'_>, pool: &Target<'_>) -> bool {
    let goes_after =
        |pool: &Target<'_>| (pool.deleted.is_none(), pool.deleted, pool.key.name.clone());
    let is_kept_by = |other: &Target<'_>| other.is_system() && goes_after(other) > goes_after(pool);
    pool.is_system() && facts.cluster.deleted.is_none() && !facts.pools.iter().any(is_kept_by)
}

fn message(facts: &Facts<'_>, pool: &Target<'_>) -> String {
    refusal::LAST_SYSTEM_POOL.fill(&[
        ("name", &pool.key.name),
        ("cluster", &facts.cluster.key.name),
    ])
}
