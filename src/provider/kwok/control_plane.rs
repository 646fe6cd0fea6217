//! The control plane: a record of its version and of whether it is on.
//!
//! An Operation first marks the record as its own, and then changes it as it was read at that time. So a write that is
//! answered late, after the Operation has ended, changes nothing.

use std::{collections::BTreeSet, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client, Resource as _, ResourceExt as _, api::Patch, runtime::reflector::ObjectRef,
};
use serde_json::{Value, json};

use crate::{
    api::{
        CLUSTER_LABEL, KwokControlPlane, KwokControlPlaneSpec, ManagedCluster, NAMESPACE_LABEL,
        OperationError, PowerState, StepPhase,
    },
    lifecycle::{
        ControlPlaneGoal, ControlPlaneView, Job, Progress, StepReport, Stop,
        step_names::CONTROL_PLANE_STEP,
    },
    machinery::{
        delete_params_as_read,
        index::{Change, Index, key},
        patch_params, post_params,
        watches::{self, Scope},
    },
    provider::{
        Changed, Control, End,
        nodes::{Ended, Requests, bounded, refused, was_changed},
    },
};

/// The records of all clusters. Clones share them.
#[derive(Clone)]
pub struct Records {
    client: Client,
    seen: Index<KwokControlPlane>,
}

impl Records {
    /// Returns the records of these namespaces, and the future that watches them and sends the clusters that changed.
    pub fn new(client: &Client, scope: &Scope, changed: Changed) -> (Self, BoxFuture<'static, ()>) {
        let of = scope.clone();
        let seen = Index::keeping(
            |record| vec![key(record)],
            |_: &mut KwokControlPlane| (),
            move |record| {
                let (namespace, cluster) = key(record);
                of.has_cluster(&namespace, &cluster)
            },
        );
        let records = Self {
            client: client.clone(),
            seen: seen.clone(),
        };
        let apis = scope.apis(client);
        let (sources, config) = (apis.len(), watches::config());
        let wake = move |change: Change<KwokControlPlane>| match change {
            Change::Applied(record) | Change::Deleted(record) => {
                let namespace = record.namespace().unwrap_or_default();
                // The receiver is gone only while the process ends.
                let _ = changed.send(ObjectRef::new(&record.name_any()).within(&namespace));
            }
            Change::Complete => {}
        };
        let watching = seen.follow(sources, watches::events(apis, &config), wake);
        (records, watching.boxed())
    }

    /// Returns a control plane as the watch shows it.
    pub fn view(&self, namespace: &str, cluster: &str) -> Option<ControlPlaneView> {
        view(&self.seen.get(namespace, cluster)?.spec)
    }

    /// Returns the uid of the Operation whose mark a record carries, as the watch shows it.
    pub fn in_work_of(&self, namespace: &str, cluster: &str) -> Option<String> {
        self.seen.get(namespace, cluster)?.spec.operation.clone()
    }

    /// Removes the mark of one of these Operations from a record. After that, no request of that
    /// Operation that is in flight changes the control plane.
    pub async fn release(
        &self,
        namespace: &str,
        cluster: &str,
        uids: &BTreeSet<String>,
    ) -> Result<(), String> {
        let records = Api::<KwokControlPlane>::namespaced(self.client.clone(), namespace);
        let record = bounded(records.get(cluster)).await?;
        let is_marked = |record: &KwokControlPlane| {
            let mark = record.spec.operation.as_ref();
            mark.is_some_and(|uid| uids.contains(uid))
        };
        if let Some(record) = record.filter(is_marked) {
            let patch = change(&record, &json!({"operation": null}));
            bounded(records.patch(cluster, &patch_params(), &patch)).await?;
        }
        Ok(())
    }

    /// Returns whether the first look is complete.
    pub fn is_ready(&self) -> bool {
        self.seen.is_complete()
    }

    /// Waits until the first look is complete.
    pub async fn ready(&self) {
        self.seen.complete().await;
    }
}

/// Reads a control plane from the API server.
pub async fn look(
    client: &Client,
    namespace: &str,
    cluster: &str,
) -> kube::Result<Option<ControlPlaneView>> {
    let records = Api::<KwokControlPlane>::namespaced(client.clone(), namespace);
    let record = records.get_opt(cluster).await?;
    Ok(record.and_then(|record| view(&record.spec)))
}

fn view(record: &KwokControlPlaneSpec) -> Option<ControlPlaneView> {
    Some(ControlPlaneView {
        version: record.kubernetes_version?,
        running: record.power_state == PowerState::Running,
        changing_to: record.changing_to,
    })
}

