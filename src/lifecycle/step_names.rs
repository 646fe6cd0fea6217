//! The names of steps, which people read and programs match.

use crate::api::{OperationTarget, Step, StepAction, StepPhase, TargetKind};

/// The name of the step that changes the control plane.
pub const CONTROL_PLANE_STEP: &str = "control-plane";
/// The prefix of the name of a step about one node.
pub const NODE_STEP_PREFIX: &str = "node/";
/// The prefix of the name of a step about many nodes of a pool.
pub const POOL_STEP_PREFIX: &str = "agentpool/";

/// Returns the name of the step that changes a control plane, or a whole pool.
pub fn step_of(target: &OperationTarget) -> String {
    match target.kind {
        TargetKind::ManagedCluster => CONTROL_PLANE_STEP.into(),
        TargetKind::AgentPool => format!("{POOL_STEP_PREFIX}{}", target.name),
    }
}

/// Returns a step that hasn't begun.
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
