//! The rollout of one pool, node by node. From the existing nodes, it decides which nodes to create and remove next. It
//! keeps no state: if it is called again after a crash, it continues from the nodes as they are.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::lifecycle::{NodeView, PoolGoal, Stop, suffixed};

use super::undrainable;

/// What to do next to one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeAction {
    /// Create a node of that name.
    Create(String),
    /// Cordon it, drain it if the goal says so, delete it.
    Remove(String),
    /// Give it the pool's settings, in place.
    Update(String),
}

impl NodeAction {
    /// Returns the node's name.
    pub fn node(&self) -> &str {
        match self {
            Self::Create(name) | Self::Remove(name) | Self::Update(name) => name,
        }
    }
}

/// Returns whether an action continues what this operation has begun.
pub fn has_begun(action: &NodeAction, uid: &str, nodes: &[NodeView]) -> bool {
    let node = nodes.iter().find(|node| node.name == action.node());
    let is_going = node.is_some_and(|node| node.drained_by.as_deref() == Some(uid));
    matches!(action, NodeAction::Remove(_)) && is_going
}

/// The next actions for a pool, and whether anything is left to do or to wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// Actions that may run now, in parallel.
    pub actions: Vec<NodeAction>,
    /// Whether nothing is left to do or to wait for.
    pub done: bool,
}

/// Returns the actions that bring the pool nearer to its goal within its bounds: never more than `count + surge` nodes,
/// and while replacing, never fewer than `count - unavailable` available nodes. With [`Stop::AfterStep`], only removals
/// that have begun continue.
pub fn next(goal: &PoolGoal, uid: &str, nodes: &[NodeView], stop: Stop) -> Next {
    next_beside(&BTreeSet::new(), goal, uid, nodes, stop)
}

/// Like [`next`], but without the names that other nodes have: the nodes of all clusters share one set of names.
pub fn next_beside(
    taken: &BTreeSet<String>,
    goal: &PoolGoal,
    uid: &str,
    nodes: &[NodeView],
    stop: Stop,
) -> Next {
    let pool = Pool::new(goal, uid, nodes);
    let mut removals: Vec<&NodeView> = pool.begun_removals();
    let mut updates = Vec::new();
    let mut creations = 0;
    if stop == Stop::No {
        updates = pool.unlike_their_settings();
        creations = pool.room_for_new();
        removals.extend(
            pool.surplus()
                .into_iter()
                .filter(|node| !pool.is_going(node)),
        );
        removals.extend(pool.replaceable());
    }
    let mut actions: Vec<NodeAction> = pool
        .new_names()
        .filter(|name| !taken.contains(name))
        .take(creations)
        .map(NodeAction::Create)
        .collect();
    actions.extend(
        removals
            .into_iter()
            .map(|node| NodeAction::Remove(node.name.clone())),
    );
    actions.extend(
        updates
            .into_iter()
            .map(|node| NodeAction::Update(node.name.clone())),
    );
    let done = actions.is_empty() && pool.is_settled(stop);
    Next { actions, done }
}