/// Brings the control plane to the goal, or deletes it if there is no goal.
pub async fn bring_to(
    records: &Records,
    job: &Job,
    goal: Option<ControlPlaneGoal>,
    control: &Control,
) -> Result<End, OperationError> {
    let seen = records.view(&job.namespace, &job.cluster);
    if is_reached(seen, goal) {
        report_reached(job, control);
        return Ok(End::Done);
    }
    let is_changing = seen.is_some_and(|seen| seen.changing_to.is_some());
    if !is_changing && !control.begin(step(StepPhase::InProgress)) {
        return Ok(End::Stopped);
    }
    let work = ControlPlane {
        records: Api::namespaced(records.client.clone(), &job.namespace),
        seen: &records.seen,
        job,
        control: if is_changing {
            Control::unstoppable()
        } else {
            control.clone()
        },
        whole: control,
    };
    let end = match goal {
        Some(goal) => work.change(goal).await,
        None => work.delete().await,
    };
    if matches!(end, Ok(End::Done)) {
        report_reached(job, control);
    }
    end
}

/// Reports that the control plane has reached its goal. The operator that brought it there may have died before it
/// reported that.
fn report_reached(job: &Job, control: &Control) {
    let reached = step(StepPhase::Succeeded);
    if job.steps.iter().any(|step| step.name == reached.name) {
        control.report(Progress {
            steps: vec![reached],
            ..Progress::default()
        });
    }
}

fn is_reached(seen: Option<ControlPlaneView>, goal: Option<ControlPlaneGoal>) -> bool {
    match (seen, goal) {
        (None, None) => true,
        (Some(seen), Some(goal)) => {
            seen.version == goal.version
                && seen.running == goal.running
                && seen.changing_to.is_none()
        }
        _ => false,
    }
}

struct ControlPlane<'a> {
    records: Api<KwokControlPlane>,
    seen: &'a Index<KwokControlPlane>,
    job: &'a Job,
    /// Whether the change may still be stopped.
    control: Control,
    /// Where the change reports its progress.
    whole: &'a Control,
}

