//! What an abort leaves behind, computed from the current steps.

use kube::ResourceExt as _;

use crate::{
    api::{
        AbortPolicy, AgentPool, Operation, OperationPhase, OperationType, Step, StepAction,
        StepPhase, TargetKind,
    },
    cli::{cluster::view::status, terminal::text},
    lifecycle::step_names::CONTROL_PLANE_STEP,
};

/// The input of the computation.
pub struct Facts<'a> {
    /// The Operation that is to be aborted.
    pub operation: &'a Operation,
    /// The version that the control plane runs now.
    pub control_plane: Option<&'a str>,
    /// The pools of the cluster.
    pub pools: &'a [AgentPool],
    /// How the step in progress is treated.
    pub policy: AbortPolicy,
    /// Whether it is a cluster in EKS, which can cancel only the rollback of a control plane.
    pub is_eks: bool,
}

/// Returns why the abort will be refused, if that is known before.
///
/// Source: <https://docs.aws.amazon.com/eks/latest/APIReference/API_CancelUpdate.html>
pub fn refusal(facts: &Facts<'_>) -> Option<String> {
    let status = status(facts.operation);
    let mut steps = status.steps.iter();
    let step = steps.find(|step| step.phase == StepPhase::InProgress)?;
    let stops = !facts.is_eks || facts.is_rollback() || facts.policy == AbortPolicy::AfterStep;
    (!stops).then(|| {
        format!(
            "EKS can't stop the step in progress ({}): it will refuse this abort, and the operation will go on. With --after-step, no further step begins.",
            step.name
        )
    })
}

/// Returns one sentence for each thing that is left: what stays done, what happens to the step in progress, what isn't
/// done.
pub fn sentences(facts: &Facts<'_>) -> Vec<String> {
    let status = status(facts.operation);
    if status.phase == OperationPhase::Pending {
        return vec!["The operation has not begun: nothing is changed.".into()];
    }
    let mut sentences = Vec::new();
    for phase in [
        StepPhase::Succeeded,
        StepPhase::InProgress,
        StepPhase::Pending,
    ] {
        let of = |step: &&Step| step.phase == phase;
        for step in status.steps.iter().filter(of) {
            if is_single(step) && step.name != CONTROL_PLANE_STEP && phase != StepPhase::InProgress
            {
                continue;
            }
            sentences.extend(facts.of_step(step));
        }
        if phase != StepPhase::InProgress {
            sentences.extend(of_nodes(&status.steps, phase));
        }
    }
    sentences.extend(facts.more_nodes_than_asked_for());
    if facts.policy == AbortPolicy::AfterStep && status.blocked.is_some() {
        sentences.push("The step in progress is blocked: the operation stops when that step ends. An abort without --after-step stops it now.".into());
    }
    sentences
}

/// Describes the state after the abort of an Operation that has begun.
pub fn afterwards(operation: &Operation) -> String {
    let spec = &operation.spec;
    let kind = spec.target.kind;
    if spec.type_ == OperationType::Rollback && kind == TargetKind::ManagedCluster {
        return "Nothing is undone. The pools then change to the control plane's version, by Operations of their own.".into();
    }
    format!(
        "Nothing is undone. The rest is then on hold until the {kind:?}'s spec asks for something else, or until someone asks for the rest:"
    )
}

