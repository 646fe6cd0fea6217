//! The work of an Operation, as a provider gets it.

use crate::{
    api::OperationError,
    lifecycle::{
        facts::{Operation, PlanState},
        plan::{Job, Plan, Stage},
        preflight::PREFLIGHT,
        snapshot::Snapshot,
    },
};

/// Returns the work of an Operation that has begun.
///
/// # Errors
/// Returns an error if its plan can't be read.
pub fn job(snapshot: &Snapshot, operation: &Operation<'_>) -> Result<Job, OperationError> {
    match &operation.plan {
        PlanState::Begun(plan) => Ok(job_of(snapshot, operation, plan)),
        PlanState::Unreadable(error) => Err(error.clone()),
        PlanState::None => Err(Plan::of_text(None).err().unwrap_or_default()),
    }
}

/// Returns the work of an Operation by that plan.
pub fn job_of(snapshot: &Snapshot, operation: &Operation<'_>, plan: &Plan) -> Job {
    let mut job = job_without_operation(snapshot, plan);
    operation.name.clone_into(&mut job.operation);
    operation.uid.clone_into(&mut job.uid);
    job.steps.clone_from(&operation.status.steps);
    let blocked = operation.status.blocked.as_ref();
    let mut conditions = operation.status.conditions.iter();
    job.has_preflight = conditions.any(|condition| condition.type_ == PREFLIGHT);
    job.blocked = blocked.map(|blocked| (blocked.reason.clone(), blocked.message.clone()));
    job
}

/// Returns the work by a plan when no Operation can be created for it.
pub fn job_without_operation(snapshot: &Snapshot, plan: &Plan) -> Job {
    let cluster = &snapshot.cluster;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let mut stages = plan.stages.clone();
    // No node is created for a pool that no longer exists.
    stages.retain(|stage| match stage {
        Stage::Pool(goal) => goal.count == 0 || snapshot.pool(&goal.pool).is_some(),
        Stage::ControlPlane(_) | Stage::Follow(_) => true,
    });
    Job {
        operation: String::new(),
        uid: String::new(),
        namespace: name(&cluster.metadata.namespace),
        cluster: name(&cluster.metadata.name),
        cluster_uid: name(&cluster.metadata.uid),
        provider: cluster.spec.provider.clone(),
        stages,
        steps: Vec::new(),
        blocked: None,
        has_preflight: false,
    }
}
