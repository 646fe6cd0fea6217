//! The holds: what a canceled or failed operation left undone, aspect by aspect, with what was asked for then.

use crate::{
    api::{
        AskedFor, Aspect, Hold, OperationPhase, OperationReference, OperationTarget, OperationType,
        TargetKind,
    },
    lifecycle::{
        desired::{aspects_of, changed, differs, outstanding},
        facts::{Facts, Operation, Target},
        plan::{Aspects, PlannedTarget},
        planning::goes_back,
        windows::Windows,
    },
};

use super::last::End;

/// The holds on a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holds {
    /// Caused by an operation on the target itself.
    pub own: Option<Hold>,
    /// On a pool: caused by an operation on its cluster.
    pub by_cluster: Option<Hold>,
}

/// Returns the holds on a target once these operations have ended.
pub fn holds(facts: &Facts<'_>, target: &Target<'_>, ends: &[End<'_, '_>]) -> Holds {
    let (own, by_cluster) = before(facts, target);
    let mut holds = Holds {
        own: without(own, |aspect| target.held.own.contains(&aspect)),
        by_cluster: without(by_cluster, |aspect| {
            target.held.by_cluster.contains(&aspect)
        }),
    };
    for end in ends {
        if let Some(covered) = covered(facts, target, end) {
            holds.own = without_covered(holds.own, &covered);
            holds.by_cluster = without_covered(holds.by_cluster, &covered);
            let left = left_undone(facts, target, end, &covered);
            let of_target = end.record.target == target.key;
            let hold = if of_target {
                &mut holds.own
            } else {
                &mut holds.by_cluster
            };
            *hold = merged(hold.take(), hold_of(end, &covered, left), &target.asked);
        }
    }
    holds
}

/// Returns the holds as they were read.
fn before(facts: &Facts<'_>, target: &Target<'_>) -> (Option<Hold>, Option<Hold>) {
    let Some(pool) = &target.pool else {
        let status = facts.snapshot.cluster.status.as_ref();
        return (status.and_then(|status| status.hold.clone()), None);
    };
    let status = pool.object.status.as_ref();
    (
        status.and_then(|status| status.hold.clone()),
        status.and_then(|status| status.cluster_hold.clone()),
    )
}

fn without(hold: Option<Hold>, stays: impl Fn(Aspect) -> bool) -> Option<Hold> {
    let mut hold = hold?;
    hold.aspects.retain(|aspect| stays(*aspect));
    hold.ended_otherwise.retain(|aspect| stays(*aspect));
    hold.until_window.retain(|aspect| stays(*aspect));
    (!hold.aspects.is_empty()).then_some(hold)
}

/// Returns the hold without the aspects that the ending operation covered. An aspect stays on hold if it was held
/// with another desired value: that change was aborted while it waited for this operation to end.
fn without_covered(hold: Option<Hold>, covered: &PlannedTarget) -> Option<Hold> {
    let asked = hold.as_ref()?.asked_for.clone();
    without(hold, |aspect| {
        !covered.aspects.contains(&aspect) || asked.differs(&covered.asked_for, aspect)
    })
}