impl ControlPlane<'_> {
    async fn change(&self, goal: ControlPlaneGoal) -> Result<End, OperationError> {
        let target = json!({
            "kubernetesVersion": goal.version,
            "powerState": if goal.running { PowerState::Running } else { PowerState::Stopped },
            "changingTo": null,
            "operation": null,
        });
        loop {
            let Some(record) = self.marked().await? else {
                return Ok(End::Stopped);
            };
            let runs = record.spec.kubernetes_version;
            let goes_back = runs.is_some_and(|runs| runs > goal.version);
            if goes_back {
                // This is noted before the change begins, so that everybody knows, also after a crash, that there is no
                // way back.
                let changing = json!({"changingTo": goal.version});
                let Some(record) = self.patch(&record, changing).await? else {
                    continue;
                };
                tokio::time::sleep(self.takes(goal)).await;
                if self
                    .unstoppable()
                    .patch(&record, target.clone())
                    .await?
                    .is_some()
                {
                    return self.until_reached(Some(goal)).await;
                }
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(self.takes(goal)) => {}
                () = self.control.until_stop(Stop::Now) => return Ok(End::Stopped),
            }
            if self.patch(&record, target.clone()).await?.is_some() {
                return self.until_reached(Some(goal)).await;
            }
            if self.control.stop() == Stop::Now {
                return Ok(End::Stopped);
            }
        }
    }

    async fn delete(&self) -> Result<End, OperationError> {
        while let Some(record) = self.read().await? {
            let params = delete_params_as_read(&record);
            let (name, what) = (&self.job.cluster, "delete the control plane");
            let deleted = self.request(what, || async {
                self.records.delete(name, &params).await.map(|_| ())
            });
            match deleted.await {
                Ok(()) => break,
                Err(Ended::Refused(status)) if was_changed(&status) => {}
                Err(Ended::Stopped) => return Ok(End::Stopped),
                Err(Ended::Refused(status)) => return Err(refused(what, &status)),
            }
        }
        if self.control.stop() == Stop::Now {
            return Ok(End::Stopped);
        }
        self.until_reached(None).await
    }

    /// Marks the record as this Operation's and returns it. Returns None once the work was asked to stop.
    async fn marked(&self) -> Result<Option<KwokControlPlane>, OperationError> {
        loop {
            if self.control.stop() == Stop::Now {
                return Ok(None);
            }
            let marked = match self.read().await? {
                Some(record) if record.spec.operation.as_ref() == Some(&self.job.uid) => {
                    return Ok(Some(record));
                }
                Some(record) => {
                    self.patch(&record, json!({"operation": self.job.uid}))
                        .await?
                }
                None => self.create().await?,
            };
            if marked.is_some() {
                return Ok(marked);
            }
        }
    }

    async fn read(&self) -> Result<Option<KwokControlPlane>, OperationError> {
        let (name, what) = (&self.job.cluster, "read the control plane's record");
        let read = self.request(what, || self.records.get_opt(name)).await;
        match read {
            Ok(record) => Ok(record),
            Err(Ended::Stopped) => Ok(None),
            Err(Ended::Refused(status)) => Err(refused(what, &status)),
        }
    }

    /// Creates the record without a version, which means that there is no control plane yet.
    async fn create(&self) -> Result<Option<KwokControlPlane>, OperationError> {
        let what = "create the control plane's record";
        let (record, params) = (record(self.job), post_params());
        let created = self.request(what, || self.records.create(&params, &record));
        answer(what, created.await)
    }

    /// Changes the record as it was read and returns it. Returns None if somebody has changed it since, or once the
    /// work was asked to stop.
    async fn patch(
        &self,
        record: &KwokControlPlane,
        spec: Value,
    ) -> Result<Option<KwokControlPlane>, OperationError> {
        let what = "change the control plane";
        let patch = change(record, &spec);
        let (name, params) = (&self.job.cluster, patch_params());
        let patched = self.request(what, || self.records.patch(name, &params, &patch));
        answer(what, patched.await)
    }

    async fn request<T, F>(&self, what: &str, request: impl Fn() -> F) -> Result<T, Ended>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let requests = Requests {
            control: &self.control,
            report: &|blocked| self.whole.block(blocked),
        };
        requests.answered(what, request).await
    }

    fn unstoppable(&self) -> Self {
        Self {
            records: self.records.clone(),
            control: Control::unstoppable(),
            ..*self
        }
    }

    /// Returns how long the change takes. Turning the control plane off takes no time.
    fn takes(&self, goal: ControlPlaneGoal) -> Duration {
        if !goal.running {
            return Duration::ZERO;
        }
        super::time(self.job, |kwok| kwok.node_provisioning_time)
    }

    /// Waits until the change is observed, because the next decision depends on the observed state.
    async fn until_reached(&self, goal: Option<ControlPlaneGoal>) -> Result<End, OperationError> {
        let of = (self.job.namespace.clone(), self.job.cluster.clone());
        let mut changes = self.seen.changes_of(&of);
        let seen = || {
            self.seen
                .get(&of.0, &of.1)
                .and_then(|record| view(&record.spec))
        };
        while !is_reached(seen(), goal) {
            tokio::select! {
                _ = changes.changed() => {}
                () = self.control.until_stop(Stop::Now) => return Ok(End::Stopped),
            }
        }
        Ok(End::Done)
    }
}

/// Returns the answer to a request. Returns None if somebody has changed the object since it was read, or once the work
/// was asked to stop.
fn answer<T>(what: &str, answer: Result<T, Ended>) -> Result<Option<T>, OperationError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Ended::Stopped) => Ok(None),
        Err(Ended::Refused(status)) if was_changed(&status) => Ok(None),
        Err(Ended::Refused(status)) => Err(refused(what, &status)),
    }
}

fn change(record: &KwokControlPlane, spec: &Value) -> Patch<Value> {
    Patch::Merge(json!({
        "metadata": {"resourceVersion": record.resource_version()},
        "spec": spec,
    }))
}

fn step(phase: StepPhase) -> StepReport {
    StepReport {
        name: CONTROL_PLANE_STEP.into(),
        phase,
        message: String::new(),
        ..StepReport::default()
    }
}

fn record(job: &Job) -> KwokControlPlane {
    let labels = [
        (CLUSTER_LABEL, &job.cluster),
        (NAMESPACE_LABEL, &job.namespace),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.clone()));
    KwokControlPlane {
        metadata: ObjectMeta {
            name: Some(job.cluster.clone()),
            namespace: Some(job.namespace.clone()),
            labels: Some(labels.into()),
            owner_references: Some(vec![OwnerReference {
                api_version: ManagedCluster::api_version(&()).into(),
                kind: ManagedCluster::kind(&()).into(),
                name: job.cluster.clone(),
                uid: job.cluster_uid.clone(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: KwokControlPlaneSpec {
            operation: Some(job.uid.clone()),
            ..KwokControlPlaneSpec::default()
        },
    }
}
