//! The work in hand: each Operation's in a task of its own, with a way to tell it to stop. A reconcile
//! starts it, stops it and looks at it, and never waits for it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::FutureExt as _;
use kube::runtime::reflector::ObjectRef;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::Instrument as _;

use crate::{
    api::ManagedCluster,
    lifecycle::{Job, Stop, Work},
    provider::{Control, End, Provider},
    telemetry::log,
};

/// All work in hand.
#[derive(Clone)]
pub struct Workers {
    all: Arc<Mutex<HashMap<String, Worker>>>,
    changed: mpsc::UnboundedSender<ObjectRef<ManagedCluster>>,
    active: Gauge,
}

struct Worker {
    cluster: ObjectRef<ManagedCluster>,
    stop: watch::Sender<Stop>,
    control: Control,
    /// How it ended, once it has.
    end: Option<Ended>,
    task: JoinHandle<()>,
}

type Ended = Result<End, crate::api::OperationError>;

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Workers {
    /// No work yet. Clusters whose work got further are sent to `changed`; `active` counts the work that runs.
    pub fn new(changed: mpsc::UnboundedSender<ObjectRef<ManagedCluster>>, active: Gauge) -> Self {
        Self {
            all: Arc::default(),
            changed,
            active,
        }
    }

    /// How the work on a cluster is doing, by the Operations' uids.
    pub fn of(&self, cluster: &ObjectRef<ManagedCluster>) -> BTreeMap<String, Work> {
        let workers = self.lock();
        let of_cluster = workers
            .iter()
            .filter(|(_, worker)| worker.cluster == *cluster);
        of_cluster
            .map(|(uid, worker)| (uid.clone(), worker.work()))
            .collect()
    }

    /// Starts the work of a job, in place of what was there for the same Operation.
    pub fn start(&self, provider: Arc<dyn Provider>, job: Job, stop: Stop) {
        let cluster = ObjectRef::new(&job.cluster).within(&job.namespace);
        let (told, stop) = watch::channel(stop);
        let (sender, of) = (self.changed.clone(), cluster.clone());
        // The receiver is gone only while the process ends.
        let changed = Arc::new(move || drop(sender.send(of.clone())));
        let control = Control::new(stop, changed.clone());
        let uid = job.uid.clone();
        let span = log::operation(&job.operation, &job.namespace, &job.cluster);
        let (this, line) = (self.clone(), control.clone());
        let active = Active::new(&self.active);
        // Held until the worker is noted, so that its end finds it.
        let mut workers = self.lock();
        let task = tokio::spawn(
            async move {
                let run = std::panic::AssertUnwindSafe(provider.run(&job, &line)).catch_unwind();
                let end = run.await.ok();
                drop(active);
                match &end {
                    Some(Ok(end)) => tracing::info!(?end, "work ended"),
                    Some(Err(error)) => {
                        tracing::error!(code = error.code, error = error.message, "work failed");
                    }
                    None => tracing::error!("work broke off, starting it again"),
                }
                this.end(&job.uid, end);
                changed();
            }
            .instrument(span),
        );
        workers.insert(
            uid,
            Worker {
                cluster,
                stop: told,
                control,
                end: None,
                task,
            },
        );
    }

    /// Tells the work of an Operation to stop. A stop never becomes milder.
    pub fn stop(&self, uid: &str, stop: Stop) {
        if let Some(worker) = self.lock().get(uid) {
            let rises = worker.stop.send_if_modified(|told| {
                let rises = *told < stop;
                *told = stop.max(*told);
                rises
            });
            if rises {
                // What it has begun until now is known now.
                let _ = self.changed.send(worker.cluster.clone());
            }
        }
    }

    /// Forgets the work of an Operation.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Notes how a work ended; one that broke off is forgotten, so that it is started again.
    fn end(&self, uid: &str, end: Option<Ended>) {
        let mut workers = self.lock();
        match (workers.get_mut(uid), end) {
            (Some(worker), Some(end)) => worker.end = Some(end),
            (Some(_), None) => drop(workers.remove(uid)),
            (None, _) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Worker>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that runs: counted until it is dropped, at its end or with its task.
struct Active(Gauge);

impl Active {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Worker {
    fn work(&self) -> Work {
        let progress = self.control.progress();
        match &self.end {
            None => Work::Running(progress, self.control.stop()),
            Some(Ok(End::Done)) => Work::Done(progress),
            Some(Ok(End::Stopped)) => Work::Stopped(progress),
            Some(Err(error)) => Work::Failed(error.clone(), progress),
        }
    }
}
