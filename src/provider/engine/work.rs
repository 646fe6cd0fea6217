//! The work of one Operation at an engine. It begins one stage after the other, follows each to its end, and stops it
//! when somebody asks for that.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    api::{OperationError, StepPhase},
    lifecycle::{
        Job, Observation, Progress, Stage, StepReport, Stop,
        step_names::{CONTROL_PLANE_STEP, POOL_STEP_PREFIX},
    },
    provider::{
        Control, End,
        requests::{Ended, GRACE, REQUEST_TIMEOUT, Requests},
    },
};

use super::{Answer, Change, Engine, EngineError, Running, Site, State, pauses, sights::Sights};

/// The highest number of parts in which an engine does a change.
const MOST_PARTS: usize = 8;
/// How long an engine may take to show what it reports as done.
const UNTIL_SHOWN: Duration = Duration::from_secs(30);

/// The work of one Operation.
pub struct Work<'a> {
    engine: &'a dyn Engine,
    sights: &'a Sights,
    site: Site,
    job: &'a Job,
    control: &'a Control,
    /// For requests that an abort doesn't interrupt, such as the one that stops the engine.
    unstoppable: Control,
}

impl<'a> Work<'a> {
    /// Returns the work of a job.
    pub fn new(
        engine: &'a dyn Engine,
        sights: &'a Sights,
        job: &'a Job,
        control: &'a Control,
    ) -> Self {
        Self {
            engine,
            sights,
            site: Site::of_job(job),
            job,
            control,
            unstoppable: Control::unstoppable(),
        }
    }

    /// Does the work, from the current state on.
    pub async fn run(&self) -> Result<End, OperationError> {
        for (number, stage) in self.job.stages.iter().enumerate() {
            let name = step_of(stage);
            let planned = self.job.steps.iter().find(|step| step.name == name);
            let is_over = match planned {
                Some(step) => step.phase == StepPhase::Succeeded,
                // A stage without a step had nothing to do. Work without an Operation has no steps at all.
                None => self.has_operation(),
            };
            if is_over {
                continue;
            }
            let change = Change {
                stage: stage.clone(),
                token: format!("{}-{number}", self.job.uid),
            };
            let kept = planned.and_then(|step| step.handle.clone());
            let end = match self.handle(&name, &change, kept).await? {
                Some(handle) => self.follow_parts(&name, &change, handle).await?,
                None => End::Stopped,
            };
            if end != End::Done {
                return Ok(end);
            }
        }
        Ok(End::Done)
    }

    /// Returns whether an Operation's status keeps the handles. The deletion of a cluster in a terminating namespace
    /// has no Operation.
    fn has_operation(&self) -> bool {
        self.job.uid != self.job.cluster_uid
    }

    /// Returns the handle of the change: the kept one, or that of a change that begins now. None if the change wasn't
    /// begun and the work is asked to stop.
    async fn handle(
        &self,
        step: &str,
        change: &Change,
        kept: Option<String>,
    ) -> Result<Option<String>, OperationError> {
        if kept.is_some() {
            return Ok(kept);
        }
        let is_begun = self.control.begin(report(step, StepPhase::InProgress));
        if !is_begun {
            // A restart may have lost the handle of a change that was begun.
            return self.found(step, change).await;
        }
        if self.has_operation() {
            // After a crash, the next operator then knows that the step may have begun.
            self.control.keep_begun(step).await;
        }
        self.begin(step, change).await
    }

    /// Begins a change, or its next part. None if the work is asked to stop and nothing was begun.
    async fn begin(&self, step: &str, change: &Change) -> Result<Option<String>, OperationError> {
        // Once the request is sent, Belay waits for its answer, so that nothing begins after the work has stopped.
        let (control, what) = (
            (self.control, REQUEST_TIMEOUT),
            format!("begin step {step}"),
        );
        let begin = || self.engine.begin(&self.site, change);
        let handle = match self.asked(control, &what, begin).await {
            Ok(handle) => handle,
            Err(Ended::Refused(error)) => return Err(error),
            Err(Ended::Stopped) => return self.found(step, change).await,
        };
        self.keep(step, &handle).await;
        Ok(Some(handle))
    }

    /// Keeps the handle of a begun change in the Operation's status.
    async fn keep(&self, step: &str, handle: &str) {
        tracing::info!(step, handle, "started at the provider");
        if self.has_operation() {
            let kept = StepReport {
                handle: Some(handle.to_owned()),
                ..report(step, StepPhase::InProgress)
            };
            self.control.keep(kept).await;
        }
    }

    async fn found(&self, step: &str, change: &Change) -> Result<Option<String>, OperationError> {
        let what = format!("find out whether step {step} was begun");
        self.surely(&what, || self.engine.find(&self.site, change))
            .await
    }

