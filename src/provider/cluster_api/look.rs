//! The observed state of a cluster, from Cluster API's objects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{ResourceExt as _, core::DynamicObject};

use crate::{
    api::KubernetesVersion,
    lifecycle::{ControlPlaneView, NodeSettings, NodeView, Observation},
    provider::{
        engine::{EngineError, Site},
        requests::{Failure, Passing},
    },
};

use super::{autoscaled, found::Found, goal::SETTINGS, kinds, strangers};

/// Returns the observed state of a cluster.
pub fn observation(found: &Found, site: &Site) -> Result<Observation, EngineError> {
    let version = control_plane_version(found);
    // A Cluster that Belay creates has no control plane until that has come up once.
    let is_coming_up = found.spec.create.is_some() && !found.is_initialized();
    if version.is_none() && !is_coming_up {
        return Err(Failure::Passing(Passing::new(
            "NotInitialized",
            format!(
                "the control plane of Cluster {} reports no version yet",
                found.spec.cluster_name
            ),
        )));
    }
    let nodes: BTreeMap<_, _> = found
        .pools()
        .map(|(pool, deployment)| (pool.to_owned(), nodes(found, deployment)))
        .collect();
    let kept = found
        .pools()
        .map(|(pool, deployment)| (pool.to_owned(), found.wanted(deployment).replicas))
        .collect();
    let scaled_by = |(pool, deployment): (&str, &DynamicObject)| {
        autoscaled::scaled_by(found, deployment).map(|by| (pool.to_owned(), by))
    };
    Ok(Observation {
        kept,
        scaled_by_others: found.pools().filter_map(scaled_by).collect(),
        control_plane: version
            .filter(|_| !is_coming_up)
            .map(|version| ControlPlaneView {
                version,
                running: true,
                changing_to: None,
            }),
        nodes,
        begun_by_others: strangers::begun(found, site)?,
        ..Observation::default()
    })
}

/// Returns the version that the control plane runs. During a change, that is the oldest version that it still has.
pub fn control_plane_version(found: &Found) -> Option<KubernetesVersion> {
    let shown = found
        .cluster()
        .data
        .pointer("/status/controlPlane/versions")?;
    let versions = shown.as_array()?.iter().filter_map(|one| {
        let version = one["version"].as_str()?;
        version.trim_start_matches('v').parse().ok()
    });
    versions.min()
}

fn nodes(found: &Found, deployment: &DynamicObject) -> Vec<NodeView> {
    let settings = kinds::annotation(deployment, SETTINGS);
    let settings: NodeSettings = settings
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let machines = found.machines_of(deployment).into_iter();
    machines
        .filter_map(|machine| node(machine, &settings))
        .collect()
}

fn node(machine: &DynamicObject, settings: &NodeSettings) -> Option<NodeView> {
    let created = machine.creation_timestamp();
    Some(NodeView {
        name: machine.name_any(),
        version: kinds::version(machine, "/spec/version")?,
        ready: kinds::is(machine, "Ready"),
        ready_since: None,
        cordoned: false,
        joining: kinds::text(machine, "/status/nodeRef/name").is_none(),
        deleting: machine.metadata.deletion_timestamp.is_some(),
        settings: settings.clone(),
        drained_by: None,
        made_by: None,
        undrainable: None,
        quarantined: false,
        created: created.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    })
}
