//! The control plane: a record of its version, kept in a `ConfigMap` beside the cluster.

use std::collections::BTreeMap;

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
    api::{
        CLUSTER_LABEL, KubernetesVersion, ManagedCluster, NAMESPACE_LABEL, OperationError,
        StepPhase,
    },
    controller::FIELD_MANAGER,
    lifecycle::{CONTROL_PLANE_STEP, Job, Progress, StepReport, Stop},
    provider::{Control, End},
};

use super::{
    retry::{Ended, answered, refused},
    stores::Stores,
};

const VERSION_KEY: &str = "kubernetesVersion";

fn record_name(cluster: &str) -> String {
    format!("{cluster}-kwok-control-plane")
}

/// What the control plane runs.
pub(super) fn version(
    stores: &Stores,
    namespace: &str,
    cluster: &str,
) -> Option<KubernetesVersion> {
    let key = ObjectRef::new(&record_name(cluster)).within(namespace);
    let record = stores.records.get(&key)?;
    record.data.as_ref()?.get(VERSION_KEY)?.parse().ok()
}

/// Brings the control plane to that version, or takes it away.
pub(super) async fn bring_to(
    client: &Client,
    stores: &Stores,
    job: &Job,
    wanted: Option<KubernetesVersion>,
    control: &Control,
) -> Result<End, OperationError> {
    let runs = version(stores, &job.namespace, &job.cluster);
    if runs == wanted {
        return Ok(End::Done);
    }
    if control.stop() != Stop::No {
        return Ok(End::Stopped);
    }
    report(control, StepPhase::InProgress);
    if let Some(provider) = job.provider.kwok.as_ref().filter(|_| wanted.is_some()) {
        tokio::select! {
            () = tokio::time::sleep(provider.node_provisioning_time.into()) => {}
            () = control.told(Stop::Now) => return Ok(End::Stopped),
        }
    }
    let records = Api::<ConfigMap>::namespaced(client.clone(), &job.namespace);
    let written = if let Some(version) = wanted {
        let record = record(job, version);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let name = record_name(&job.cluster);
        answered(control, "write the control plane's version", || async {
            records
                .patch(&name, &params, &Patch::Apply(&record))
                .await
                .map(|_| ())
        })
        .await
    } else {
        let name = record_name(&job.cluster);
        answered(control, "delete the control plane", || async {
            records
                .delete(&name, &DeleteParams::default())
                .await
                .map(|_| ())
        })
        .await
    };
    match written {
        Ok(()) => {}
        Err(Ended::Stopped) => return Ok(End::Stopped),
        Err(Ended::Refused(status)) if wanted.is_none() && status.code == 404 => {}
        Err(Ended::Refused(status)) => return Err(refused("change the control plane", &status)),
    }
    // What comes next is decided on what is observed, so the change is to be seen first.
    let mut changes = stores.watch_nodes();
    while version(stores, &job.namespace, &job.cluster) != wanted {
        tokio::select! {
            _ = changes.changed() => {}
            () = control.told(Stop::Now) => return Ok(End::Stopped),
        }
    }
    report(control, StepPhase::Succeeded);
    Ok(End::Done)
}

fn report(control: &Control, phase: StepPhase) {
    let step = StepReport {
        name: CONTROL_PLANE_STEP.into(),
        phase,
        message: String::new(),
    };
    control.report(Progress {
        steps: vec![step],
        blocked: None,
    });
}

fn record(job: &Job, version: KubernetesVersion) -> ConfigMap {
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
        data: Some(BTreeMap::from([(
            VERSION_KEY.to_owned(),
            version.to_string(),
        )])),
        ..ConfigMap::default()
    }
}
