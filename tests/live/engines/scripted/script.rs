//! A scripted engine: it works and misbehaves as the test says. Its clusters have no Node objects, like those of a
//! cloud that manages its own machines.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use belay::{
    api::{Operation, OperationError, OperationSpec, OperationType, TargetKind},
    lifecycle::{BegunByOthers, ControlPlaneView, NodeView, Observation, PoolGoal, Rules, Stage},
    provider::{
        engine::{Answer, Change, Engine, EngineError, Pace, Running, Site, State},
        requests::Passing,
    },
};
use kube::{Api, Client, api::ListParams};

/// The abilities of this engine.
#[derive(Debug)]
struct ScriptRules;

impl Rules for ScriptRules {
    fn instead_of(&self, type_: OperationType, on: TargetKind) -> Option<&'static str> {
        let is_stop = type_ == OperationType::Stop && on == TargetKind::ManagedCluster;
        is_stop.then_some("scale its pools to 0")
    }

    fn why_unstoppable(&self, type_: OperationType, _: TargetKind) -> Option<&'static str> {
        (type_ == OperationType::Scale).then_some("this engine can't stop a scale")
    }

    fn outcome(&self, goal: &PoolGoal, _: &str, _: &[NodeView]) -> Vec<NodeView> {
        nodes_of(goal)
    }
}

/// The engine.
pub struct Script {
    client: Client,
    state: Mutex<EngineState>,
}

/// The state of the engine.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "the facts are independent")]
pub struct EngineState {
    /// The observed state of each cluster.
    clusters: BTreeMap<String, Observation>,
    /// The started changes, by handle.
    pub started: BTreeMap<String, StartedChange>,
    /// Whether a change finishes as soon as it starts.
    pub is_quick: bool,
    /// The clusters that can't be reached.
    pub unreachable: BTreeSet<String>,
    /// Whether a finished change never shows the desired state.
    pub is_never_whole: bool,
    /// Whether the engine starts a change but never answers.
    pub loses_answers: bool,
    /// The error that refuses the next changes.
    pub refuses_to_begin: Option<EngineError>,
    /// The answer to a request to stop.
    pub answers_stop: Option<Answer>,
    /// Whether the engine stops a change at once.
    pub stops_at_once: bool,
    /// How often the engine was asked to stop a change.
    pub stops: usize,
    /// Handles that were polled before an Operation's status had them.
    pub polled_too_early: Vec<String>,
    /// The times at which clusters were observed.
    pub observations: Vec<Instant>,
}

/// A started change.
pub struct StartedChange {
    cluster: String,
    token: String,
    stage: Option<Stage>,
    /// The state of the change.
    pub state: State,
}

impl Script {
    /// Creates an engine that finishes and stops each change at once.
    pub fn new(client: Client) -> Self {
        let state = EngineState {
            is_quick: true,
            stops_at_once: true,
            ..EngineState::default()
        };
        Self {
            client,
            state: Mutex::new(state),
        }
    }

    /// Returns the state, to read and to change it.
    pub fn state(&self) -> MutexGuard<'_, EngineState> {
        self.state.lock().expect("the engine")
    }

    /// Returns the handles of the changes in progress.
    pub fn running(&self) -> Vec<String> {
        let state = self.state();
        let running = state
            .started
            .iter()
            .filter(|(_, started)| matches!(started.state, State::Running(_)));
        running.map(|(handle, _)| handle.clone()).collect()
    }

    /// Sets the progress of the running changes.
    pub fn set_progress(&self, percent: i32) {
        for started in self.state().started.values_mut() {
            if let State::Running(running) = &mut started.state {
                running.percent = Some(percent);
            }
        }
    }

    /// Finishes the running changes.
    pub fn finish_changes(&self) {
        self.end_changes(&State::Done);
    }

    /// Ends the running changes with this state.
    pub fn end_changes(&self, end: &State) {
        let mut state = self.state();
        let EngineState {
            clusters, started, ..
        } = &mut *state;
        for started in started.values_mut() {
            if matches!(started.state, State::Running(_)) {
                started.state = end.clone();
                if *end == State::Done {
                    apply_change(
                        clusters.entry(started.cluster.clone()).or_default(),
                        started,
                    );
                }
            }
        }
        for observation in clusters.values_mut() {
            observation.begun_by_others.clear();
        }
    }

    /// Starts a change at the engine as another user, outside Belay.
    pub fn others_start(&self, cluster: &str, handle: &str, spec: OperationSpec, by: &str) {
        let mut state = self.state();
        let seen = state.clusters.entry(cluster.into()).or_default();
        seen.begun_by_others.push(BegunByOthers {
            handle: handle.into(),
            spec,
            by: by.into(),
        });
        let started = StartedChange {
            cluster: cluster.into(),
            token: String::new(),
            stage: None,
            state: State::Running(Running::default()),
        };
        state.started.insert(handle.into(), started);
    }

    /// Gives a pool this many nodes at the engine as another user, outside Belay.
    pub fn others_scale(&self, cluster: &str, pool: &str, count: usize) {
        let mut state = self.state();
        let seen = state.clusters.get_mut(cluster).expect("a cluster");
        let nodes = seen.nodes.get_mut(pool).expect("a pool");
        let first = nodes[0].clone();
        nodes.resize(count, first);
    }

    fn check_reachable(&self, site: &Site) -> Result<(), EngineError> {
        if self.state().unreachable.contains(&site.cluster) {
            return Err(EngineError::Passing(Passing {
                reason: "Unreachable".into(),
                message: "503: the region is down".into(),
                retry_after: None,
            }));
        }
        Ok(())
    }

    /// Whether an Operation's status on the API server has a handle.
    async fn status_has_handle(&self, site: &Site, handle: &str) -> bool {
        let operations = Api::<Operation>::namespaced(self.client.clone(), &site.namespace);
        let all = operations.list(&ListParams::default()).await;
        all.expect("Operations").iter().any(|operation| {
            let status = operation.status.iter();
            let mut steps = status.flat_map(|status| &status.steps);
            steps.any(|step| step.handle.as_deref() == Some(handle))
        })
    }
}

