//! The steps of one pool's rollout: one for each node. If there are too many nodes, one more step stands for the rest.

use crate::{
    api::{Step, StepAction, StepPhase},
    lifecycle::{
        NodeView, PoolGoal, StepReport,
        step_names::{NODE_STEP_PREFIX, POOL_STEP_PREFIX, step},
    },
};

use super::{
    rollout::{NodeAction, Pool},
    undrainable,
};

/// Returns the steps that lead from these nodes to the goal, in the order in which they will begin. At most `most` of
/// them are steps of single nodes.
pub(super) fn plan(goal: &PoolGoal, uid: &str, nodes: &[NodeView], most: usize) -> Vec<Step> {
    let pool = Pool::new(goal, uid, nodes);
    let surplus = pool.surplus();
    let is_surplus = |node: &NodeView| surplus.iter().any(|other| other.name == node.name);
    let replaced: Vec<&NodeView> = pool
        .outdated()
        .into_iter()
        .filter(|node| !is_surplus(node))
        .collect();
    let more = pool.wanted_new().saturating_sub(replaced.len());
    let node =
        |name: &str, action, message| step(format!("{NODE_STEP_PREFIX}{name}"), action, message);
    let mut steps: Vec<Step> = surplus
        .iter()
        .map(|gone| node(&gone.name, StepAction::Delete, String::new()))
        .collect();
    let unlike = pool.unlike_their_settings();
    steps.extend(
        unlike
            .iter()
            .map(|unlike| node(&unlike.name, StepAction::Update, String::new())),
    );
    // Nodes that replace no other are created first: there is room for them at once.
    let extra = pool.new_names().take(more);
    steps.extend(extra.map(|name| node(&name, StepAction::Create, String::new())));
    steps.extend(replaced.iter().map(|old| {
        if old.quarantined {
            let message = "drains a quarantined node again".to_owned();
            return node(&old.name, StepAction::Delete, message);
        }
        let change = format!("{} to {}", old.version, goal.version);
        node(&old.name, StepAction::Replace, change)
    }));
    fold(goal, steps, most)
}

/// Puts all steps beyond `most` into one.
fn fold(goal: &PoolGoal, mut steps: Vec<Step>, most: usize) -> Vec<Step> {
    let rest = steps.split_off(most.min(steps.len()));
    if let Some(first) = rest.first() {
        let name = format!("{POOL_STEP_PREFIX}{}", goal.pool);
        let nodes = i32::try_from(rest.len()).unwrap_or(i32::MAX);
        steps.push(Step {
            nodes: Some(nodes),
            nodes_done: Some(0),
            ..step(name, first.action, format!("{nodes} more nodes"))
        });
    }
    steps
}

/// Returns the report of a node's step as it begins.
pub fn beginning(action: &NodeAction) -> StepReport {
    let message = match action {
        NodeAction::Create(_) => "creating the node",
        NodeAction::Remove(_) => "draining",
        NodeAction::Update(_) => "updating in place",
    };
    StepReport {
        name: format!("{NODE_STEP_PREFIX}{}", action.node()),
        phase: StepPhase::InProgress,
        message: message.to_owned(),
        ..StepReport::default()
    }
}

/// What is seen of a pool's nodes.
pub struct Seen<'a> {
    /// The nodes.
    pub nodes: &'a [NodeView],
    /// The names of nodes that are being created and aren't seen yet.
    pub making: &'a [&'a str],
    /// Returns how far the running drain of a node is.
    pub draining: &'a dyn Fn(&str) -> Option<String>,
    /// What the next replacement says while it waits for the end of the soak.
    pub soaking: Option<String>,
}

/// Returns how far the steps of a pool are, as its nodes show.
pub fn report(goal: &PoolGoal, uid: &str, steps: &[Step], seen: &Seen<'_>) -> Vec<StepReport> {
    let (nodes, draining) = (seen.nodes, seen.draining);
    let pool = Pool::new(goal, uid, nodes);
    let shown = |step: &Step| {
        let name = step.name.strip_prefix(NODE_STEP_PREFIX)?;
        let node = nodes.iter().find(|node| node.name == name);
        of_node(goal, uid, step, node, draining)
    };
    let shown: Vec<_> = steps.iter().map(shown).collect();
    let replacing = steps.iter().zip(&shown);
    let replacing = replacing.filter(|(step, _)| step.action == StepAction::Replace);
    let begun = replacing.filter_map(|(_, shown)| shown.as_ref().map(|(phase, _)| *phase));
    let begun: Vec<_> = begun.collect();
    let mut waiting_for = waited_for(&pool, steps, seen.making, &begun);
    let mut soaking = seen.soaking.clone();
    let mut reports = Vec::new();
    for (step, shown) in steps.iter().zip(&shown) {
        let report = |phase, message: String| StepReport {
            name: step.name.clone(),
            phase,
            message,
            ..StepReport::default()
        };
        if step.name.starts_with(NODE_STEP_PREFIX) {
            let shown = shown.clone().or_else(|| {
                let waits = step.action == StepAction::Replace && !waiting_for.is_empty();
                waits.then(|| {
                    let made = std::mem::take(&mut waiting_for).join(", ");
                    let message = format!("waiting for its replacement {made} to be Ready");
                    (StepPhase::InProgress, message)
                })
            });
            // The next replacement waits. It has begun if its replacement was created.
            let shown = shown.or_else(|| {
                let message = soaking.take_if(|_| step.action == StepAction::Replace)?;
                Some((step.phase, message))
            });
            reports.extend(shown.map(|(phase, message)| report(phase, message)));
        } else if step.name.strip_prefix(POOL_STEP_PREFIX) == Some(&goal.pool) {
            reports.push(of_rest(&pool, steps, step));
        }
    }
    reports
}

