//! Which versions can be reached from the current ones. The versions that nodes really run count, not those in specs.

use crate::{
    api::{Aspect, KubernetesVersion, OperationError, OperationType},
    lifecycle::{
        desired::wanted_version,
        errors::{invalid, no_control_plane},
        facts::{Facts, Operation, Target},
        messages::refusal,
    },
};

use super::{
    Request, Verdict,
    existing::{is_settled, living_target},
    newest::spec_change,
    not_allowed, pursued,
};

/// How many minor versions a pool may be behind its control plane (Kubernetes' version skew policy).
const OLDEST_POOL_MINORS: u32 = 3;

/// Refuses a change of version in the wrong direction for its type, by more than one minor version of a control
/// plane, or one that leaves a pool too far behind.
pub fn can_be_reached(facts: &Facts<'_>, request: &Request<'_>) -> Option<Verdict> {
    if let Some(holder) = request.operation().filter(|operation| operation.holds_lock) {
        return about_to_begin(facts, holder).map(Verdict::Refuse);
    }
    let type_ = request.spec.type_;
    if !matches!(type_, OperationType::Upgrade | OperationType::Rollback) {
        return None;
    }
    let target = living_target(facts, request)?;
    let Some(control_plane) = facts.control_plane() else {
        return Some(Verdict::Refuse(no_control_plane()));
    };
    let wanted: KubernetesVersion = request.spec.kubernetes_version.as_deref()?.parse().ok()?;
    let runs = target.there.newest.unwrap_or(wanted);
    if wanted == runs && is_settled(facts, target) {
        return Some(runs_already(target, runs));
    }
    let error = direction(target, type_, runs, wanted).or_else(|| {
        if target.is_cluster() {
            control_plane_step(facts, control_plane, wanted)
        } else {
            skew(target, control_plane, wanted)
        }
    });
    error.map(Verdict::Refuse)
}

/// Checks the version in the cluster's spec when an operation of any type is about to apply it. The API server may
/// have accepted the spec wrongly, because it reads caches.
fn about_to_begin(facts: &Facts<'_>, operation: &Operation<'_>) -> Option<OperationError> {
    let target = facts.target(&operation.spec.target)?;
    if !target.is_cluster() || target.deleted.is_some() || spec_change(facts, operation).is_some() {
        return None;
    }
    // A person's Operation of these types changes the version even if no maintenance window is open.
    let is_about_it = matches!(
        operation.spec.type_,
        OperationType::Reconcile | OperationType::Upgrade | OperationType::Rollback
    );
    let changes_version =
        is_about_it || pursued(facts, target, Some(operation)).contains(&Aspect::Version);
    let wanted = wanted_version(target).filter(|_| changes_version)?;
    control_plane_step(facts, facts.control_plane()?, wanted)
}

/// Returns why a pool's nodes don't run the version that the pool pins: its control plane is older. Nodes are never
/// newer than their control plane, so they run the control plane's version until it is upgraded. None if they may run
/// it.
pub fn why_it_lags(facts: &Facts<'_>, pool: &Target<'_>) -> Option<String> {
    let own = own_version(pool).filter(|_| pool.deleted.is_none())?;
    let control_plane = facts.control_plane()?;
    let lags = own > control_plane;
    lags.then(|| too_new(pool, control_plane))
}

/// Returns why a control plane can't go to that version. None if it can.
fn control_plane_step(
    facts: &Facts<'_>,
    runs: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    one_minor_at_a_time(runs, wanted).or_else(|| pool_left_behind(facts, wanted))
}

fn runs_already(target: &Target<'_>, version: KubernetesVersion) -> Verdict {
    not_allowed(refusal::RUNS_ALREADY.fill(&[
        ("kind", &format!("{:?}", target.key.kind)),
        ("name", &target.key.name),
        ("version", &version),
    ]))
}

fn direction(
    target: &Target<'_>,
    type_: OperationType,
    runs: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    let template = match type_ {
        OperationType::Upgrade if wanted < runs => refusal::RUNS_NEWER,
        OperationType::Rollback if wanted > runs => refusal::RUNS_OLDER,
        _ => return None,
    };
    Some(invalid(template.fill(&[
        ("kind", &format!("{:?}", target.key.kind)),
        ("name", &target.key.name),
        ("version", &runs),
        ("wanted", &wanted),
    ])))
}

/// Returns an error unless the control plane changes by at most one minor version, up or down.
fn one_minor_at_a_time(
    runs: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    let (from, to) = (i64::from(runs.minor), i64::from(wanted.minor));
    let minor = |minor: u32| format!("{}.{minor}", runs.major);
    if runs.major != wanted.major || to - from > 1 {
        let next = minor(runs.minor + 1);
        return Some(invalid(
            refusal::ONE_MINOR_UP.fill(&[("version", &runs), ("next", &next)]),
        ));
    }
    (from - to > 1).then(|| {
        let last = minor(runs.minor.saturating_sub(1));
        invalid(refusal::ONE_MINOR_BACK.fill(&[("version", &runs), ("last", &last)]))
    })
}

fn skew(
    pool: &Target<'_>,
    control_plane: KubernetesVersion,
    wanted: KubernetesVersion,
) -> Option<OperationError> {
    if wanted > control_plane {
        return Some(invalid(too_new(pool, control_plane)));
    }
    is_too_old(control_plane, wanted).then(|| {
        invalid(
            refusal::POOL_TOO_OLD.fill(&[("name", &pool.key.name), ("version", &control_plane)]),
        )
    })
}

fn too_new(pool: &Target<'_>, control_plane: KubernetesVersion) -> String {
    refusal::POOL_TOO_NEW.fill(&[("name", &pool.key.name), ("version", &control_plane)])
}

/// Whether a pool of that version is too far behind a control plane.
pub fn is_too_old(control_plane: KubernetesVersion, pool: KubernetesVersion) -> bool {
    control_plane.minor.saturating_sub(pool.minor) > OLDEST_POOL_MINORS
}

/// Returns the error for a pool that a control plane of that version would leave too far behind: by the oldest
/// version of its nodes, or by the pool's own version.
fn pool_left_behind(facts: &Facts<'_>, wanted: KubernetesVersion) -> Option<OperationError> {
    let pools = facts.pools.iter().filter(|pool| pool.deleted.is_none());
    let (pool, behind) = pools
        .filter_map(|pool| Some((pool, oldest(pool)?)))
        .find(|(_, oldest)| is_too_old(wanted, *oldest))?;
    Some(invalid(refusal::POOL_LEFT_BEHIND.fill(&[
        ("name", &facts.cluster.key.name),
        ("version", &wanted),
        ("pool", &pool.key.name),
        ("behind", &behind),
    ])))
}

fn oldest(pool: &Target<'_>) -> Option<KubernetesVersion> {
    own_version(pool).into_iter().chain(pool.there.oldest).min()
}

/// Returns the version that a pool pins. None if it follows its cluster.
fn own_version(pool: &Target<'_>) -> Option<KubernetesVersion> {
    let is_pinned = !pool.is_cluster() && !pool.follows();
    is_pinned.then(|| wanted_version(pool)).flatten()
}
