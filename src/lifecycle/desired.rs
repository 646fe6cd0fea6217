//! Desired state: what each target needs, from what its spec asks for and what is observed. This module doesn't know
//! about holds and refusals.

use crate::api::{AskedFor, Aspect, KubernetesVersion, OperationSpec, OperationType, PowerState};

use super::{
    facts::{Coverage, Facts, Operation, Target, coverage},
    plan::{Aspects, PlannedTarget},
    windows::Windows,
};

/// Returns the aspects of a target that an operation of that type is about.
pub fn aspects_of(type_: OperationType) -> Aspects {
    match type_ {
        OperationType::Create | OperationType::Reconcile => [
            Aspect::Version,
            Aspect::Count,
            Aspect::Power,
            Aspect::Settings,
        ]
        .into(),
        OperationType::Update => [Aspect::Settings].into(),
        OperationType::Upgrade | OperationType::Rollback => [Aspect::Version].into(),
        OperationType::Scale => [Aspect::Count].into(),
        OperationType::Start | OperationType::Stop => [Aspect::Power, Aspect::Count].into(),
        OperationType::Delete => [Aspect::Deletion].into(),
    }
}

/// Returns the aspects in which a target differs from its spec.
pub fn differs(facts: &Facts<'_>, target: &Target<'_>) -> Aspects {
    if target.deleted.is_some() {
        let is_left = !target.is_gone();
        return is_left.then_some(Aspect::Deletion).into_iter().collect();
    }
    if target.is_cluster() {
        cluster_differs(facts, target)
    } else {
        pool_differs(facts, target)
    }
}

fn cluster_differs(facts: &Facts<'_>, cluster: &Target<'_>) -> Aspects {
    let mut aspects = Aspects::new();
    let wanted = wanted_version(cluster);
    let has_version = cluster.there.newest.is_some() && cluster.there.newest == wanted;
    // A spec that names no version can't be followed; the schema rejects such a spec.
    if wanted.is_some() && (!has_version || has_pools_left_behind(facts)) {
        aspects.insert(Aspect::Version);
    }
    if cluster.there.exists && cluster.asked.power_state != Some(cluster.there.power) {
        aspects.insert(Aspect::Power);
    }
    aspects
}

/// Whether a pool that follows its cluster has nodes of another version. Once such a pool was created, its cluster's
/// operations upgrade it.
fn has_pools_left_behind(facts: &Facts<'_>) -> bool {
    let mut pools = facts.pools.iter();
    pools.any(|pool| {
        pool.follows()
            && pool.deleted.is_none()
            && !pool.is_new()
            && pool.has_outdated_nodes(facts.snapshot)
    })
}

fn pool_differs(facts: &Facts<'_>, pool: &Target<'_>) -> Aspects {
    let mut aspects = Aspects::new();
    let Some(control_plane) = facts.control_plane() else {
        return aspects;
    };
    let wanted = pool.version_under(control_plane);
    // In a pool without nodes, a version of its own is the version of its next nodes.
    let is_behind = !pool.follows() && pool.there.newest.is_some_and(|newest| newest != wanted);
    if pool.has_outdated_nodes(facts.snapshot) || is_behind {
        aspects.insert(Aspect::Version);
    }
    if facts.snapshot.is_running() && pool.asked.power_state != Some(pool.there.power) {
        aspects.insert(Aspect::Power);
    }
    if pool.is_new() || pool.there.count != pool.desired_count(facts.snapshot) {
        aspects.insert(Aspect::Count);
    }
    if !pool.has_its_settings(facts.snapshot) {
        aspects.insert(Aspect::Settings);
    }
    aspects
}

/// Returns the aspects that a spec asks for, that aren't reached, and that nothing in flight is about to reach. The
/// operation `but` doesn't count as in flight.
pub fn outstanding(facts: &Facts<'_>, target: &Target<'_>, but: Option<&Operation<'_>>) -> Aspects {
    match coverage(facts, target, but) {
        Coverage::None => differs(facts, target),
        Coverage::Planned(planned) => newly_asked(target, planned)
            .union(&left_to_a_window(facts, target, planned))
            .copied()
            .collect(),
        // Only a Delete plans a deletion.
        Coverage::AboutToBegin(type_)
            if target.deleted.is_some() && type_ != OperationType::Delete =>
        {
            differs(facts, target)
        }
        Coverage::AboutToBegin(_) => Aspects::new(),
    }
}

/// Returns the aspects for which the spec asks for something else than when the operation in flight began.
fn newly_asked(target: &Target<'_>, planned: &PlannedTarget) -> Aspects {
    if target.deleted.is_some() {
        let is_begun = planned.aspects.contains(&Aspect::Deletion);
        return (!is_begun)
            .then_some(Aspect::Deletion)
            .into_iter()
            .collect();
    }
    changed(&planned.asked_for, &target.asked)
}

/// Returns what the operation in flight on a target leaves to another one, because it began while no maintenance window
/// was open.
fn left_to_a_window(facts: &Facts<'_>, target: &Target<'_>, planned: &PlannedTarget) -> Aspects {
    let mut left = Aspects::new();
    if facts.windows != Windows::None && target.deleted.is_none() {
        left = differs(facts, target);
        left.retain(|aspect| *aspect == Aspect::Version && !planned.aspects.contains(aspect));
    }
    left
}

/// Returns the aspects of a target that have to wait for a maintenance window now. What doesn't exist yet is made with its
/// version at once.
pub fn waiting_for_window(facts: &Facts<'_>, target: &Target<'_>) -> Aspects {
    let exists = target.there.exists || (!target.is_cluster() && !target.is_new());
    let waits = exists && facts.windows.keep_waiting();
    waits.then_some(Aspect::Version).into_iter().collect()
}

