//! The rollout of one pool, node by node: what to make and what to take away next, from the nodes that
//! there are. Nothing of it is remembered; called again after a crash, it goes on where the nodes stand.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::lifecycle::{NodeView, PoolGoal, Stop, suffixed};

/// What to do next to one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeAction {
    /// Make a node of that name.
    Create(String),
    /// Cordon it, drain it where the goal says so, delete it.
    Remove(String),
    /// Give it the pool's settings, in place.
    Update(String),
}

impl NodeAction {
    /// The node's name.
    pub fn node(&self) -> &str {
        match self {
            Self::Create(name) | Self::Remove(name) | Self::Update(name) => name,
        }
    }
}

/// Whether an action goes on with what this operation has begun.
pub fn has_begun(action: &NodeAction, uid: &str, nodes: &[NodeView]) -> bool {
    let node = nodes.iter().find(|node| node.name == action.node());
    let is_going = node.is_some_and(|node| node.drained_by.as_deref() == Some(uid));
    matches!(action, NodeAction::Remove(_)) && is_going
}

/// What to do next to a pool, and whether there is anything left to do or to wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// What may go on now, side by side.
    pub actions: Vec<NodeAction>,
    /// Whether the goal is reached.
    pub done: bool,
}

/// What brings the pool nearer to its goal without breaking its bounds: never more than
/// `count + surge` nodes, never fewer than `count - unavailable` available ones while replacing.
/// With [`Stop::AfterStep`] only what has begun goes on.
pub fn next(goal: &PoolGoal, uid: &str, nodes: &[NodeView], stop: Stop) -> Next {
    next_beside(&BTreeSet::new(), goal, uid, nodes, stop)
}

/// The same, where nodes of others have some names: nodes of all clusters share theirs.
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

/// What the rollout waits for though it does nothing about it: a node that isn't Ready keeps others from
/// being replaced. A reason in one word, and a message.
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

/// The nodes of a pool, seen with its goal.
pub(super) struct Pool<'a> {
    pub goal: &'a PoolGoal,
    uid: &'a str,
    pub nodes: &'a [NodeView],
}

impl<'a> Pool<'a> {
    pub fn new(goal: &'a PoolGoal, uid: &'a str, nodes: &'a [NodeView]) -> Self {
        Self { goal, uid, nodes }
    }

    /// The nodes that are to stay for now.
    fn present(&self) -> impl Iterator<Item = &'a NodeView> + Clone + use<'a> {
        self.nodes.iter().filter(|node| !node.deleting)
    }

    /// Whether this operation has begun to take the node away.
    fn is_going(&self, node: &NodeView) -> bool {
        node.drained_by.as_deref() == Some(self.uid)
    }

    fn is_outdated(&self, node: &NodeView) -> bool {
        self.goal.replace_outdated && node.version != self.goal.version
    }

    /// Those of another version, in the order in which they are replaced: what is of no use first, then the oldest.
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

    /// Those beyond the count that no replacement takes away: cordoned ones first, then those that are
    /// not Ready, of the older version, the newest.
    pub fn surplus(&self) -> Vec<&'a NodeView> {
        let mut nodes: Vec<_> = self
            .present()
            .filter(|node| !self.is_outdated(node))
            .collect();
        let excess = nodes.len().saturating_sub(self.goal.count);
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

    /// Those that stay as they are but for their settings.
    pub fn unlike_their_settings(&self) -> Vec<&'a NodeView> {
        if !self.goal.update_settings {
            return Vec::new();
        }
        let surplus = self.surplus();
        let stays = |node: &NodeView| {
            !self.is_outdated(node)
                && !self.is_going(node)
                && !surplus.iter().any(|other| other.name == node.name)
        };
        self.present()
            .filter(|node| node.settings != self.goal.settings && stays(node))
            .collect()
    }

    /// Removals that this operation has begun, in this life of the operator or in an earlier one.
    fn begun_removals(&self) -> Vec<&'a NodeView> {
        self.present().filter(|node| self.is_going(node)).collect()
    }

    /// How many nodes are still to be made.
    pub fn wanted_new(&self) -> usize {
        self.goal.count.saturating_sub(self.up_to_date())
    }

    /// How many of them may be made now.
    fn room_for_new(&self) -> usize {
        let outdated = self.present().any(|node| self.is_outdated(node));
        let surge = if outdated { self.goal.surge } else { 0 };
        // A node that is going still takes its place, until it is gone.
        let room = (self.goal.count + surge).saturating_sub(self.nodes.len());
        self.wanted_new().min(room)
    }

    /// Outdated nodes that may go now: those that aren't available anyway, and as many others as
    /// leave enough available ones.
    fn replaceable(&self) -> Vec<&'a NodeView> {
        // What is taken as surplus in the same stride is no longer there to count on.
        let surplus = self.surplus();
        let available = self
            .present()
            .filter(|node| node.ready && !self.is_going(node))
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
                if !node.ready {
                    return true;
                }
                let may_go = spare > 0;
                spare = spare.saturating_sub(1);
                may_go
            })
            .collect()
    }

    /// Those that this operation has made.
    pub fn made(&self) -> impl Iterator<Item = &'a NodeView> + Clone {
        let uid = self.uid;
        self.present()
            .filter(move |node| node.made_by.as_deref() == Some(uid))
    }

    /// Those of them that come up, or that aren't Ready any more.
    pub fn made_and_not_ready(&self) -> impl Iterator<Item = &'a NodeView> {
        self.made().filter(|node| !node.ready)
    }

    /// Names of nodes that this operation may make. They follow from its uid, so that a stale view or a
    /// crash leads to the same ones again.
    pub fn new_names(&self) -> impl Iterator<Item = String> {
        let prefix = self.goal.node_prefix.clone();
        let (uid, nodes, pool) = (self.uid, self.nodes, self.goal.pool.clone());
        (0_usize..)
            .map(move |index| suffixed(&prefix, &[uid, &pool, &index.to_string()]))
            .filter(move |name| !nodes.iter().any(|node| node.name == *name))
    }

    /// Whether nothing is left to wait for.
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
