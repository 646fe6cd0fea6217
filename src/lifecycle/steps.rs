//! The steps of an operation: planned when it starts, then updated with their progress. They are only a report: what
//! Belay does next depends on the objects, not on the steps.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Step, StepAction, StepPhase};

use super::{
    observed::ControlPlaneView,
    plan::{ControlPlaneGoal, Job, Stage},
    snapshot::{Progress, Snapshot},
    step_names::{CONTROL_PLANE_STEP, step},
};

/// The maximum number of steps for single nodes in an operation, so that the largest status stays well under the size
/// limit of an object. Further nodes are reported by pool.
const MOST_NODE_STEPS: usize = 200;

/// Returns the steps from the observed state to the job's goal.
pub(super) fn plan(job: &Job, snapshot: &Snapshot) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut left = MOST_NODE_STEPS;
    for stage in &job.stages {
        let of_stage = of_stage(stage, &job.uid, snapshot, left);
        if matches!(stage, Stage::Pool(_)) {
            left = left.saturating_sub(of_stage.len());
        }
        steps.extend(of_stage);
    }
    steps
}

/// Returns the steps of one stage, with at most `most` steps for single nodes.
pub(super) fn of_stage(stage: &Stage, uid: &str, snapshot: &Snapshot, most: usize) -> Vec<Step> {
    match stage {
        Stage::Pool(goal) => (snapshot.rules).steps(goal, uid, snapshot.nodes(&goal.pool), most),
        Stage::Follow(followed) => vec![followed.step()],
        Stage::ControlPlane(goal) => {
            let observed = &snapshot.observed;
            let settled = || {
                (
                    StepAction::Update,
                    "completes what failed at the provider".to_owned(),
                )
            };
            let change = control_plane_change(observed.control_plane, *goal);
            let change = change.or_else(|| observed.is_unsettled.then(settled));
            let step =
                change.map(|(action, message)| step(CONTROL_PLANE_STEP.into(), action, message));
            step.into_iter().collect()
        }
    }
}

/// Returns what is done to the control plane. None if nothing.
fn control_plane_change(
    observed: Option<ControlPlaneView>,
    goal: Option<ControlPlaneGoal>,
) -> Option<(StepAction, String)> {
    let (observed, goal) = match (observed, goal) {
        (None, goal) => return goal.map(|goal| (StepAction::Create, goal.version.to_string())),
        (Some(_), None) => return Some((StepAction::Delete, String::new())),
        (Some(observed), Some(goal)) => (observed, goal),
    };
    let change = if observed.version == goal.version {
        String::new()
    } else {
        format!("{} to {}", observed.version, goal.version)
    };
    match (observed.running, goal.running) {
        (true, false) => Some((StepAction::Stop, change)),
        (false, true) => Some((StepAction::Start, change)),
        _ if change.is_empty() => None,
        _ => Some((StepAction::Upgrade, change)),
    }
}

/// Returns the steps updated with their reports. A step that has ended doesn't change.
pub(super) fn merge(steps: &[Step], progress: &Progress, now: Timestamp) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for report in &progress.steps {
        let step = steps
            .iter_mut()
            .find(|step| step.name == report.name && !has_ended(step.phase));
        if let Some(step) = step {
            set_phase(step, report.phase, now);
            step.message.clone_from(&report.message);
            step.nodes_done = step.nodes_done.max(report.nodes_done);
            step.percent_complete = step.percent_complete.max(report.percent);
            if report.handle.is_some() {
                step.handle.clone_from(&report.handle);
            }
        }
    }
    steps
}

/// Returns the steps of an operation that has ended: steps in process become `in_process`, and those that never ran
/// are Skipped.
pub(super) fn end(steps: &[Step], in_process: StepPhase, now: Timestamp) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for step in &mut steps {
        match step.phase {
            StepPhase::InProgress => set_phase(step, in_process, now),
            StepPhase::Pending => step.phase = StepPhase::Skipped,
            _ => {}
        }
    }
    steps
}

/// Returns the steps of an operation that succeeded.
pub(super) fn succeed(steps: &[Step], now: Timestamp) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for step in steps.iter_mut().filter(|step| !has_ended(step.phase)) {
        set_phase(step, StepPhase::Succeeded, now);
        step.message.clear();
    }
    steps
}