/// Returns the names of the nodes that are removed on the way to the goal.
pub fn removed(goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Vec<String> {
    let pool = Pool::new(goal, uid, nodes);
    let (surplus, outdated) = (pool.surplus(), pool.outdated());
    let removed = surplus.into_iter().chain(outdated);
    removed.map(|node| node.name.clone()).collect()
}

/// Returns what the rollout waits for without acting on it: a node that isn't Ready keeps others from being replaced.
/// The result is a reason in one word, and a message.
pub fn waits_for(goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Option<(String, String)> {
    let pool = Pool::new(goal, uid, nodes);
    let node = pool
        .present()
        .find(|node| !node.ready && !pool.is_going(node) && node.made_by.as_deref() != Some(uid))?;
    let message = format!(
        "node {} is not Ready, so no other node of AgentPool {} may be unavailable now",
        node.name, goal.pool
    );
    (!pool.outdated().is_empty()).then(|| ("NodeNotReady".to_owned(), message))
}

/// The nodes of a pool, together with its goal.
pub(super) struct Pool<'a> {
    pub goal: &'a PoolGoal,
    uid: &'a str,
    /// All nodes that carry the pool's label.
    all: &'a [NodeView],
    /// Those that the operation deals with. Quarantined nodes are left alone, as if they weren't there.
    pub nodes: Vec<&'a NodeView>,
}

impl<'a> Pool<'a> {
    pub fn new(goal: &'a PoolGoal, uid: &'a str, nodes: &'a [NodeView]) -> Self {
        let is_left_alone = |node: &NodeView| undrainable::is_left_alone(goal, uid, node);
        Self {
            goal,
            uid,
            all: nodes,
            nodes: nodes.iter().filter(|node| !is_left_alone(node)).collect(),
        }
    }

    /// Returns the nodes that aren't being deleted.
    fn present(&self) -> impl Iterator<Item = &'a NodeView> + Clone {
        self.nodes.iter().copied().filter(|node| !node.deleting)
    }

    /// Returns whether this operation left the node as it was, because it couldn't be drained.
    fn was_given_up(&self, node: &NodeView) -> bool {
        self.goal.count > 0 && node.was_given_up_by(self.uid)
    }

    /// Returns whether this operation has begun to remove the node.
    fn is_going(&self, node: &NodeView) -> bool {
        node.drained_by.as_deref() == Some(self.uid)
    }

    /// Returns whether the operation replaces the node. It tries each node once.
    fn is_outdated(&self, node: &NodeView) -> bool {
        self.goal.replace_outdated
            && (node.version != self.goal.version || node.quarantined)
            && !node.was_given_up_by(self.uid)
    }

    /// Returns the nodes of another version in the order of their replacement: first those whose removal has begun,
    /// then those that aren't Ready, then the oldest.
    pub fn outdated(&self) -> Vec<&'a NodeView> {
        let mut nodes: Vec<_> = self
            .present()
            .filter(|node| self.is_outdated(node))
            .collect();
        nodes.sort_by_key(|node| {
            (
                !self.is_going(node),
                node.ready,
                node.created,
                node.name.clone(),
            )
        });
        nodes
    }

    pub fn up_to_date(&self) -> usize {
        self.present()
            .filter(|node| !self.is_outdated(node) && !self.is_going(node))
            .count()
    }

    /// Returns the nodes beyond the count that no replacement removes, in the order of their removal: first those whose
    /// removal has begun, then those that are cordoned, not Ready, of an older version, the newest.
    pub fn surplus(&self) -> Vec<&'a NodeView> {
        let mut nodes: Vec<_> = self
            .present()
            .filter(|node| !self.is_outdated(node))
            .collect();
        let excess = nodes.len().saturating_sub(self.goal.count);
        nodes.retain(|node| !self.was_given_up(node));
        nodes.sort_by_key(|node| {
            let going = self.is_going(node);
            (
                !going,
                !node.cordoned,
                node.ready,
                node.version,
                Reverse(node.created),
                node.name.clone(),
            )
        });
        nodes.truncate(excess);
        nodes
    }

    /// Returns the nodes of which only the settings change.
    pub fn unlike_their_settings(&self) -> Vec<&'a NodeView> {
        if !self.goal.update_settings {
            return Vec::new();
        }
        let surplus = self.surplus();
        let stays = |node: &NodeView| {
            !self.is_outdated(node)
                && !self.is_going(node)
                && !self.was_given_up(node)
                && !surplus.iter().any(|other| other.name == node.name)
        };
        self.present()
            .filter(|node| node.settings != self.goal.settings && stays(node))
            .collect()
    }

    /// Returns the nodes whose removal this operation has begun, in this run of the operator or in an earlier one.
    fn begun_removals(&self) -> Vec<&'a NodeView> {
        self.present().filter(|node| self.is_going(node)).collect()
    }

    /// Returns how many nodes are still to be created.
    pub fn wanted_new(&self) -> usize {
        self.goal.count.saturating_sub(self.up_to_date())
    }

    /// Returns how many of them may be created now.
    fn room_for_new(&self) -> usize {
        let outdated = self.present().any(|node| self.is_outdated(node));
        let surge = if outdated { self.goal.surge } else { 0 };
        // A node that is being removed still takes its place until it is gone. A quarantined node takes none.
        let taken = self.nodes.iter().filter(|node| !node.quarantined).count();
        let room = (self.goal.count + surge).saturating_sub(taken);
        self.wanted_new().min(room)
    }

    /// Returns the outdated nodes that may go now: those that aren't available anyway, and others as long as enough
    /// nodes stay available.
    fn replaceable(&self) -> Vec<&'a NodeView> {
        // Surplus nodes that are removed in the same round don't count as available.
        let surplus = self.surplus();
        let available = self
            .present()
            .filter(|node| node.ready && !node.quarantined && !self.is_going(node))
            .filter(|node| !surplus.contains(node))
            .count();
        let needed = self.goal.count.saturating_sub(self.goal.unavailable);
        let mut spare = available.saturating_sub(needed);
        let candidates = self
            .outdated()
            .into_iter()
            .filter(|node| !self.is_going(node));
        candidates
            .filter(|node| {
                if !node.ready || node.quarantined {
                    return true;
                }
                let may_go = spare > 0;
                spare = spare.saturating_sub(1);
                may_go
            })
            .collect()
    }

    /// Returns the nodes that this operation has created.
    pub fn made(&self) -> impl Iterator<Item = &'a NodeView> + Clone {
        let uid = self.uid;
        self.present()
            .filter(move |node| node.made_by.as_deref() == Some(uid))
    }

    /// Returns those of them that are coming up, or that are no longer Ready.
    pub fn made_and_not_ready(&self) -> impl Iterator<Item = &'a NodeView> {
        self.made().filter(|node| !node.ready)
    }

    /// Returns names of nodes that this operation may create. They follow from its uid, so that a stale view or a crash
    /// leads to the same names again.
    pub fn new_names(&self) -> impl Iterator<Item = String> {
        let prefix = self.goal.node_prefix.clone();
        let (uid, nodes, pool) = (self.uid, self.all, self.goal.pool.clone());
        (0_usize..)
            .map(move |index| suffixed(&prefix, &[uid, &pool, &index.to_string()]))
            .filter(move |name| !nodes.iter().any(|node| node.name == *name))
    }

    /// Returns whether nothing is left to wait for.
    fn is_settled(&self, stop: Stop) -> bool {
        let going = self
            .nodes
            .iter()
            .any(|node| node.deleting || self.is_going(node));
        let coming = self.made_and_not_ready().next().is_some();
        let reached = stop != Stop::No
            || (self.present().count() == self.goal.count
                && self.outdated().is_empty()
                && self.unlike_their_settings().is_empty());
        !going && !coming && reached
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