/// Returns the replacements that are coming up and that a step that hasn't begun waits for. `begun` are the phases of
/// the steps that have begun to replace a node. Each of these has had one replacement. If that isn't Ready any more, no
/// other step waits for it.
fn waited_for<'a>(
    pool: &Pool<'a>,
    steps: &[Step],
    making: &[&'a str],
    begun: &[StepPhase],
) -> Vec<&'a str> {
    let has_own_step = |name: &str| {
        let mut created = steps
            .iter()
            .filter(|step| step.action == StepAction::Create);
        created.any(|step| step.name.strip_prefix(NODE_STEP_PREFIX) == Some(name))
    };
    let made = pool.made().filter(|node| !has_own_step(&node.name));
    let unseen = making
        .iter()
        .copied()
        .filter(|name| !has_own_step(name) && !pool.nodes.iter().any(|node| node.name == *name));
    let count = made.clone().count() + unseen.clone().count();
    // Without a surge, a node is removed before its replacement is created.
    let goes_first = pool.goal.surge == 0 && !begun.contains(&StepPhase::InProgress);
    if count <= begun.len() && !goes_first {
        return Vec::new();
    }
    let coming = made.filter(|node| !node.ready);
    let coming = coming.map(|node| node.name.as_str());
    let mut waited_for: Vec<_> = coming.chain(unseen).collect();
    waited_for.sort_unstable();
    waited_for
}

/// Returns whether a step that is seen as begun was begun by this Operation, and not by somebody else who deletes or
/// changes nodes: its status says so, or nodes carry the Operation's mark. The operator that made the mark may have
/// died before it wrote that the step has begun.
pub fn is_its_own(steps: &[Step], seen: &StepReport, uid: &str, nodes: &[NodeView]) -> bool {
    let Some(step) = steps.iter().find(|step| step.name == seen.name) else {
        return false;
    };
    let name = step.name.strip_prefix(NODE_STEP_PREFIX);
    let node = nodes.iter().find(|node| name == Some(&node.name));
    let is_marked = |node: &NodeView| {
        let marks = [&node.drained_by, &node.made_by];
        marks.iter().any(|mark| mark.as_deref() == Some(uid))
    };
    // A node that exists without a mark waits for its replacement, which has the mark.
    let waits = step.action == StepAction::Replace && seen.phase == StepPhase::InProgress;
    step.phase != StepPhase::Pending || node.is_some_and(|node| waits || is_marked(node))
}

/// Returns what a node shows of its step. None if nothing is done to the node yet. The node's own marks count too: the
/// operator that made them may have died before it wrote that the step has begun.
fn of_node(
    goal: &PoolGoal,
    uid: &str,
    step: &Step,
    node: Option<&NodeView>,
    draining: &dyn Fn(&str) -> Option<String>,
) -> Option<(StepPhase, String)> {
    match (step.action, node) {
        (StepAction::Create, None) => None,
        (StepAction::Create, Some(node)) if node.ready => {
            Some((StepPhase::Succeeded, "Ready".to_owned()))
        }
        (StepAction::Create, Some(_)) => Some((
            StepPhase::InProgress,
            "waiting for the node to be Ready".to_owned(),
        )),
        (StepAction::Update, Some(node)) => (node.settings == goal.settings)
            .then(|| (StepPhase::Succeeded, "updated in place".to_owned())),
        (_, None) => Some((StepPhase::Succeeded, "deleted".to_owned())),
        (_, Some(node)) => {
            if let Some(undrainable) = node.undrainable.as_ref().filter(|it| it.operation == uid) {
                let message = undrainable::step_message(node, undrainable);
                return Some((StepPhase::Failed, message));
            }
            let is_marked = node.drained_by.as_deref() == Some(uid);
            let marked = || is_marked.then(|| "draining".to_owned());
            let message = draining(&node.name).or_else(marked)?;
            Some((StepPhase::InProgress, message))
        }
    }
}

/// Returns how far the step is that stands for all nodes without a step of their own.
fn of_rest(pool: &Pool<'_>, steps: &[Step], rest: &Step) -> StepReport {
    let has_own_step = |name: &str| {
        steps
            .iter()
            .any(|step| step.name.strip_prefix(NODE_STEP_PREFIX) == Some(name))
    };
    let left = |nodes: Vec<&NodeView>| {
        nodes
            .iter()
            .filter(|node| !has_own_step(&node.name))
            .count()
    };
    let own_creations = steps
        .iter()
        .filter(|step| step.action == StepAction::Create && step.nodes.is_none())
        .filter(|step| {
            let name = step.name.trim_start_matches(NODE_STEP_PREFIX);
            !pool.nodes.iter().any(|node| node.name == name)
        });
    let missing = pool
        .wanted_new()
        .saturating_sub(pool.outdated().len())
        .saturating_sub(own_creations.count());
    let left = left(pool.surplus())
        + left(pool.outdated())
        + left(pool.unlike_their_settings())
        + left(pool.made_and_not_ready().collect())
        + missing;
    let all = rest.nodes.unwrap_or_default();
    let left = i32::try_from(left).unwrap_or(i32::MAX).min(all);
    let done = all - left;
    let phase = match done {
        0 => StepPhase::Pending,
        _ if left == 0 => StepPhase::Succeeded,
        _ => StepPhase::InProgress,
    };
    StepReport {
        name: rest.name.clone(),
        phase,
        message: format!("{done} of {all} nodes"),
        nodes_done: Some(done),
        ..StepReport::default()
    }
}