    /// Follows a change, part by part, to its end. `handle` is that of the part that is running.
    async fn follow_parts(
        &self,
        step: &str,
        change: &Change,
        mut handle: String,
    ) -> Result<End, OperationError> {
        for _ in 0..MOST_PARTS {
            let end = self.follow(step, &handle).await?;
            if end != End::Done {
                return Ok(end);
            }
            if self.is_whole(step, change).await? {
                self.until_seen(&change.stage).await;
                self.control.report(Progress {
                    steps: vec![report(step, StepPhase::Succeeded)],
                    ..Progress::default()
                });
                return Ok(End::Done);
            }
            // Between two parts, nothing is running. If the work is asked to stop now, no next part begins.
            handle = match self.begin(step, change).await? {
                Some(next) => next,
                None => return Ok(End::Stopped),
            };
        }
        Err(not_reached(step))
    }

    /// Returns whether no part of a change is left to begin. Belay begins no part of work that others began.
    async fn is_whole(&self, step: &str, change: &Change) -> Result<bool, OperationError> {
        if let Stage::Follow(_) = change.stage {
            return Ok(true);
        }
        let what = format!("find out whether step {step} is done");
        self.surely(&what, || self.engine.is_whole(&self.site, change))
            .await
    }

    /// Follows the work of that handle to its end.
    async fn follow(&self, step: &str, handle: &str) -> Result<End, OperationError> {
        let mut is_asked_to_stop = false;
        loop {
            if self.control.stop() == Stop::Now && !is_asked_to_stop {
                is_asked_to_stop = true;
                if let Some(refused) = self.stop(handle).await? {
                    return Ok(End::Refused(refused));
                }
            }
            let changes = self.engine.changes(&self.site);
            match self.poll(handle, is_asked_to_stop).await? {
                // It was asked to stop meanwhile.
                None => continue,
                Some(State::Running(running)) => {
                    let not_stopped = running.not_stopped.clone();
                    self.report(step, running);
                    if let Some(words) = not_stopped.filter(|_| is_asked_to_stop) {
                        return Ok(End::Refused(words));
                    }
                }
                Some(State::Done) => return Ok(End::Done),
                Some(State::Stopped) if self.control.stop() == Stop::No => {
                    return Err(stopped_by_others());
                }
                Some(State::Stopped) => {
                    self.look_once().await;
                    return Ok(End::Stopped);
                }
                Some(State::Failed(error)) => {
                    self.look_once().await;
                    return Err(error);
                }
            }
            tokio::select! {
                () = pauses::while_busy(self.engine.pace().busy, changes) => {}
                () = self.control.until_stop(Stop::Now), if !is_asked_to_stop => {}
            }
        }
    }

    /// Looks at the cluster before an end is reported. It doesn't wait long, because the engine may not answer.
    async fn look_once(&self) {
        let look = self.sights.look(&self.site);
        let _ = tokio::time::timeout(GRACE, look).await;
    }

    /// Returns how far the work is. None if it is asked to stop before the engine answers.
    async fn poll(
        &self,
        handle: &str,
        is_asked_to_stop: bool,
    ) -> Result<Option<State>, OperationError> {
        let poll = || self.engine.poll(&self.site, handle);
        let control = if is_asked_to_stop {
            &self.unstoppable
        } else {
            self.control
        };
        tokio::select! {
            () = self.sights.turn_of(&self.site) => {}
            () = control.until_stop(Stop::Now) => return Ok(None),
        }
        match self
            .asked((control, GRACE), "read the progress", poll)
            .await
        {
            Ok(state) => Ok(Some(state)),
            Err(Ended::Stopped) => Ok(None),
            Err(Ended::Refused(error)) => Err(error),
        }
    }

    /// Asks the engine to stop. Returns its words if it refuses.
    async fn stop(&self, handle: &str) -> Result<Option<String>, OperationError> {
        let stop = || self.engine.stop(&self.site, handle);
        match self.surely("stop the operation", stop).await? {
            Answer::Accepted => Ok(None),
            Answer::Refused(words) => Ok(Some(words)),
            Answer::TooLate => match self.poll(handle, true).await? {
                Some(State::Running(_)) => Ok(Some("it is too late to stop it".into())),
                _ => Ok(None),
            },
        }
    }

    /// Waits until the end of a stage is observed, because the next decision depends on the observed state. Somebody
    /// may have asked the engine for something else meanwhile. Then the engine never shows the stage's goal, and what
    /// it shows counts.
    async fn until_seen(&self, stage: &Stage) {
        let (mut is_reported, mut first_look) = (false, None);
        loop {
            let is_over = match self.sights.look(&self.site).await {
                Ok(seen) => {
                    let began = first_look.get_or_insert_with(Instant::now);
                    is_reached(stage, &seen) || began.elapsed() >= UNTIL_SHOWN
                }
                Err(_) => false,
            };
            if is_over || self.control.stop() == Stop::Now {
                break;
            }
            if is_reported {
                let message =
                    "the provider reports that it is done, but doesn't show the result yet";
                self.control
                    .block(Some(("NotShown".into(), message.into())));
            }
            is_reported = true;
            tokio::select! {
                () = tokio::time::sleep(self.engine.pace().busy) => {}
                () = self.control.until_stop(Stop::Now) => {}
            }
        }
        self.control.block(None);
    }

