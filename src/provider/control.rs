//! How the work of an Operation and the controller talk to each other: the controller asks the work to stop,
//! and the work reports its progress.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{ForcedPod, Operation, Step, StepPhase},
    lifecycle::{Preflight, Progress, StepReport, Stop, forced_until},
};

/// How the work of a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that the job asked for is done.
    Done,
    /// It stopped because the controller asked for that.
    Stopped,
    /// The controller asked it to stop, but the engine refused, with these words. The engine continues.
    Refused(String),
}

/// What an Operation's status keeps of its steps. The API server has stored it, so a restart doesn't lose it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The names of the steps that have begun.
    begun: BTreeSet<String>,
    /// Their handles.
    handles: BTreeSet<String>,
    /// Until when pods that a budget protects are deleted.
    forced_until: Option<Timestamp>,
    /// The uids of the pods that are deleted by force.
    forced: BTreeSet<String>,
}

impl Kept {
    /// Returns what an Operation's status keeps, as the API server has stored it.
    pub fn of_operation(operation: &Operation) -> Self {
        let status = operation.status.as_ref();
        let pods = status.and_then(|status| status.force.as_ref());
        let pods = pods.iter().flat_map(|force| &force.pods);
        Self {
            forced_until: forced_until(operation),
            forced: pods.map(|pod| pod.uid.clone()).collect(),
            ..Self::of(status.map_or(&[], |status| &status.steps))
        }
    }

    /// Returns what these steps keep.
    pub fn of(steps: &[Step]) -> Self {
        let begun = steps.iter().filter(|step| step.phase != StepPhase::Pending);
        let handles = steps.iter().filter_map(|step| step.handle.clone());
        Self {
            begun: begun.map(|step| step.name.clone()).collect(),
            handles: handles.collect(),
            ..Self::default()
        }
    }
}

/// What the work of a job and the controller share.
#[derive(Clone)]
pub struct Control {
    stop: watch::Receiver<Stop>,
    progress: Arc<Mutex<Progress>>,
    kept: watch::Receiver<Kept>,
    changed: Arc<dyn Fn() + Send + Sync>,
    pace: Arc<Mutex<Pace>>,
}

/// How often the controller is woken for progress. Each wake-up costs a write of the Operation's status.
const PACE: Duration = Duration::from_secs(1);

/// When the controller was last woken, and whether the next wake-up is scheduled.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    is_due: bool,
}

impl Control {
    /// Shares `stop`, the request to stop, and `kept`, what the status keeps. `blocked` is what blocked the work before
    /// a restart. Calls `changed` when the progress changes: at once if a block begins or ends, otherwise once a second
    /// at most.
    pub fn new(
        stop: watch::Receiver<Stop>,
        kept: watch::Receiver<Kept>,
        blocked: Option<(String, String)>,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        let progress = Progress {
            blocked,
            ..Progress::default()
        };
        Self {
            stop,
            progress: Arc::new(Mutex::new(progress)),
            kept,
            changed,
            pace: Arc::default(),
        }
    }

    /// Returns a control for work that nobody can stop any more.
    pub fn unstoppable() -> Self {
        let kept = watch::channel(Kept::default()).1;
        Self::new(watch::channel(Stop::No).1, kept, None, Arc::new(|| ()))
    }

    /// Returns whether the work may go on.
    pub fn stop(&self) -> Stop {
        *self.stop.borrow()
    }

    /// Waits until the controller asks for a stop that is at least as urgent as `stop`.
    pub async fn until_stop(&self, stop: Stop) {
        let mut asked = self.stop.clone();
        if asked.wait_for(|now| *now >= stop).await.is_err() {
            // The controller is gone: the process ends.
            std::future::pending::<()>().await;
        }
    }

    /// Begins a step and reports it. Returns false, and begins nothing, once the controller has asked for a
    /// stop. A controller that asks for a stop and then reads the progress therefore sees every step that began.
    pub fn begin(&self, step: StepReport) -> bool {
        // This lock is held until the step is reported, so that no request to stop comes in between.
        let stop = self.stop.borrow();
        if *stop != Stop::No {
            return false;
        }
        let blocked = self.progress().blocked;
        self.report(Progress {
            steps: vec![step],
            blocked,
            ..Progress::default()
        });
        true
    }

    /// Reports a step's handle, and waits until the Operation's status keeps it, so that a restart doesn't lose it.
    /// Returns at once when the controller asks for a stop.
    pub async fn keep(&self, step: StepReport) {
        let Some(handle) = step.handle.clone() else {
            return;
        };
        let blocked = self.progress().blocked;
        self.report(Progress {
            steps: vec![step],
            blocked,
            ..Progress::default()
        });
        self.until_kept(|kept| kept.handles.contains(&handle)).await;
    }

    /// Waits until the Operation's status records that a step has begun, so that the next operator knows after a
    /// restart that it may have. Returns at once when the controller asks for a stop.
    pub async fn keep_begun(&self, step: &str) {
        self.wake(true);
        self.until_kept(|kept| kept.begun.contains(step)).await;
    }

    /// Returns until when pods that a budget protects are deleted, as the Operation's status says. That time may have
    /// passed.
    pub fn forced_until(&self) -> Option<Timestamp> {
        self.kept.borrow().forced_until
    }

    /// Waits until [`forced_until`](Self::forced_until) is no longer `known`.
    pub async fn until_force_changes(&self, known: Option<Timestamp>) {
        self.until_kept(|kept| kept.forced_until != known).await;
    }