/// Updates the observed state after a change is done.
fn apply_change(seen: &mut Observation, started: &StartedChange) {
    match &started.stage {
        Some(Stage::ControlPlane(goal)) => {
            seen.control_plane = goal.map(|goal| ControlPlaneView {
                version: goal.version,
                running: goal.running,
                changing_to: None,
            });
        }
        Some(Stage::Pool(goal)) => {
            seen.nodes.insert(goal.pool.clone(), nodes_of(goal));
        }
        Some(Stage::Follow(_)) | None => {}
    }
}

fn nodes_of(goal: &PoolGoal) -> Vec<NodeView> {
    let node = |number: usize| goal.node(format!("{}-{number}", goal.node_prefix));
    (0..goal.count).map(node).collect()
}

#[async_trait]
impl Engine for Script {
    fn rules(&self) -> &'static dyn Rules {
        &ScriptRules
    }

    fn pace(&self) -> Pace {
        Pace {
            idle: Duration::from_millis(300),
            busy: Duration::from_millis(100),
            per_second: 50,
        }
    }

    fn account(&self, site: &Site) -> String {
        site.namespace.clone()
    }

    async fn look(&self, site: &Site) -> Result<Observation, EngineError> {
        self.state().observations.push(Instant::now());
        self.check_reachable(site)?;
        let state = self.state();
        Ok(state
            .clusters
            .get(&site.cluster)
            .cloned()
            .unwrap_or_default())
    }

    async fn begin(&self, site: &Site, change: &Change) -> Result<String, EngineError> {
        self.check_reachable(site)?;
        let (handle, is_lost) = {
            let mut state = self.state();
            if let Some(refusal) = &state.refuses_to_begin {
                return Err(refusal.clone());
            }
            let mut known = state.started.iter();
            if let Some((handle, _)) = known.find(|(_, started)| started.token == change.token) {
                return Ok(handle.clone());
            }
            let handle = format!("change-{}", state.started.len());
            let started = StartedChange {
                cluster: site.cluster.clone(),
                token: change.token.clone(),
                stage: Some(change.stage.clone()),
                state: State::Running(Running::default()),
            };
            state.started.insert(handle.clone(), started);
            (handle, state.loses_answers)
        };
        if is_lost {
            std::future::pending::<()>().await;
        }
        if self.state().is_quick {
            self.finish_changes();
        }
        Ok(handle)
    }

    async fn is_whole(&self, site: &Site, _: &Change) -> Result<bool, EngineError> {
        self.check_reachable(site)?;
        Ok(!self.state().is_never_whole)
    }

    async fn find(&self, site: &Site, change: &Change) -> Result<Option<String>, EngineError> {
        self.check_reachable(site)?;
        let state = self.state();
        let mut started = state.started.iter();
        let found = started.find(|(_, started)| started.token == change.token);
        Ok(found.map(|(handle, _)| handle.clone()))
    }

    async fn poll(&self, site: &Site, handle: &str) -> Result<State, EngineError> {
        self.check_reachable(site)?;
        if !self.status_has_handle(site, handle).await {
            self.state().polled_too_early.push(handle.into());
        }
        let state = self.state();
        let started = state.started.get(handle);
        started.map(|started| started.state.clone()).ok_or_else(|| {
            EngineError::Final(OperationError {
                code: "NotFound".into(),
                message: format!("there is no {handle}"),
                ..OperationError::default()
            })
        })
    }

    async fn stop(&self, site: &Site, handle: &str) -> Result<Answer, EngineError> {
        self.check_reachable(site)?;
        let mut state = self.state();
        state.stops += 1;
        let answer = state.answers_stop.clone().unwrap_or(Answer::Accepted);
        let stops = state.stops_at_once;
        if let Some(started) = state.started.get_mut(handle)
            && answer == Answer::Accepted
            && stops
        {
            started.state = State::Stopped;
        }
        Ok(answer)
    }
}