/// Returns the aspects in which a spec asks for something else than before.
pub fn changed(then: &AskedFor, now: &AskedFor) -> Aspects {
    let all = [
        Aspect::Version,
        Aspect::Count,
        Aspect::Power,
        Aspect::Settings,
    ];
    let changed = all.into_iter().filter(|aspect| then.differs(now, *aspect));
    changed.collect()
}

/// Whether a pool's spec was written after the last operation on it was planned.
fn was_edited(facts: &Facts<'_>, target: &Target<'_>, but: Option<&Operation<'_>>) -> bool {
    match coverage(facts, target, but) {
        Coverage::Planned(planned) => planned.generation != target.generation,
        Coverage::AboutToBegin(_) => false,
        // A pool that was adopted had no operation yet.
        Coverage::None => target.last.map_or(target.generation > 1, |last| {
            last.target_generation != target.generation
        }),
    }
}

/// Returns the operation that brings about those aspects: one operation for all of them, of the type with the highest
/// priority.
pub fn operation(
    facts: &Facts<'_>,
    target: &Target<'_>,
    aspects: &Aspects,
    but: Option<&Operation<'_>>,
) -> Option<OperationSpec> {
    if aspects.contains(&Aspect::Deletion) {
        return Some(spec(target, OperationType::Delete, None, None));
    }
    if target.deleted.is_some() {
        return None;
    }
    if target.is_cluster() {
        of_cluster(facts, target, aspects, but)
    } else {
        of_pool(facts, target, aspects, but)
    }
}

fn of_cluster(
    facts: &Facts<'_>,
    cluster: &Target<'_>,
    aspects: &Aspects,
    but: Option<&Operation<'_>>,
) -> Option<OperationSpec> {
    let wants_version = aspects.contains(&Aspect::Version);
    if !cluster.there.exists {
        let type_ = if cluster.is_new() {
            OperationType::Create
        } else {
            OperationType::Reconcile
        };
        return wants_version.then(|| spec(cluster, type_, None, None));
    }
    if aspects.contains(&Aspect::Power) {
        return Some(spec(cluster, power_type(cluster), None, None));
    }
    if !wants_version {
        return None;
    }
    let wanted = wanted_version(cluster)?;
    let runs = expected_version(facts, cluster, but)?;
    let type_ = direction(runs, wanted);
    Some(spec(cluster, type_, Some(wanted), None))
}

fn of_pool(
    facts: &Facts<'_>,
    pool: &Target<'_>,
    aspects: &Aspects,
    but: Option<&Operation<'_>>,
) -> Option<OperationSpec> {
    let control_plane = facts.control_plane()?;
    let wanted = pool.version_under(control_plane);
    if pool.is_new() {
        let type_ = OperationType::Create;
        return (!aspects.is_empty()).then(|| spec(pool, type_, Some(wanted), None));
    }
    if aspects.contains(&Aspect::Power) {
        return Some(spec(pool, power_type(pool), None, None));
    }
    if aspects.contains(&Aspect::Version) {
        let runs = expected_version(facts, pool, but).unwrap_or(wanted);
        return Some(spec(pool, direction(runs, wanted), Some(wanted), None));
    }
    let resizes = aspects.contains(&Aspect::Count);
    let is_edited = was_edited(facts, pool, but);
    let differs = resizes || aspects.contains(&Aspect::Settings);
    match (is_edited, differs) {
        // The spec is unchanged since the last operation, so the nodes changed.
        (false, true) => Some(spec(pool, OperationType::Reconcile, None, None)),
        (false, false) => None,
        (true, _) if resizes => Some(spec(pool, OperationType::Scale, None, pool.asked.count)),
        // Also if no node changes: the Update records how the next nodes are replaced.
        (true, _) => Some(spec(pool, OperationType::Update, None, None)),
    }
}

fn direction(runs: KubernetesVersion, wanted: KubernetesVersion) -> OperationType {
    if wanted < runs {
        OperationType::Rollback
    } else {
        OperationType::Upgrade
    }
}

fn power_type(target: &Target<'_>) -> OperationType {
    match target.asked.power_state {
        Some(PowerState::Stopped) => OperationType::Stop,
        Some(PowerState::Running) | None => OperationType::Start,
    }
}

/// Returns the version that a target's spec asks for; None if it names no valid version.
pub fn wanted_version(target: &Target<'_>) -> Option<KubernetesVersion> {
    target.asked.kubernetes_version.as_deref()?.parse().ok()
}

/// Returns the newest version of a target once the operation in flight has ended as planned.
fn expected_version(
    facts: &Facts<'_>,
    target: &Target<'_>,
    but: Option<&Operation<'_>>,
) -> Option<KubernetesVersion> {
    if let Coverage::Planned(planned) = coverage(facts, target, but)
        && planned.aspects.contains(&Aspect::Version)
    {
        let asked = planned.asked_for.kubernetes_version.as_deref();
        return asked.and_then(|version| version.parse().ok());
    }
    target.there.newest
}

fn spec(
    target: &Target<'_>,
    type_: OperationType,
    version: Option<KubernetesVersion>,
    count: Option<i32>,
) -> OperationSpec {
    let names_version = matches!(type_, OperationType::Upgrade | OperationType::Rollback);
    OperationSpec {
        type_,
        target: target.key.clone(),
        kubernetes_version: version
            .filter(|_| names_version)
            .map(|version| version.to_string()),
        count,
        timeout: None,
    }
}
