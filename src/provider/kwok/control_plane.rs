//! The control plane: a record of its version and of whether it is on, kept in a `ConfigMap` beside the cluster.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Resource as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::reflector::ObjectRef,
};

use crate::{
    api::{CLUSTER_LABEL, ManagedCluster, NAMESPACE_LABEL, OperationError, StepPhase},
    lifecycle::{
        CONTROL_PLANE_STEP, ControlPlaneGoal, ControlPlaneView, Job, Progress, StepReport, Stop,
    },
    machinery::FIELD_MANAGER,
    provider::{Control, End},
};

use super::{
    retry::{Ended, answered, refused},
    stores::Stores,
};

/// In the record: what the control plane runs.
const VERSION_KEY: &str = "kubernetesVersion";
/// In the record: whether it is on.
const POWER_KEY: &str = "powerState";
/// In the record: what it is changing to. From then on the change is seen through.
const CHANGING_KEY: &str = "changingTo";

/// The name of a cluster's record.
pub(super) fn record_name(cluster: &str) -> String {
    format!("{cluster}-kwok-control-plane")
}

/// The control plane as the watch has seen its record.
pub(super) fn view(stores: &Stores, namespace: &str, cluster: &str) -> Option<ControlPlaneView> {
    let key = ObjectRef::new(&record_name(cluster)).within(namespace);
    of_record(stores.records.get(&key)?.as_ref())
}

/// The control plane that a record tells of.
pub(super) fn of_record(record: &ConfigMap) -> Option<ControlPlaneView> {
    let data = record.data.as_ref()?;
    Some(ControlPlaneView {
        version: data.get(VERSION_KEY)?.parse().ok()?,
        running: data.get(POWER_KEY).map(String::as_str) != Some("Stopped"),
        changing_to: data
            .get(CHANGING_KEY)
            .and_then(|version| version.parse().ok()),
    })
}

/// Brings the control plane to the goal, or takes it away.
pub(super) async fn bring_to(
    client: &Client,
    stores: &Stores,
    job: &Job,
    goal: Option<ControlPlaneGoal>,
    control: &Control,
) -> Result<End, OperationError> {
    let seen = view(stores, &job.namespace, &job.cluster);
    if is_reached(seen, goal) {
        return Ok(End::Done);
    }
    if !is_changing(seen) && !control.begin(step(StepPhase::InProgress)) {
        return Ok(End::Stopped);
    }
    let work = ControlPlane {
        records: Api::namespaced(client.clone(), &job.namespace),
        stores,
        job,
        control,
    };
    let end = match goal {
        Some(goal) => work.change(seen, goal).await?,
        None => work.delete().await?,
    };
    if end == End::Done {
        control.report(Progress {
            steps: vec![step(StepPhase::Succeeded)],
            blocked: None,
        });
    }
    Ok(end)
}

fn is_reached(seen: Option<ControlPlaneView>, goal: Option<ControlPlaneGoal>) -> bool {
    match (seen, goal) {
        (None, None) => true,
        (Some(seen), Some(goal)) => {
            seen.version == goal.version && seen.running == goal.running && !is_changing(Some(seen))
        }
        _ => false,
    }
}

fn is_changing(seen: Option<ControlPlaneView>) -> bool {
    seen.is_some_and(|seen| seen.changing_to.is_some())
}

struct ControlPlane<'a> {
    records: Api<ConfigMap>,
    stores: &'a Stores,
    job: &'a Job,
    control: &'a Control,
}