impl Facts<'_> {
    fn of_step(&self, step: &Step) -> Option<String> {
        if step.name == CONTROL_PLANE_STEP {
            return Some(self.of_control_plane(step));
        }
        match (step.phase, is_single(step)) {
            (_, false) => Some(of_rest(step)),
            (StepPhase::InProgress, true) => Some(self.of_node(step)),
            _ => None,
        }
    }

    fn of_control_plane(&self, step: &Step) -> String {
        let runs = self.control_plane.unwrap_or("its version");
        match (step.phase, step.action) {
            (StepPhase::InProgress, _) if self.is_rollback() => {
                "The control plane's rollback has begun: the abort will be refused.".into()
            }
            (StepPhase::InProgress, _) if self.policy == AbortPolicy::AfterStep => {
                "The control plane's change has begun and will be finished.".into()
            }
            (StepPhase::InProgress, StepAction::Create) => {
                "The control plane is being created: its creation stops.".into()
            }
            (StepPhase::InProgress, _) => {
                format!(
                    "The control plane's change has begun: it stops, and the control plane stays on {runs}."
                )
            }
            (StepPhase::Succeeded, StepAction::Delete) => "The control plane is gone.".into(),
            (StepPhase::Succeeded, StepAction::Stop) => "The control plane stays off.".into(),
            (StepPhase::Succeeded, _) => format!("The control plane stays on {runs}."),
            _ => format!("The control plane is not changed: it stays on {runs}."),
        }
    }

    fn is_rollback(&self) -> bool {
        self.operation.spec.type_ == OperationType::Rollback
    }

    /// Describes the step in progress on a node.
    fn of_node(&self, step: &Step) -> String {
        let node = node_of(step);
        if self.policy == AbortPolicy::AfterStep {
            return format!("{node} is finished first. It is {}.", doing(step));
        }
        let is_draining = step.message.starts_with("draining");
        match step.action {
            StepAction::Replace | StepAction::Delete if is_draining => {
                format!(
                    "{node} stays: its drain stops ({}), and it takes pods again.",
                    step.message
                )
            }
            StepAction::Replace => {
                match step.message.strip_prefix("waiting for its replacement ") {
                    Some(rest) => {
                        let made = rest.trim_end_matches(" to be Ready");
                        format!(
                            "{node} stays as it is; its replacement {made}, which is not Ready yet, is deleted."
                        )
                    }
                    None => format!("{node} stays as it is."),
                }
            }
            StepAction::Create => format!("{node} is not Ready yet and is deleted."),
            StepAction::Delete => format!("{node} stays."),
            StepAction::Update => format!("{node} may have its new settings or its old ones."),
            StepAction::Upgrade | StepAction::Start | StepAction::Stop => {
                format!("{node} stays as it is.")
            }
        }
    }

    /// A node that was created to replace another one stays beside it.
    fn more_nodes_than_asked_for(&self) -> Vec<String> {
        let replaces = status(self.operation)
            .steps
            .iter()
            .any(|step| step.action == StepAction::Replace && step.phase == StepPhase::InProgress);
        if !replaces || self.policy == AbortPolicy::AfterStep {
            return Vec::new();
        }
        let surplus = |pool: &AgentPool| {
            let ready = pool.status.as_ref().map_or(0, |status| status.ready_count);
            usize::try_from(ready - pool.spec.count).unwrap_or_default()
        };
        let with_surplus = self.pools.iter().filter(|pool| surplus(pool) > 0);
        with_surplus
            .map(|pool| {
                let more = text::count(surplus(pool), "node");
                format!("Pool {} keeps {more} more than its count, because replacements were already created.", pool.name_any())
            })
            .collect()
    }
}

/// Describes the steps on single nodes that have ended or never began, together.
fn of_nodes(steps: &[Step], phase: StepPhase) -> Vec<String> {
    use StepAction::{Create, Delete, Replace, Start, Stop, Update, Upgrade};
    let sentence = |action: StepAction| {
        let names: Vec<&str> = steps
            .iter()
            .filter(|step| step.phase == phase && step.action == action)
            .filter(|step| is_single(step) && step.name != CONTROL_PLANE_STEP)
            .map(|step| step.name.trim_start_matches("node/"))
            .collect();
        if names.is_empty() {
            return None;
        }
        let nodes = text::count(names.len(), "node");
        let is = if names.len() == 1 { "is" } else { "are" };
        let names = text::list(&names);
        let (done, not_done) = match action {
            Create => ("created, and stay", "not created"),
            Replace => (
                "replaced, and stay so",
                "not replaced, and stay as they are",
            ),
            Delete => ("deleted, and stay deleted", "not deleted"),
            Update => ("updated, and stay so", "not updated"),
            Upgrade => ("upgraded, and stay so", "not upgraded"),
            Start => ("started, and stay so", "not started"),
            Stop => ("stopped, and stay so", "not stopped"),
        };
        let what = if phase == StepPhase::Succeeded {
            done
        } else {
            not_done
        };
        let what = if is == "is" {
            what.replace("they are", "it is").replace("stay", "stays")
        } else {
            what.to_owned()
        };
        Some(format!("{nodes} {is} {what}: {names}."))
    };
    [Create, Replace, Delete, Update, Upgrade, Start, Stop]
        .into_iter()
        .filter_map(sentence)
        .collect()
}

/// Describes the step that stands for many nodes of a pool.
fn of_rest(step: &Step) -> String {
    let pool = step.name.trim_start_matches("agentpool/");
    let nodes = step.nodes.unwrap_or_default();
    let done = match step.phase {
        StepPhase::Succeeded => nodes,
        _ => step.nodes_done.unwrap_or_default(),
    };
    format!(
        "Of {nodes} more nodes of pool {pool}, {done} are done and stay so, and {} are not.",
        nodes - done
    )
}

fn is_single(step: &Step) -> bool {
    step.nodes.is_none()
}

fn node_of(step: &Step) -> String {
    format!("Node {}", step.name.trim_start_matches("node/"))
}

fn doing(step: &Step) -> String {
    match step.message.as_str() {
        "" => format!("in its {:?}", step.action).to_lowercase(),
        message => message.to_owned(),
    }
}
