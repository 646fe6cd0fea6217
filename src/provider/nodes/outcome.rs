//! The nodes of a pool once its rollout has ended.

use jiff::Timestamp;

use crate::lifecycle::{NodeView, PoolGoal, Stop};

use super::rollout::{self, NodeAction};

/// More rounds than a rollout needs if all nodes may change at once.
const ENOUGH: usize = 10;

/// Brings the pool to its goal, with the actions of the rollout.
pub(super) fn roll_out(nodes: &mut Vec<NodeView>, goal: &PoolGoal, uid: &str) {
    let at_once = PoolGoal {
        surge: goal.count,
        unavailable: goal.count,
        ..goal.clone()
    };
    nodes.retain(|node| !node.deleting);
    for node in nodes.iter_mut() {
        node.drained_by = node.drained_by.take().filter(|by| by == uid);
        node.ready |= node.made_by.as_deref() == Some(uid);
    }
    for _ in 0..ENOUGH {
        let next = rollout::next(&at_once, uid, nodes, Stop::No);
        if next.done {
            return;
        }
        for action in next.actions {
            act(nodes, goal, uid, action);
        }
    }
}

fn act(nodes: &mut Vec<NodeView>, goal: &PoolGoal, uid: &str, action: NodeAction) {
    match action {
        NodeAction::Create(name) => nodes.push(NodeView {
            made_by: Some(uid.to_owned()),
            created: Timestamp::MAX,
            ..goal.node(name)
        }),
        NodeAction::Remove(name) => nodes.retain(|node| node.name != name),
        NodeAction::Update(name) => {
            let node = nodes.iter_mut().find(|node| node.name == name);
            if let Some(node) = node {
                node.settings = goal.settings.clone();
            }
        }
    }
}
