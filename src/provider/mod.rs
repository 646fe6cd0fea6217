//! What turns an operation into nodes. All providers sit behind one trait; adding one touches its own file
//! and one line of [`Providers`].

pub mod kwok;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use kube::{Client, runtime::reflector::ObjectRef};
use tokio::sync::watch;

use crate::{
    api::{ManagedCluster, OperationError, ProviderSpec},
    lifecycle::{Job, Observation, Progress, StepReport, Stop},
};

/// What a provider is asked to do, and what it promises.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What is there of a cluster now. It answers at once, from what watches have told: a reconcile waits
    /// for nothing slow. None until the first look is complete.
    fn observe(&self, cluster: &ManagedCluster) -> Option<Observation>;

    /// Whether the first look is complete.
    fn is_ready(&self) -> bool;

    /// Clusters of which something changed that [`observe`](Self::observe) tells. Taken once.
    fn changes(&self) -> BoxStream<'static, ObjectRef<ManagedCluster>>;

    /// Brings about what the job asks for, from wherever things stand: it is called again after a crash,
    /// with the same uid, and what is already there is left as it is.
    ///
    /// A step begins by [`Control::begin`] alone. Once `control` tells it to stop, no new step begins. With [`Stop::AfterStep`] what has begun is
    /// finished first; with [`Stop::Now`] it stops where it stands, within two seconds, whatever hangs.
    /// When it returns, in whichever way, nothing of it acts any more and nothing half-done is left: a
    /// node whose drain isn't done takes pods again.
    ///
    /// Errors that may pass (a timeout, a server that is down) are tried again inside.
    ///
    /// # Errors
    /// What trying again doesn't mend, with a code to script against and what to do.
    async fn run(&self, job: &Job, control: &Control) -> Result<End, OperationError>;
}

/// How the work of a job came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that it asked for is there.
    Done,
    /// It was told to stop, and has.
    Stopped,
}

/// A job's line to the controller: whether it may go on, and how far it is.
#[derive(Clone)]
pub struct Control {
    stop: watch::Receiver<Stop>,
    progress: Arc<Mutex<Progress>>,
    changed: Arc<dyn Fn() + Send + Sync>,
}

impl Control {
    /// A line that tells `changed` whenever the progress changed.
    pub fn new(stop: watch::Receiver<Stop>, changed: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            stop,
            progress: Arc::default(),
            changed,
        }
    }

    /// A line for what can't be stopped any more.
    pub fn unstoppable() -> Self {
        Self::new(watch::channel(Stop::No).1, Arc::new(|| ()))
    }

    /// Whether the work may go on.
    pub fn stop(&self) -> Stop {
        *self.stop.borrow()
    }

    /// Waits until the work is told to stop in at least that way.
    pub async fn told(&self, stop: Stop) {
        let mut told = self.stop.clone();
        if told.wait_for(|now| *now >= stop).await.is_err() {
            // Whoever could tell is gone: the process ends.
            std::future::pending::<()>().await;
        }
    }

    /// Begins a step, and tells it; not where the work was told to stop. So whoever told it, and then looks
    /// at its progress, knows of every step that began.
    pub fn begin(&self, step: StepReport) -> bool {
        // Held until the step is told: nobody can tell the work to stop in between.
        let stop = self.stop.borrow();
        if *stop != Stop::No {
            return false;
        }
        let blocked = self.progress().blocked;
        self.report(Progress {
            steps: vec![step],
            blocked,
        });
        true
    }

    /// Tells how far some of the steps are, and what is in the way now. What was told of other steps
    /// stays; told twice, it is told once.
    pub fn report(&self, progress: Progress) {
        let mut told = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Progress {
            blocked: progress.blocked,
            steps: told.steps.clone(),
        };
        for step in progress.steps {
            match next.steps.iter_mut().find(|told| told.name == step.name) {
                Some(told) => *told = step,
                None => next.steps.push(step),
            }
        }
        if *told != next {
            *told = next;
            drop(told);
            (self.changed)();
        }
    }

    /// How far the work is.
    pub fn progress(&self) -> Progress {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What is there of a cluster now, asked of whoever has it, once.
///
/// # Errors
/// Where it can't be read.
pub async fn look(client: &Client, cluster: &ManagedCluster) -> kube::Result<Observation> {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    match &cluster.spec.provider {
        ProviderSpec { kwok: Some(_) } => kwok::look(client, namespace, name).await,
        ProviderSpec { kwok: None } => Ok(Observation::default()),
    }
}

/// All providers that there are.
#[derive(Clone)]
pub struct Providers {
    /// Node objects on the cluster that Belay runs in.
    pub kwok: Arc<dyn Provider>,
}

impl Providers {
    /// The provider that a cluster's spec names.
    pub fn of(&self, spec: &ProviderSpec) -> Option<Arc<dyn Provider>> {
        spec.kwok.as_ref().map(|_| self.kwok.clone())
    }

    /// All of them.
    pub fn all(&self) -> [Arc<dyn Provider>; 1] {
        [self.kwok.clone()]
    }
}
