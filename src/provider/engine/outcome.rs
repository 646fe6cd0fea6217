//! The nodes of a pool after an engine has reached a goal, as a forecast needs them.

use crate::lifecycle::{NodeView, PoolGoal};

/// Returns the nodes of a pool after its goal is reached. The engine itself chooses the names of new nodes.
pub fn outcome(goal: &PoolGoal, nodes: &[NodeView]) -> Vec<NodeView> {
    let mut nodes: Vec<_> = nodes
        .iter()
        .filter(|node| !node.deleting)
        .cloned()
        .collect();
    for node in &mut nodes {
        if goal.replace_outdated {
            node.version = goal.version;
        }
        if goal.update_settings {
            node.settings = goal.settings.clone();
        }
    }
    nodes.truncate(goal.count);
    nodes.resize_with(goal.count, || goal.node(goal.node_prefix.clone()));
    nodes
}