/// Returns what an operation that ends had to bring about on a target. None if it wasn't about this target.
fn covered(facts: &Facts<'_>, target: &Target<'_>, end: &End<'_, '_>) -> Option<PlannedTarget> {
    if end.operation.begun_by_others().is_some() {
        let mut aspects = aspects_of(end.record.type_);
        if end.record.target == target.key {
            aspects.extend(changed_by_others(facts, target, end));
        } else {
            // Whoever changed the control plane's version didn't ask for the nodes to follow.
            let of_cluster = end.record.target.kind == TargetKind::ManagedCluster;
            aspects.retain(|aspect| *aspect == Aspect::Version && of_cluster && target.follows());
        }
        return (!aspects.is_empty()).then(|| planned_so(target, aspects));
    }
    if let Some(plan) = end.plan {
        let planned = plan.of_target(&target.key)?;
        return (planned.uid == target.uid).then(|| planned.clone());
    }
    let is_on = |on: &OperationTarget| *on == target.key;
    let aspects: Aspects = if end.had_begun {
        // Its plan is lost. It may have left undone everything that differs. It may also have left undone what its
        // type is about even if that doesn't seem to differ, because its last change may not be visible yet.
        let whole = end.record.target.kind == TargetKind::ManagedCluster;
        (whole || is_on(&end.record.target)).then(|| {
            let about = aspects_of(end.record.type_);
            differs(facts, target).union(&about).copied().collect()
        })?
    } else if is_on(&end.record.target) {
        let asked = outstanding(facts, target, Some(end.operation));
        if end.operation.needs_window() && facts.windows != Windows::None {
            // Everything else goes on while it waits for a maintenance window.
            aspects_of(end.record.type_)
        } else if end.operation.is_from_spec() {
            // A deletion that came after it is a separate request.
            let deletes = end.record.type_ == OperationType::Delete;
            let is_its_own = |aspect: &Aspect| deletes || *aspect != Aspect::Deletion;
            asked.into_iter().filter(is_its_own).collect()
        } else {
            let about = aspects_of(end.operation.spec.type_);
            let about: Aspects = about.into_iter().chain([Aspect::Deletion]).collect();
            let others = about_to_be_done_by_others(facts, end.operation);
            let is_its_own = |aspect: &Aspect| about.contains(aspect) && !others.contains(aspect);
            asked.into_iter().filter(is_its_own).collect()
        }
    } else if end.record.target.kind == TargetKind::ManagedCluster && target.follows() {
        // The nodes of this pool are upgraded with the cluster, and the cluster's operation never began.
        let asked = outstanding(facts, target, Some(end.operation));
        asked
            .into_iter()
            .filter(|aspect| *aspect == Aspect::Version)
            .collect()
    } else {
        return None;
    };
    Some(planned_so(target, aspects))
}

/// Returns the aspects in which a target differs from its spec after others changed it: they may have changed more
/// than the engine's name for it says. A difference that comes from a new edit of the spec doesn't count, because a
/// person asked for it.
fn changed_by_others(facts: &Facts<'_>, target: &Target<'_>, end: &End<'_, '_>) -> Aspects {
    let asked = end.operation.status.asked_before.as_ref();
    let asked = asked.map_or_else(Aspects::new, |before| changed(before, &target.asked));
    let differs = differs(facts, target);
    differs.difference(&asked).copied().collect()
}

/// Returns what Operations for the target's spec, which haven't begun yet, have to bring about on the same target.
fn about_to_be_done_by_others(facts: &Facts<'_>, but: &Operation<'_>) -> Aspects {
    let waiting = facts.unfinished().filter(|other| {
        let is_on_it = other.spec.target == but.spec.target && other.uid != but.uid;
        is_on_it && other.is_from_spec() && other.begun().is_none()
    });
    waiting
        .flat_map(|other| aspects_of(other.spec.type_))
        .collect()
}

/// Returns a target as an operation would plan it now, for these aspects.
fn planned_so(target: &Target<'_>, aspects: Aspects) -> PlannedTarget {
    PlannedTarget {
        target: target.key.clone(),
        uid: target.uid.to_owned(),
        generation: target.generation,
        differed: aspects.clone(),
        aspects,
        asked_for: target.asked.clone(),
    }
}

