//! The holds: what a canceled or failed operation left undone, aspect by aspect, as it was asked for then.

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
    },
};

use super::last::End;

/// What is held back on a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holds {
    /// By an operation on the target itself.
    pub own: Option<Hold>,
    /// On a pool: by an operation on its cluster.
    pub by_cluster: Option<Hold>,
}

/// What is held back on a target once these operations have ended.
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

/// The holds as they were read.
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
    (!hold.aspects.is_empty()).then_some(hold)
}

/// A hold without what an operation that ends was about. What was asked for otherwise, and aborted while it
/// waited for that end, stays held back.
fn without_covered(hold: Option<Hold>, covered: &PlannedTarget) -> Option<Hold> {
    let asked = hold.as_ref()?.asked_for.clone();
    without(hold, |aspect| {
        !covered.aspects.contains(&aspect) || asked.differs(&covered.asked_for, aspect)
    })
}

/// What an operation that ends was to bring about on a target; none where it was about others.
fn covered(facts: &Facts<'_>, target: &Target<'_>, end: &End<'_, '_>) -> Option<PlannedTarget> {
    if end.operation.begun_by_others().is_some() {
        let mut aspects = aspects_of(end.record.type_);
        if end.record.target == target.key {
            aspects.extend(changed_by_others(facts, target, end));
        } else {
            // Whoever took the control plane elsewhere didn't ask for the nodes to follow.
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
        // Its plan is lost. It may have left undone all that differs, and what its type is about even where that
        // doesn't differ: its last change may not be seen yet.
        let whole = end.record.target.kind == TargetKind::ManagedCluster;
        (whole || is_on(&end.record.target)).then(|| {
            let about = aspects_of(end.record.type_);
            differs(facts, target).union(&about).copied().collect()
        })?
    } else if is_on(&end.record.target) {
        let asked = outstanding(facts, target, Some(end.operation));
        if end.operation.is_from_spec() {
            // A deletion that came after it is another wish.
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
        // Its nodes are its cluster's to upgrade, and that one was not to be.
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

/// In what a target differs from its spec after others changed it: they may have changed more than the engine calls it.
/// What its spec asks for otherwise than before is a person's.
fn changed_by_others(facts: &Facts<'_>, target: &Target<'_>, end: &End<'_, '_>) -> Aspects {
    let asked = end.operation.status.asked_before.as_ref();
    let asked = asked.map_or_else(Aspects::new, |before| changed(before, &target.asked));
    let differs = differs(facts, target);
    differs.difference(&asked).copied().collect()
}

/// What Operations that its spec asked for are to bring about on the target of this one, and haven't begun.
fn about_to_be_done_by_others(facts: &Facts<'_>, but: &Operation<'_>) -> Aspects {
    let waiting = facts.unfinished().filter(|other| {
        let is_on_it = other.spec.target == but.spec.target && other.uid != but.uid;
        is_on_it && other.is_from_spec() && other.begun().is_none()
    });
    waiting
        .flat_map(|other| aspects_of(other.spec.type_))
        .collect()
}

/// A target as an operation would plan it now, for these aspects.
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

/// What of it isn't there.
fn left_undone(
    facts: &Facts<'_>,
    target: &Target<'_>,
    end: &End<'_, '_>,
    covered: &PlannedTarget,
) -> Aspects {
    if end.operation.begun_by_others().is_some() {
        // What others changed is reported and not undone, until somebody asks for something else.
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
    // What was made to take another node's place stays beside it, so the count is left as it is as well.
    let replaces_nodes = covered.aspects.contains(&Aspect::Version);
    left.retain(|aspect| {
        covered.aspects.contains(aspect) || (*aspect == Aspect::Count && replaces_nodes)
    });
    // What it was to bring about may not be there though it seems so: the last that its work did, such as
    // the deletion of a node that never came up, isn't seen yet.
    left.extend(covered.aspects.intersection(&covered.differed));
    // A pool whose nodes its cluster's Stop took is shown as stopped from now on: it isn't to be started again.
    let was_emptied = end.record.type_ == OperationType::Stop && target.there.count == 0;
    if was_emptied && left.contains(&Aspect::Count) && covered.aspects.contains(&Aspect::Power) {
        left.insert(Aspect::Power);
    }
    // A rollback that was stopped while nodes went back: the pools converge to what the control plane runs.
    if was_stopped && !target.is_cluster() && goes_back(facts, end.operation) {
        left.remove(&Aspect::Version);
        left.remove(&Aspect::Count);
    }
    left
}

fn hold_of(end: &End<'_, '_>, covered: &PlannedTarget, left: Aspects) -> Option<Hold> {
    let record = &end.record;
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
        asked_for: covered.asked_for.clone(),
    })
}

/// The later hold, with what an earlier one covers besides. It is kept as it was asked for then, and as it ended.
/// Of an aspect that both cover, the one counts that was asked for as it is now: what waited for the later end may
/// have been aborted before it.
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
    Some(after)
}
