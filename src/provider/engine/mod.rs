//! Providers whose engine does the work itself, at its own pace: Cluster API, or a cloud. Belay asks the engine to
//! begin, follows its progress, and asks it to stop. A provider says how to do that, in the few functions of
//! [`Engine`]. [`EngineProvider`] does the rest for all of them: polling with jitter and rate limits, handles that
//! survive a restart, failures that pass, and clusters that can't be seen for a while.

mod accounts;
mod outcome;
mod pauses;
mod sights;
mod work;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::watch;

use crate::{
    api::{ManagedCluster, OperationError, ProviderSpec, StepAction},
    lifecycle::{
        Job, Observation, PoolGoal, Preflight, Rules, Stage, step_names::POOL_STEP_PREFIX,
    },
};

use super::{
    Changes, Control, End, LeftBehind, Provider,
    nodes::preflight::{self, Seen},
    requests::{Blocked, Failure},
};
pub use outcome::outcome;
use sights::Sights;
use work::Work;

/// Why an engine didn't do what it was asked for.
pub type EngineError = Failure<OperationError>;

/// The part of a cluster that an engine needs to reach it. Its credentials follow from it: a Secret is always in the
/// cluster's own namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub cluster: String,
    /// The member of `spec.provider`.
    pub provider: ProviderSpec,
}

impl Site {
    /// Returns the site of a cluster.
    pub fn of(cluster: &ManagedCluster) -> Self {
        let metadata = &cluster.metadata;
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            cluster: metadata.name.clone().unwrap_or_default(),
            provider: cluster.spec.provider.clone(),
        }
    }

    fn of_job(job: &Job) -> Self {
        Self {
            namespace: job.namespace.clone(),
            cluster: job.cluster.clone(),
            provider: job.provider.clone(),
        }
    }

    fn key(&self) -> ObjectRef<ManagedCluster> {
        ObjectRef::new(&self.cluster).within(&self.namespace)
    }
}

/// A change that an engine is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The stage to reach.
    pub stage: Stage,
    /// Identifies the change, also after a restart: an engine that gets the same token twice begins only once. Letters,
    /// digits and hyphens, at most 64 characters.
    pub token: String,
}

/// The state of the work that a handle names.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It is still running.
    Running(Running),
    /// It is done.
    Done,
    /// It was stopped, and nothing runs any more.
    Stopped,
    /// It failed for good.
    Failed(OperationError),
}

/// The progress of work that is still running.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// The progress in percent. None if the engine doesn't report it.
    pub percent: Option<i32>,
    /// How many nodes are left to do. None if the engine doesn't show it.
    pub nodes_left: Option<i32>,
    /// What the engine is doing.
    pub message: String,
    /// What blocks the work, in the engine's own words.
    pub blocked: Option<Blocked>,
    /// Why the work goes on although the engine had accepted a request to stop it.
    pub not_stopped: Option<String>,
}

/// An engine's answer to a request to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will stop.
    Accepted,
    /// It goes on, for this reason.
    Refused(String),
    /// It has ended already, or is about to.
    TooLate,
}

/// How often an engine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The pause between two looks at a cluster on which no work is running.
    pub idle: Duration,
    /// The pause between two looks at running work.
    pub busy: Duration,
    /// How many looks per second an account allows. Requests that begin or stop something don't count.
    pub per_second: u32,
}

