//! The running work. The work of each Operation runs in a task of its own, which can be asked to stop. A reconcile
//! starts the work, stops it and looks at it, and never waits for it.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
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
    api::{ManagedCluster, Operation, OperationError, StepPhase},
    lifecycle::{Job, Progress, Stage, StepReport, Stop, Work, join_sentences},
    provider::{Control, End, Kept, Provider},
    telemetry::log,
};

/// All work that was started and not forgotten yet.
#[derive(Clone)]
pub struct Workers {
    all: Arc<Mutex<All>>,
    /// How often the work of an Operation panicked, by its uid.
    broken: Arc<Mutex<HashMap<String, u32>>>,
    changed: mpsc::UnboundedSender<ObjectRef<ManagedCluster>>,
    /// Sends whenever work has ended.
    ended: watch::Sender<()>,
    active: Gauge,
}

/// Workers by the uids of their Operations, and these uids by cluster.
#[derive(Default)]
struct All {
    by_uid: HashMap<String, Worker>,
    by_cluster: HashMap<ObjectRef<ManagedCluster>, BTreeSet<String>>,
}

impl All {
    fn insert(&mut self, uid: String, worker: Worker) {
        let of_cluster = self.by_cluster.entry(worker.cluster.clone()).or_default();
        of_cluster.insert(uid.clone());
        self.by_uid.insert(uid, worker);
    }

    fn remove(&mut self, uid: &str) {
        let Some(worker) = self.by_uid.remove(uid) else {
            return;
        };
        if let Some(of_cluster) = self.by_cluster.get_mut(&worker.cluster) {
            of_cluster.remove(uid);
            if of_cluster.is_empty() {
                self.by_cluster.remove(&worker.cluster);
            }
        }
    }
}

struct Worker {
    cluster: ObjectRef<ManagedCluster>,
    stop: watch::Sender<Stop>,
    kept: watch::Sender<Kept>,
    control: Control,
    /// How the work ended, once it has ended.
    end: Option<Ended>,
    task: JoinHandle<()>,
}

type Ended = Result<End, OperationError>;

