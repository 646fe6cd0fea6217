//! The nodes of a pool once an engine has reached a goal, as a forecast needs them.

use crate::lifecycle::{NodeView, PoolGoal};

/// The nodes of a pool once its goal is reached. An engine names new ones itself.
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