impl ControlPlane<'_> {
    async fn change(
        &self,
        seen: Option<ControlPlaneView>,
        goal: ControlPlaneGoal,
    ) -> Result<End, OperationError> {
        let goes_back = seen.is_some_and(|seen| seen.version > goal.version);
        let target = ControlPlaneView {
            version: goal.version,
            running: goal.running,
            changing_to: None,
        };
        if let (true, Some(seen)) = (goes_back, seen) {
            // Noted before it begins, so that everyone knows, also after a crash, that there is no way back.
            let changing = ControlPlaneView {
                changing_to: Some(goal.version),
                ..seen
            };
            if !is_changing(Some(seen)) && self.write(changing).await? == End::Stopped {
                return Ok(End::Stopped);
            }
            tokio::time::sleep(self.takes(goal)).await;
            return self.finish(target).await;
        }
        tokio::select! {
            () = tokio::time::sleep(self.takes(goal)) => {}
            () = self.control.told(Stop::Now) => return Ok(End::Stopped),
        }
        self.write(target).await
    }

    /// How long the change takes: turning it off takes none.
    fn takes(&self, goal: ControlPlaneGoal) -> Duration {
        let provider = self.job.provider.kwok.as_ref().filter(|_| goal.running);
        provider
            .map(|kwok| kwok.node_provisioning_time.into())
            .unwrap_or_default()
    }

    /// Sees a change through that can't be stopped any more.
    async fn finish(&self, target: ControlPlaneView) -> Result<End, OperationError> {
        let never = Control::unstoppable();
        let this = ControlPlane {
            records: self.records.clone(),
            control: &never,
            ..*self
        };
        this.write(target).await
    }

    async fn write(&self, view: ControlPlaneView) -> Result<End, OperationError> {
        let record = record(self.job, view);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let name = record_name(&self.job.cluster);
        let written = answered(self.control, "write the control plane's record", || async {
            self.records
                .patch(&name, &params, &Patch::Apply(&record))
                .await
                .map(|_| ())
        });
        match written.await {
            Ok(()) => Ok(self.until_seen(Some(view)).await),
            Err(Ended::Stopped) => Ok(End::Stopped),
            Err(Ended::Refused(status)) => Err(refused("change the control plane", &status)),
        }
    }

    async fn delete(&self) -> Result<End, OperationError> {
        let name = record_name(&self.job.cluster);
        let deleted = answered(self.control, "delete the control plane", || async {
            self.records
                .delete(&name, &DeleteParams::default())
                .await
                .map(|_| ())
        });
        match deleted.await {
            Ok(()) => {}
            Err(Ended::Refused(status)) if status.code == 404 => {}
            Err(Ended::Stopped) => return Ok(End::Stopped),
            Err(Ended::Refused(status)) => {
                return Err(refused("delete the control plane", &status));
            }
        }
        Ok(self.until_seen(None).await)
    }

    /// What comes next is decided on what is observed, so the change is to be seen first.
    async fn until_seen(&self, expected: Option<ControlPlaneView>) -> End {
        let mut changes = self.stores.watch_nodes();
        while view(self.stores, &self.job.namespace, &self.job.cluster) != expected {
            tokio::select! {
                _ = changes.changed() => {}
                () = self.control.told(Stop::Now) => return End::Stopped,
            }
        }
        End::Done
    }
}

fn step(phase: StepPhase) -> StepReport {
    StepReport {
        name: CONTROL_PLANE_STEP.into(),
        phase,
        message: String::new(),
        nodes_done: None,
    }
}

fn record(job: &Job, view: ControlPlaneView) -> ConfigMap {
    let power = if view.running { "Running" } else { "Stopped" };
    let mut data = BTreeMap::from([
        (VERSION_KEY.to_owned(), view.version.to_string()),
        (POWER_KEY.to_owned(), power.to_owned()),
    ]);
    if let Some(version) = view.changing_to {
        data.insert(CHANGING_KEY.to_owned(), version.to_string());
    }
    let labels = [
        (CLUSTER_LABEL, &job.cluster),
        (NAMESPACE_LABEL, &job.namespace),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(record_name(&job.cluster)),
            namespace: Some(job.namespace.clone()),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.clone()))
                    .into(),
            ),
            owner_references: Some(vec![OwnerReference {
                api_version: ManagedCluster::api_version(&()).into(),
                kind: ManagedCluster::kind(&()).into(),
                name: job.cluster.clone(),
                uid: job.cluster_uid.clone(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}