/// How often work may panic before its Operation fails.
const MOST_BREAKS: u32 = 3;
/// The pause before work that panicked starts again. It gets longer each time.
const REST: Duration = Duration::from_secs(1);

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Workers {
    /// Creates an empty set. Clusters whose work made progress are sent to `changed`. `active` counts the running work.
    pub fn new(changed: mpsc::UnboundedSender<ObjectRef<ManagedCluster>>, active: Gauge) -> Self {
        Self {
            all: Arc::default(),
            broken: Arc::default(),
            changed,
            ended: watch::Sender::new(()),
            active,
        }
    }

    /// Waits until all work on a cluster that was asked to stop has ended, or until `within` has passed.
    pub async fn come_to_rest(&self, cluster: &ObjectRef<ManagedCluster>, within: Duration) {
        let mut ended = self.ended.subscribe();
        let at_rest = async {
            while self.of(cluster).values().any(is_stopping) && ended.changed().await.is_ok() {}
        };
        // Work that hasn't ended by then wakes the cluster when it ends.
        let _ = tokio::time::timeout(within, at_rest).await;
    }

    /// Returns the state of the work on a cluster, by the uids of the Operations.
    pub fn of(&self, cluster: &ObjectRef<ManagedCluster>) -> BTreeMap<String, Work> {
        let workers = self.lock();
        let uids = workers.by_cluster.get(cluster).into_iter().flatten();
        let of_cluster =
            uids.filter_map(|uid| Some((uid.clone(), workers.by_uid.get(uid)?.work())));
        of_cluster.collect()
    }

    /// Starts the work of a job. It replaces earlier work for the same Operation.
    pub fn start(&self, provider: Arc<dyn Provider>, job: Job, stop: Stop) {
        let cluster = ObjectRef::new(&job.cluster).within(&job.namespace);
        let (asked, stop) = watch::channel(stop);
        let (sender, of) = (self.changed.clone(), cluster.clone());
        // The receiver is dropped only when the process ends.
        let changed = Arc::new(move || drop(sender.send(of.clone())));
        let (keeps, kept) = watch::channel(Kept::of(&job.steps));
        let control = Control::new(stop, kept, job.blocked.clone(), changed.clone());
        control.report(Progress {
            steps: begun_by_others(&job),
            blocked: control.progress().blocked,
            ..Progress::default()
        });
        let uid = job.uid.clone();
        let span = log::operation(&job.operation, &job.namespace, &job.cluster);
        let (this, line) = (self.clone(), control.clone());
        let active = Active::new(&self.active);
        // The lock is held until the worker is noted, so that the end of the work finds it.
        let mut workers = self.lock();
        let task = tokio::spawn(
            async move {
                let run = std::panic::AssertUnwindSafe(provider.run(&job, &line)).catch_unwind();
                let end = match run.await.map_err(|panic| words_of(panic.as_ref())) {
                    Ok(end) => Some(end),
                    Err(words) => this.broke_off(&job.uid, &line, &words).await,
                };
                drop(active);
                match &end {
                    Some(Ok(end)) => tracing::info!(?end, "work ended"),
                    Some(Err(error)) => {
                        tracing::error!(code = error.code, error = error.message, "work failed");
                    }
                    None => tracing::warn!("starting the work again"),
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
                stop: asked,
                kept: keeps,
                control,
                end: None,
                task,
            },
        );
    }

    /// Notes what the statuses of these Operations store about their steps and their force, for the work that depends on
    /// that.
    pub fn note_kept(&self, operations: &[Arc<Operation>]) {
        let workers = self.lock();
        for operation in operations {
            let uid = operation.metadata.uid.as_ref();
            let worker = uid.and_then(|uid| workers.by_uid.get(uid));
            if let (Some(worker), true) = (worker, operation.status.is_some()) {
                let now = Kept::of_operation(operation);
                worker.kept.send_if_modified(|kept| {
                    let is_new = *kept != now;
                    *kept = now;
                    is_new
                });
            }
        }
    }

    /// Asks the work of an Operation to stop. A stop never becomes milder.
    pub fn stop(&self, uid: &str, stop: Stop) {
        if let Some(worker) = self.lock().by_uid.get(uid) {
            let rises = worker.stop.send_if_modified(|asked| {
                let rises = *asked < stop;
                *asked = stop.max(*asked);
                rises
            });
            if rises {
                // From now on, the work begins no step, so it is known which steps have begun.
                let _ = self.changed.send(worker.cluster.clone());
            }
        }
    }

    /// Forgets the work of an Operation.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
        self.broken().remove(uid);
    }

    /// Ends all work on a cluster that no longer exists.
    pub fn end_of(&self, cluster: &ObjectRef<ManagedCluster>) {
        let mut workers = self.lock();
        for uid in workers.by_cluster.remove(cluster).unwrap_or_default() {
            tracing::warn!(
                cluster = cluster.name,
                operation = uid,
                "the cluster no longer exists, stopping the work on it"
            );
            workers.by_uid.remove(&uid);
        }
    }

    /// Handles a panic of an Operation's work: the work pauses, and then starts again. If it panics repeatedly, it
    /// fails.
    async fn broke_off(&self, uid: &str, line: &Control, words: &str) -> Option<Ended> {
        let breaks = {
            let mut broken = self.broken();
            let breaks = broken.entry(uid.to_owned()).or_default();
            *breaks += 1;
            *breaks
        };
        tracing::error!(
            breaks,
            error = words,
            "work panicked: this is a bug in Belay, please report it"
        );
        let message = join_sentences(
            &format!("the work panicked: {words}"),
            "This is a bug in Belay, please report it",
        );
        if breaks >= MOST_BREAKS {
            return Some(Err(OperationError::new("InternalError", message)));
        }
        line.block(Some(("InternalError".into(), message)));
        tokio::select! {
            () = tokio::time::sleep(REST * 5_u32.pow(breaks - 1)) => {}
            // The work is started again at once, and then comes to a stop.
            () = line.until_stop(Stop::AfterStep) => {}
        }
        None
    }

    fn broken(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how work ended. Work that panicked is forgotten, so that it starts again.
    fn end(&self, uid: &str, end: Option<Ended>) {
        let mut workers = self.lock();
        match (workers.by_uid.get_mut(uid), end) {
            (Some(worker), Some(end)) => worker.end = Some(end),
            (Some(_), None) => workers.remove(uid),
            (None, _) => {}
        }
        drop(workers);
        self.ended.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns reports of the steps that somebody else began before this work follows them. Then an abort that comes before
/// the engine's first answer sees them as begun.
fn begun_by_others(job: &Job) -> Vec<StepReport> {
    let followed = job.stages.iter().filter_map(|stage| match stage {
        Stage::Follow(followed) => Some(&followed.step),
        Stage::ControlPlane(_) | Stage::Pool(_) => None,
    });
    let is_new = |name: &&String| {
        let mut steps = job.steps.iter();
        steps.any(|step| step.name == **name && step.phase == StepPhase::Pending)
    };
    let begun = followed.filter(is_new).map(|name| StepReport {
        name: name.clone(),
        phase: StepPhase::InProgress,
        // Without it, the step would count as half done.
        nodes_done: Some(0),
        ..StepReport::default()
    });
    begun.collect()
}

fn is_stopping(work: &Work) -> bool {
    matches!(work, Work::Running(_, Stop::Now))
}

/// Returns the message of a panic.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    text.unwrap_or_else(|| "no message".into())
}

/// Running work. It is counted until this is dropped, at its end or with its task.
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
            Some(Ok(End::Refused(words))) => Work::Refused(words.clone(), progress),
            Some(Err(error)) => Work::Failed(error.clone(), progress),
        }
    }
}