/// Returns the covered aspects that aren't reached.
fn left_undone(
    facts: &Facts<'_>,
    target: &Target<'_>,
    end: &End<'_, '_>,
    covered: &PlannedTarget,
) -> Aspects {
    if end.operation.begun_by_others().is_some() {
        // Belay reports what others changed and doesn't undo it, until somebody asks for something else.
        let differs = differs(facts, target);
        return differs.intersection(&covered.aspects).copied().collect();
    }
    let was_stopped = match end.record.phase {
        OperationPhase::Canceled => true,
        OperationPhase::Failed => false,
        OperationPhase::Pending
        | OperationPhase::InProgress
        | OperationPhase::Canceling
        | OperationPhase::Succeeded => return Aspects::new(),
    };
    if !end.had_begun {
        return covered.aspects.clone();
    }
    let mut left = differs(facts, target);
    // A node that was made to replace another one stays beside it, so the count is left alone, too.
    let replaces_nodes = covered.aspects.contains(&Aspect::Version);
    left.retain(|aspect| {
        covered.aspects.contains(aspect) || (*aspect == Aspect::Count && replaces_nodes)
    });
    // An aspect that the operation had to change may not be reached although it seems so: its work's last action
    // isn't visible yet, for example the deletion of a node that never came up.
    left.extend(covered.aspects.intersection(&covered.differed));
    // A pool whose nodes were removed by its cluster's Stop shows Stopped from now on. Belay must not start it again.
    let was_emptied = end.record.type_ == OperationType::Stop && target.there.count == 0;
    if was_emptied && left.contains(&Aspect::Count) && covered.aspects.contains(&Aspect::Power) {
        left.insert(Aspect::Power);
    }
    // A rollback that was stopped while nodes went back: the pools still converge to the version of the control
    // plane.
    // If its window closed, the rollback itself goes on in the next window.
    if was_stopped && !end.by_window && !target.is_cluster() && goes_back(facts, end.operation) {
        left.remove(&Aspect::Version);
        left.remove(&Aspect::Count);
    }
    left
}

fn hold_of(end: &End<'_, '_>, covered: &PlannedTarget, left: Aspects) -> Option<Hold> {
    let record = &end.record;
    let until_window = end.by_window.then(|| left.iter().copied().collect());
    (!left.is_empty()).then(|| Hold {
        operation: OperationReference {
            name: record.name.clone(),
            uid: record.uid.clone(),
        },
        target: record.target.clone(),
        phase: record.phase,
        message: record.message.clone(),
        since: record.end_time.clone(),
        aspects: left.into_iter().collect(),
        ended_otherwise: Vec::new(),
        until_window: until_window.unwrap_or_default(),
        asked_for: covered.asked_for.clone(),
    })
}

/// Returns the later hold, plus the aspects that only the earlier hold covers, each with what was asked for and how
/// the operation ended. If both cover an aspect, the later hold counts, unless only the earlier one asks for what the
/// spec asks for now: a change that waited for the later operation may have been aborted before that operation ended.
fn merged(before: Option<Hold>, after: Option<Hold>, now: &AskedFor) -> Option<Hold> {
    let (Some(before), Some(mut after)) = (before.clone(), after.clone()) else {
        return after.or(before);
    };
    for aspect in before.aspects.iter().copied() {
        if after.aspects.contains(&aspect) {
            let asks_as_now = |hold: &Hold| !hold.asked_for.differs(now, aspect);
            if asks_as_now(&after) || !asks_as_now(&before) {
                continue;
            }
        } else {
            after.aspects.push(aspect);
        }
        if before.is_after_failure(aspect) != after.is_after_failure(aspect) {
            after.ended_otherwise.push(aspect);
        }
        after.until_window.retain(|other| *other != aspect);
        if before.until_window.contains(&aspect) {
            after.until_window.push(aspect);
        }
        let (then, now) = (&before.asked_for, &mut after.asked_for);
        match aspect {
            Aspect::Version => now.kubernetes_version.clone_from(&then.kubernetes_version),
            Aspect::Count => now.count = then.count,
            Aspect::Power => now.power_state = then.power_state,
            Aspect::Settings => now.settings.clone_from(&then.settings),
            Aspect::Deletion => {}
        }
    }
    after.aspects.sort_unstable();
    after.ended_otherwise.sort_unstable();
    after.until_window.sort_unstable();
    Some(after)
}
