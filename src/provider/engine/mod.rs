//! Providers whose engine does the work itself, in its own time: Cluster API, or a cloud. Belay asks the engine
//! to begin, follows it, and asks it to stop. A provider says how that is done, by the few functions of
//! [`Engine`]; [`EngineProvider`] does the rest for all of them: polling with jitter and in bounds, handles that
//! outlive a restart, failures that pass, and clusters that can't be seen for a while.

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
    api::{ManagedCluster, OperationError, ProviderSpec},
    lifecycle::{Job, Observation, Rules, Stage},
};

use super::{
    Changes, Control, End, LeftBehind, Provider,
    requests::{Blocked, Failure},
};
pub use outcome::outcome;
use sights::Sights;
use work::Work;

/// Why an engine didn't do what it was asked for.
pub type EngineError = Failure<OperationError>;

/// A cluster, as much of it as an engine needs to reach it. Its credentials follow from it: a Secret is one of
/// its own namespace.
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
    /// Of a cluster.
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
    /// What is to be reached.
    pub stage: Stage,
    /// Identifies the change, also after a restart: an engine that gets the same token twice begins once. Letters,
    /// digits and hyphens, at most 64.
    pub token: String,
}

/// The state of the work that a handle names.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It goes on.
    Running(Running),
    /// It is done.
    Done,
    /// It was stopped, and has come to rest.
    Stopped,
    /// It failed for good.
    Failed(OperationError),
}

/// How far an engine is while it goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// In percent, where it says so.
    pub percent: Option<i32>,
    /// How many nodes are left to be done, where it shows them.
    pub nodes_left: Option<i32>,
    /// What is going on.
    pub message: String,
    /// What is in its way, in its own words.
    pub blocked: Option<Blocked>,
    /// Why it goes on although it was asked to stop, and had accepted that.
    pub not_stopped: Option<String>,
}

/// What an engine answers to who asks it to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will come to rest.
    Accepted,
    /// It goes on, with these words.
    Refused(String),
    /// It has ended already, or is about to.
    TooLate,
}

/// How often an engine is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The pause between two looks at a cluster on which nothing goes on.
    pub idle: Duration,
    /// The pause between two looks at what goes on.
    pub busy: Duration,
    /// How many looks an account allows per second. Requests that begin or stop something don't count.
    pub per_second: u32,
}

/// The engine behind a provider. Each function makes one attempt; the caller sets a timeout and retries.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What it can do.
    fn rules(&self) -> &'static dyn Rules;

    /// How often it is asked.
    fn pace(&self) -> Pace;

    /// The account whose rate limit counts, such as a subscription.
    fn account(&self, site: &Site) -> String;

    /// Counts the changes of a cluster, where the engine shows that there are some: then it is looked at sooner when
    /// something changes, and more seldom when nothing does.
    fn changes(&self, _: &Site) -> Option<watch::Receiver<u64>> {
        None
    }

    /// What is there of a cluster now.
    async fn look(&self, site: &Site) -> Result<Observation, EngineError>;

    /// Begins a change. Returns what the engine calls it.
    async fn begin(&self, site: &Site, change: &Change) -> Result<String, EngineError>;

    /// Whether a change is done whose begun part is. An engine that takes a change in several requests, each after the
    /// end of the one before, begins the next part when it is asked to begin the change again.
    async fn is_whole(&self, _: &Site, _: &Change) -> Result<bool, EngineError> {
        Ok(true)
    }

    /// The handle of the change that was begun with that token; none where none was.
    async fn find(&self, site: &Site, change: &Change) -> Result<Option<String>, EngineError>;

    /// How far it is.
    async fn poll(&self, site: &Site, handle: &str) -> Result<State, EngineError>;

    /// Asks it to stop. It may be asked again.
    async fn stop(&self, site: &Site, handle: &str) -> Result<Answer, EngineError>;
}

/// The provider of an engine.
pub struct EngineProvider {
    engine: Arc<dyn Engine>,
    sights: Sights,
    changes: Changes,
}

impl EngineProvider {
    /// The provider of that engine.
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

    /// An engine deletes its machines itself.
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
        Work::new(self.engine.as_ref(), &self.sights, job, control)
            .run()
            .await
    }

    /// Nothing to mend: what stopped at an engine has come to rest there.
    async fn mend(&self, _: &str, _: &str, _: &BTreeSet<String>) -> LeftBehind {
        LeftBehind::new()
    }

    async fn mend_abandoned(&self, _: &ObjectRef<ManagedCluster>) {}
}