    fn report(&self, step: &str, running: Running) {
        let planned = self.job.steps.iter().find(|planned| planned.name == step);
        let planned = planned.and_then(|planned| planned.nodes);
        self.control.report(Progress {
            steps: vec![StepReport {
                message: running.message,
                percent: running.percent,
                nodes_done: nodes_done(planned, running.nodes_left),
                ..report(step, StepPhase::InProgress)
            }],
            blocked: running.blocked,
            ..Progress::default()
        });
    }

    /// Asks until it is answered, even if the work is asked to stop.
    async fn surely<T, F>(
        &self,
        what: &str,
        request: impl Fn() -> F + Send + Sync,
    ) -> Result<T, OperationError>
    where
        F: Future<Output = Result<T, EngineError>> + Send,
    {
        let control = (&self.unstoppable, REQUEST_TIMEOUT);
        match self.asked(control, what, request).await {
            Ok(answer) => Ok(answer),
            Err(Ended::Refused(error)) => Err(error),
            Err(Ended::Stopped) => std::future::pending().await,
        }
    }

    /// Asks until it is answered, or until `control` asks for a stop.
    async fn asked<T, F>(
        &self,
        (control, grace): (&Control, Duration),
        what: &str,
        request: impl Fn() -> F + Send + Sync,
    ) -> Result<T, Ended<OperationError>>
    where
        F: Future<Output = Result<T, EngineError>> + Send,
    {
        let requests = Requests {
            control,
            report: &|blocked| self.control.block(blocked),
            server: "the provider",
            grace,
        };
        requests.answered(what, request).await
    }
}

/// Returns the name of a stage's step.
fn step_of(stage: &Stage) -> String {
    match stage {
        Stage::ControlPlane(_) => CONTROL_PLANE_STEP.into(),
        Stage::Pool(goal) => format!("{POOL_STEP_PREFIX}{}", goal.pool),
        Stage::Follow(followed) => followed.step.clone(),
    }
}

/// Returns how many of a step's nodes are done. An engine shows how many are left, and may count nodes that were done
/// before.
fn nodes_done(planned: Option<i32>, left: Option<i32>) -> Option<i32> {
    Some((planned? - left?).max(0))
}

fn report(step: &str, phase: StepPhase) -> StepReport {
    StepReport {
        name: step.into(),
        phase,
        ..StepReport::default()
    }
}

/// Returns whether a cluster shows the goal of a stage.
fn is_reached(stage: &Stage, seen: &Observation) -> bool {
    match stage {
        Stage::ControlPlane(goal) => {
            let runs = seen.control_plane.map(|runs| (runs.version, runs.running));
            runs == goal.map(|goal| (goal.version, goal.running))
        }
        Stage::Pool(goal) => {
            let nodes = seen.nodes.get(&goal.pool);
            let nodes = nodes.map_or(&[][..], Vec::as_slice);
            let is_so = |version| !goal.replace_outdated || version == goal.version;
            let kept = seen.kept.get(&goal.pool).copied();
            let count = kept.unwrap_or(nodes.len());
            let is_scaled_by_others = seen.scaled_by_others.contains_key(&goal.pool);
            (count == goal.count || is_scaled_by_others)
                && nodes.iter().all(|node| is_so(node.version))
        }
        Stage::Follow(_) => true,
    }
}

/// Returns the error if the engine repeatedly reports that it is done, but doesn't show what was asked for.
fn not_reached(step: &str) -> OperationError {
    OperationError::new(
        "NotReached",
        format!(
            "Belay asked the provider {MOST_PARTS} times for step {step}. Each time, the provider reported that it was done, but doesn't show the result: somebody else may change it back. Find the cause at the provider, then create an Operation of type Reconcile"
        ),
    )
}

fn stopped_by_others() -> OperationError {
    OperationError::new(
        "CanceledByOthers",
        "somebody stopped the operation at the provider, outside Belay. What is done stays as it is. To do the rest, create an Operation of type Reconcile",
    )
}

#[cfg(test)]
mod tests {
    use super::nodes_done;

    #[test]
    fn only_the_nodes_of_a_step_count_as_done() {
        // From 3 nodes to 5: two are made.
        assert_eq!(nodes_done(Some(2), Some(2)), Some(0));
        assert_eq!(nodes_done(Some(2), Some(1)), Some(1));
        assert_eq!(nodes_done(Some(2), Some(0)), Some(2));
        // Another one was lost meanwhile.
        assert_eq!(nodes_done(Some(2), Some(3)), Some(0));
        assert_eq!(nodes_done(None, Some(1)), None);
        assert_eq!(nodes_done(Some(2), None), None);
    }
}