/// Returns the progress of the steps: 0 to 99, because 100 means that the operation succeeded. Steps are weighted by
/// their typical duration; a step in process counts by its own progress.
pub(super) fn percent(steps: &[Step]) -> i32 {
    let all: i64 = steps.iter().map(|step| weight(step) * nodes(step)).sum();
    let done = |step: &Step| weight(step) * nodes(step) * part(step);
    let done: i64 = steps.iter().map(done).sum();
    let percent = done.checked_div(all).unwrap_or_default();
    i32::try_from(percent.min(99)).unwrap_or(99)
}

/// Returns the progress of one step in percent: the engine's percentage, else by its finished nodes, else half a
/// node.
fn part(step: &Step) -> i64 {
    match (step.phase, step.percent_complete, step.nodes_done) {
        (StepPhase::Succeeded, _, _) => 100,
        (StepPhase::InProgress, Some(percent), _) => i64::from(percent.clamp(0, 100)),
        (StepPhase::InProgress, None, Some(done)) => 100 * i64::from(done) / nodes(step).max(1),
        (StepPhase::InProgress, None, None) => 50 / nodes(step).max(1),
        _ => 0,
    }
}

/// Returns the relative duration of a step. What takes time is bringing up a machine.
fn weight(step: &Step) -> i64 {
    match step.action {
        StepAction::Replace => 5,
        StepAction::Create | StepAction::Upgrade | StepAction::Start => 4,
        StepAction::Delete | StepAction::Update | StepAction::Stop => 1,
    }
}

fn nodes(step: &Step) -> i64 {
    i64::from(step.nodes.unwrap_or(1))
}

fn has_ended(phase: StepPhase) -> bool {
    !matches!(phase, StepPhase::Pending | StepPhase::InProgress)
}

fn set_phase(step: &mut Step, phase: StepPhase, now: Timestamp) {
    if step.phase == phase {
        return;
    }
    step.phase = phase;
    let start = step.start_time.get_or_insert(Time(now));
    step.end_time = has_ended(phase).then(|| end_of(Some(start), now));
}

/// Returns when something ended that began at `start`. The end is never before the start, even if the clock was set
/// back in between, or if the next operator's clock is behind.
pub(super) fn end_of(start: Option<&Time>, now: Timestamp) -> Time {
    Time(start.map_or(now, |start| start.0.max(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::snapshot::StepReport;

    fn step(name: &str, phase: StepPhase) -> Step {
        Step {
            phase,
            ..super::step(name.into(), StepAction::Replace, String::new())
        }
    }

    #[test]
    fn a_running_step_counts_half_in_the_percentage() {
        use StepPhase::{InProgress, Pending, Succeeded};
        for (phases, expected) in [
            (vec![], 0),
            (vec![Pending, Pending], 0),
            (vec![InProgress, Pending], 25),
            (vec![Succeeded, Pending, Pending], 33),
            (vec![Succeeded, Succeeded], 99),
        ] {
            let steps: Vec<_> = phases.iter().map(|phase| step("node/a", *phase)).collect();
            assert_eq!(percent(&steps), expected, "{phases:?}");
        }
    }

    #[test]
    fn an_ended_step_stays_ended() {
        let report = StepReport {
            name: "node/a".into(),
            phase: StepPhase::InProgress,
            message: "again".into(),
            ..StepReport::default()
        };
        let before = vec![step("node/a", StepPhase::Succeeded)];
        let progress = Progress {
            steps: vec![report],
            blocked: None,
            ..Progress::default()
        };
        assert_eq!(merge(&before, &progress, Timestamp::UNIX_EPOCH), before);
    }

    #[test]
    fn at_the_end_running_steps_are_canceled_and_pending_steps_are_skipped() {
        use StepPhase::{Canceled, InProgress, Pending, Skipped, Succeeded};
        let before = [
            step("a", Succeeded),
            step("b", InProgress),
            step("c", Pending),
        ];
        let after = end(&before, Canceled, Timestamp::UNIX_EPOCH);
        let phases: Vec<_> = after.iter().map(|step| step.phase).collect();
        assert_eq!(phases, [Succeeded, Canceled, Skipped]);
        assert!(after[2].start_time.is_none(), "it never ran");
    }

    #[test]
    fn a_step_never_ends_before_it_started_even_if_the_clock_is_set_back() {
        let mut step = step("a", StepPhase::Pending);
        let (began, back) = (Timestamp::from_second(7200).ok(), Timestamp::UNIX_EPOCH);
        set_phase(&mut step, StepPhase::InProgress, began.unwrap_or_default());
        set_phase(&mut step, StepPhase::Succeeded, back);
        assert_eq!(step.end_time, step.start_time);
    }
}