/// The engine behind a provider. Each function makes one attempt; the caller sets a timeout and retries.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Returns what the engine can do.
    fn rules(&self) -> &'static dyn Rules;

    /// Returns how often the engine is asked.
    fn pace(&self) -> Pace;

    /// Returns the account whose rate limit counts, such as a subscription.
    fn account(&self, site: &Site) -> String;

    /// Returns a count of the changes of a cluster. None if the engine doesn't show changes. With it, Belay looks
    /// sooner when something changes, and less often when nothing does.
    fn changes(&self, _: &Site) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Reads what will be in the way of the drains of these pools: the pods on their nodes, and the budgets.
    ///
    /// # Errors
    /// Returns why they can't be read. The message completes "What will be in the way isn't known: ...".
    async fn inside(&self, _: &Site, _: &[String]) -> Result<Seen, String> {
        Err("with this provider, Belay can't look into the cluster".to_owned())
    }

    /// Returns the observed state of a cluster.
    async fn look(&self, site: &Site) -> Result<Observation, EngineError>;

    /// Begins a change. Returns its handle, which is what the engine calls it.
    async fn begin(&self, site: &Site, change: &Change) -> Result<String, EngineError>;

    /// Returns whether a change is done once its begun part is done. An engine may take a change in several requests,
    /// each after the one before has ended. It begins the next part when it is asked to begin the change again.
    async fn is_whole(&self, _: &Site, _: &Change) -> Result<bool, EngineError> {
        Ok(true)
    }

    /// Returns the handle of the change that was begun with that token. None if none was begun.
    async fn find(&self, site: &Site, change: &Change) -> Result<Option<String>, EngineError>;

    /// Returns the state of the work with that handle.
    async fn poll(&self, site: &Site, handle: &str) -> Result<State, EngineError>;

    /// Asks the work to stop. It may be called again.
    async fn stop(&self, site: &Site, handle: &str) -> Result<Answer, EngineError>;
}

/// The provider of an engine.
pub struct EngineProvider {
    engine: Arc<dyn Engine>,
    sights: Sights,
    changes: Changes,
}

impl EngineProvider {
    /// Returns the provider of that engine.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        let (changed, changes) = Changes::new();
        Self {
            sights: Sights::new(engine.clone(), changed),
            engine,
            changes,
        }
    }
}

impl Drop for EngineProvider {
    fn drop(&mut self) {
        self.sights.end();
    }
}

/// Returns the pools of which a job drains nodes. The engine chooses the nodes.
fn drained(job: &Job) -> Vec<String> {
    let is_drained = |goal: &PoolGoal| {
        let name = format!("{POOL_STEP_PREFIX}{}", goal.pool);
        let step = job.steps.iter().find(|step| step.name == name);
        goal.drain
            && step.is_some_and(|step| match step.action {
                StepAction::Replace => goal.replace_outdated,
                action => action == StepAction::Delete,
            })
    };
    let goals = job.stages.iter().filter_map(|stage| match stage {
        Stage::Pool(goal) => Some(goal),
        Stage::ControlPlane(_) | Stage::Follow(_) => None,
    });
    let drained = goals.filter(|goal| is_drained(goal));
    drained.map(|goal| goal.pool.clone()).collect()
}

#[async_trait]
impl Provider for EngineProvider {
    fn rules(&self) -> &'static dyn Rules {
        self.engine.rules()
    }

    fn observe(&self, cluster: &ManagedCluster) -> Option<Observation> {
        self.sights.of(&Site::of(cluster))
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn ready(&self) {}

    /// Returns none: an engine deletes its machines itself.
    fn nodes(&self) -> Vec<(ObjectRef<ManagedCluster>, Vec<String>)> {
        Vec::new()
    }

    fn forget(&self, cluster: &ObjectRef<ManagedCluster>) {
        self.sights.forget(cluster);
    }

    fn changes(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>> {
        self.changes.take()
    }

    async fn run(&self, job: &Job, control: &Control) -> Result<End, OperationError> {
        let work = Work::new(self.engine.as_ref(), &self.sights, job, control);
        let drained = drained(job);
        if drained.is_empty() {
            return work.run().await;
        }
        let site = Site::of_job(job);
        let look = async {
            match self.engine.inside(&site, &drained).await {
                Ok(seen) => Preflight {
                    findings: preflight::of_pods(&seen),
                    unseen: Vec::new(),
                },
                Err(why) => {
                    Preflight::unseen(format!("what will be in the way isn't known: {why}"))
                }
            }
        };
        preflight::beside((job, control), look, work.run()).await
    }

    /// There is nothing to mend: when an engine has stopped, nothing runs there any more.
    async fn mend(&self, _: &str, _: &str, _: &BTreeSet<String>) -> LeftBehind {
        LeftBehind::new()
    }

    async fn mend_abandoned(&self, _: &ObjectRef<ManagedCluster>) {}
}
