//! The names of steps, which people read and programs match.

use crate::api::{OperationTarget, Step, StepAction, StepPhase, TargetKind};

/// The name of the step that changes the control plane.
pub const CONTROL_PLANE_STEP: &str = "control-plane";
/// What the name of a step begins with that is about one node.
pub const NODE_STEP_PREFIX: &str = "node/";
/// What the name of a step begins with that is about many nodes of a pool.
pub const POOL_STEP_PREFIX: &str = "agentpool/";

/// The name of the step that changes a control plane, or all of a pool.
pub fn step_of(target: &OperationTarget) -> String {
    match target.kind {
        TargetKind::ManagedCluster => CONTROL_PLANE_STEP.into(),
        TargetKind::AgentPool => format!("{POOL_STEP_PREFIX}{}", target.name),
    }
}

/// A step that hasn't begun.
pub fn step(name: String, action: StepAction, message: String) -> Step {
    Step {
        name,
        action,
        phase: StepPhase::Pending,
        message,
        nodes: None,
        nodes_done: None,
        percent_complete: None,
        handle: None,
        start_time: None,
        end_time: None,
    }
}
