//! What there is once a piece of work has done all that it was asked for.

use jiff::Timestamp;

use crate::lifecycle::{
    plan::{Job, PoolGoal, Stage},
    rollout::{self, NodeAction},
    snapshot::{ControlPlaneView, NodeView, Observation, Stop},
};

/// Strides that are more than enough where all nodes may change at once.
const ENOUGH: usize = 10;

/// Brings about what the job asks for.
pub(super) fn bring_about(observed: &mut Observation, job: &Job) {
    for stage in &job.stages {
        match stage {
            Stage::ControlPlane(goal) => {
                observed.control_plane = goal.map(|goal| ControlPlaneView {
                    version: goal.version,
                    running: goal.running,
                    changing_to: None,
                });
            }
            Stage::Pool(goal) => {
                let nodes = observed.nodes.entry(goal.pool.clone()).or_default();
                roll_out(nodes, goal, &job.uid);
            }
        }
    }
}

/// Takes the pool to its goal, by what the rollout says is to be done.
fn roll_out(nodes: &mut Vec<NodeView>, goal: &PoolGoal, uid: &str) {
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
            name,
            version: goal.version,
            ready: true,
            cordoned: false,
            deleting: false,
            settings: goal.settings.clone(),
            drained_by: None,
            made_by: Some(uid.to_owned()),
            created: Timestamp::MAX,
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