    /// Reports a pod that is about to be deleted by force, and waits until the Operation's status names it. Returns
    /// false if the force ends before that, or if the controller asks for a stop.
    pub async fn keep_forced(&self, pod: &ForcedPod) -> bool {
        self.note_forcing(pod.clone());
        self.wake(true);
        let is_kept = |kept: &Kept| kept.forced.contains(&pod.uid);
        self.until_kept(|kept| is_kept(kept) || kept.forced_until.is_none())
            .await;
        let kept = self.kept.borrow();
        is_kept(&kept) && kept.forced_until.is_some()
    }

    fn note_forcing(&self, pod: ForcedPod) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.forcing.retain(|known| known.uid != pod.uid);
        progress.forcing.push(pod);
    }

    /// No longer reports that pod: it is deleted, or stays.
    pub fn forget_forced(&self, uid: &str) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.forcing.retain(|known| known.uid != uid);
    }

    async fn until_kept(&self, is_so: impl Fn(&Kept) -> bool) {
        let mut kept = self.kept.clone();
        let is_kept = async move { kept.wait_for(|kept| is_so(kept)).await.is_ok() };
        tokio::select! {
            is_kept = is_kept => if !is_kept {
                // The controller is gone: the process ends.
                std::future::pending::<()>().await;
            },
            () = self.until_stop(Stop::Now) => {}
        }
    }

    /// Reports what blocks the work now, or that nothing does.
    pub fn block(&self, blocked: Option<(String, String)>) {
        self.report(Progress {
            blocked,
            ..Progress::default()
        });
    }

    /// Reports what will be in the way.
    pub fn foresee(&self, preflight: Preflight) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.preflight = Some(preflight);
        drop(progress);
        self.wake(false);
    }

    /// Reports what couldn't be left as it was when the work stopped.
    pub fn leave(&self, left: Vec<(String, String)>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.left = left;
    }

    /// Reports how far some of the steps are, and what blocks the work now. What was reported of other steps stays. A
    /// report that changes nothing wakes nobody.
    pub fn report(&self, progress: Progress) {
        let mut last = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Progress {
            blocked: progress.blocked,
            ..last.clone()
        };
        for step in progress.steps {
            match next.steps.iter_mut().find(|known| known.name == step.name) {
                Some(known) => *known = step,
                None => next.steps.push(step),
            }
        }
        if *last != next {
            let handles = |progress: &Progress| {
                let steps = progress.steps.iter();
                steps.filter(|step| step.handle.is_some()).count()
            };
            let is_urgent = last.blocked != next.blocked || handles(&last) != handles(&next);
            *last = next;
            drop(last);
            self.wake(is_urgent);
        }
    }

    /// Reports what is seen of some of the steps, as [`report`](Self::report) does. Somebody else may have caused what
    /// is seen: a node that a person deleted looks like a node whose turn has come. So once the controller has asked
    /// for a stop, no step is reported as begun for the first time, unless what is seen carries this work's own mark.
    pub fn report_seen(&self, mut progress: Progress, is_its_own: impl Fn(&StepReport) -> bool) {
        // This lock is held until everything is reported, so that no request to stop comes in between.
        let stop = self.stop.borrow();
        if *stop != Stop::No {
            let reported = self.progress().steps;
            let was_begun = |step: &StepReport| {
                let mut reported = reported.iter();
                reported.any(|other| other.name == step.name && other.phase != StepPhase::Pending)
            };
            progress.steps.retain(|step| {
                step.phase == StepPhase::Pending || was_begun(step) || is_its_own(step)
            });
        }
        self.report(progress);
    }

    /// Wakes the controller now, or schedules that.
    fn wake(&self, is_urgent: bool) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = pace
            .last
            .map(|last| PACE.saturating_sub(last.elapsed()))
            .filter(|wait| !is_urgent && !wait.is_zero());
        let Some(wait) = wait else {
            pace.last = Some(Instant::now());
            drop(pace);
            return (self.changed)();
        };
        if pace.is_due {
            return;
        }
        pace.is_due = true;
        let (pace, changed) = (self.pace.clone(), self.changed.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
            *pace = Pace {
                last: Some(Instant::now()),
                is_due: false,
            };
            drop(pace);
            changed();
        });
    }

    /// Returns how far the work is.
    pub fn progress(&self) -> Progress {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn step(name: &str) -> Progress {
        Progress {
            steps: vec![StepReport {
                name: name.into(),
                phase: StepPhase::InProgress,
                ..StepReport::default()
            }],
            ..Progress::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_stop_request_only_started_or_marked_steps_count_as_started() {
        let (ask, stop) = watch::channel(Stop::No);
        let kept = watch::channel(Kept::default()).1;
        let control = Control::new(stop, kept, None, Arc::new(|| ()));
        control.report_seen(step("node/a"), |_| false);
        ask.send_replace(Stop::AfterStep);
        let all = ["node/a", "node/b", "node/c"]
            .map(step)
            .map(|one| one.steps);
        let seen = Progress {
            steps: all.concat(),
            ..Progress::default()
        };
        control.report_seen(seen, |step| step.name == "node/b");
        let steps = control.progress().steps;
        let names: Vec<_> = steps.iter().map(|step| &step.name).collect();
        assert_eq!(names, ["node/a", "node/b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_wakes_at_most_once_a_second_and_a_block_at_once() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let (_stop, stop) = watch::channel(Stop::No);
        let (_kept, kept) = watch::channel(Kept::default());
        let changed = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let control = Control::new(stop, kept, None, Arc::new(changed));
        for number in 0..100 {
            control.report(step(&format!("node/{number}")));
        }
        assert_eq!(woken.load(Ordering::Relaxed), 1, "the first at once");
        control.block(Some(("PodDisruptionBudget".into(), "a budget".into())));
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        tokio::time::sleep(2 * PACE).await;
        assert_eq!(woken.load(Ordering::Relaxed), 3, "the rest together");
        assert_eq!(control.progress().steps.len(), 100);
    }
}
