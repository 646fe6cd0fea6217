//! The steps of an operation: planned when it starts, then told as far as they are. They are a report:
//! what to do next follows from the objects, not from the steps.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{Step, StepAction, StepPhase};

use super::{Job, Progress, Snapshot, Stage, rollout};

/// The name of the step that changes the control plane.
pub const CONTROL_PLANE_STEP: &str = "control-plane";

/// The steps that lead from what is observed to what the job asks for.
pub(super) fn plan(job: &Job, snapshot: &Snapshot) -> Vec<Step> {
    let mut steps = Vec::new();
    for stage in &job.stages {
        match stage {
            Stage::Pool(goal) => {
                steps.extend(rollout::plan(goal, &job.uid, snapshot.nodes(&goal.pool)));
            }
            Stage::ControlPlane(version) => {
                let (action, message) = match (snapshot.control_plane(), version) {
                    (None, Some(version)) => (StepAction::Create, version.to_string()),
                    (Some(runs), Some(version)) if runs != *version => {
                        (StepAction::Upgrade, format!("{runs} to {version}"))
                    }
                    (Some(_), None) => (StepAction::Delete, String::new()),
                    _ => continue,
                };
                let (name, phase) = (CONTROL_PLANE_STEP.to_owned(), StepPhase::Pending);
                steps.push(Step {
                    name,
                    action,
                    phase,
                    message,
                    start_time: None,
                    end_time: None,
                });
            }
        }
    }
    steps
}

/// The steps with what is reported of them. What has ended stays so.
pub(super) fn merge(steps: &[Step], progress: &Progress, now: Timestamp) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for report in &progress.steps {
        let step = steps
            .iter_mut()
            .find(|step| step.name == report.name && !has_ended(step.phase));
        if let Some(step) = step {
            set_phase(step, report.phase, now);
            step.message.clone_from(&report.message);
        }
    }
    steps
}

/// The steps of an operation that has ended: what was in process became `in_process`, what never ran is Skipped.
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

/// The steps of an operation that succeeded.
pub(super) fn succeed(steps: &[Step], now: Timestamp) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for step in steps.iter_mut().filter(|step| !has_ended(step.phase)) {
        set_phase(step, StepPhase::Succeeded, now);
        step.message.clear();
    }
    steps
}

/// How far the steps are: 0 to 99, since 100 is for an operation that succeeded.
pub(super) fn percent(steps: &[Step]) -> i32 {
    let done: usize = steps
        .iter()
        .map(|step| match step.phase {
            StepPhase::Succeeded => 2,
            StepPhase::InProgress => 1,
            _ => 0,
        })
        .sum();
    let percent = (done * 100)
        .checked_div(steps.len() * 2)
        .unwrap_or_default();
    i32::try_from(percent.min(99)).unwrap_or(99)
}

fn has_ended(phase: StepPhase) -> bool {
    !matches!(phase, StepPhase::Pending | StepPhase::InProgress)
}

fn set_phase(step: &mut Step, phase: StepPhase, now: Timestamp) {
    if step.phase == phase {
        return;
    }
    step.phase = phase;
    step.start_time.get_or_insert(Time(now));
    step.end_time = has_ended(phase).then_some(Time(now));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::StepReport;

    fn step(name: &str, phase: StepPhase) -> Step {
        Step {
            name: name.into(),
            action: StepAction::Replace,
            phase,
            message: String::new(),
            start_time: None,
            end_time: None,
        }
    }

    #[test]
    fn percent_counts_what_is_done_and_half_of_what_is_in_process() {
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
    fn a_step_that_ended_stays_so() {
        let report = StepReport {
            name: "node/a".into(),
            phase: StepPhase::InProgress,
            message: "again".into(),
        };
        let before = vec![step("node/a", StepPhase::Succeeded)];
        let progress = Progress {
            steps: vec![report],
            blocked: None,
        };
        assert_eq!(merge(&before, &progress, Timestamp::UNIX_EPOCH), before);
    }

    #[test]
    fn at_the_end_what_ran_has_stopped_and_what_never_ran_is_skipped() {
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
}
