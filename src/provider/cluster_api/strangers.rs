//! Changes that others make to Cluster API's own objects, outside Belay, while Machines move. The last writer of a
//! field is the one who asked for it: the API server keeps the writers in the object's managed fields.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::{
    api::{OperationSpec, OperationTarget, OperationType, TargetKind},
    lifecycle::BegunByOthers,
    machinery::{FIELD_MANAGER, clock},
    provider::engine::{EngineError, Site},
};

use super::{
    found::{Found, Place},
    goal::{self, STOPPED_BY},
    handle::Handle,
    kinds::{self, Kind, TOPOLOGY_NAME},
    look,
};

/// How long after somebody wrote a number of Machines a difference counts as a scale. Later, a Machine is missing
/// because it was lost or deleted, and it is created again.
const SCALE: Duration = Duration::from_mins(10);

/// The path of a topology's version in managed fields.
const TOPOLOGY_VERSION: [&str; 3] = ["f:spec", "f:topology", "f:version"];

/// Returns what others began, and what still moves.
pub fn begun(found: &Found, site: &Site) -> Result<Vec<BegunByOthers>, EngineError> {
    let mut begun: Vec<_> = control_plane(found, site).into_iter().collect();
    begun.extend(
        found
            .pools()
            .filter_map(|(pool, deployment)| of_pool(found, pool, deployment)),
    );
    let mut moving = Vec::new();
    for (handle, begun) in begun {
        let (_, object) = handle.object(found)?;
        let asked = kinds::annotation(object, &handle.version_annotation());
        if handle.replaces && asked == Some(&handle.token) {
            // Belay has asked for the same.
            continue;
        }
        let written = handle.written(found)?;
        // What an abort stopped stays as it is.
        if written.is_some_and(|written| !written.contains('/')) {
            moving.push(begun);
        }
    }
    Ok(moving)
}

fn control_plane(found: &Found, site: &Site) -> Option<(Handle, BegunByOthers)> {
    let wanted = found.wanted_version()?;
    if look::control_plane_version(found)? == wanted {
        return None;
    }
    let (kind, object) = found.control_plane_spec().ok()?;
    let path: &[&str] = match kind {
        Kind::Cluster => &TOPOLOGY_VERSION,
        _ => &["f:spec", "f:version"],
    };
    let by = last_writer(object, path)?;
    let handle = Handle::of_others(None, true, &wanted.to_string());
    let target = (TargetKind::ManagedCluster, site.cluster.as_str());
    let begun = begun_by(&handle, &by.manager, target, OperationType::Upgrade);
    Some((handle, begun))
}

fn of_pool(
    found: &Found,
    pool: &str,
    deployment: &DynamicObject,
) -> Option<(Handle, BegunByOthers)> {
    if kinds::annotation(deployment, STOPPED_BY).is_some() {
        return None;
    }
    let (wanted, machines) = (found.wanted(deployment), found.machines_of(deployment));
    let target = (TargetKind::AgentPool, pool);
    let is_old = |machine: &&DynamicObject| !wanted.has_version_of(machine);
    let is_rolling = machines.iter().any(is_old);
    if let Some(by) = writer_of_version(found, deployment).filter(|_| is_rolling) {
        let handle = Handle::of_others(Some(pool), true, &wanted.version?.to_string());
        let begun = begun_by(&handle, &by.manager, target, OperationType::Upgrade);
        return Some((handle, begun));
    }
    // Belay's own roll-out has one Machine more or less for a while.
    let is_its_own = is_rolling && goal::count_asked_for(found, pool) == Some(wanted.replicas);
    if machines.len() == wanted.replicas || is_its_own {
        return None;
    }
    let by = writer_of_replicas(found, deployment)?;
    let is_recent = by
        .time
        .is_some_and(|time| clock::after(time, SCALE) > clock::now());
    let handle = Handle::of_others(Some(pool), false, &wanted.replicas.to_string());
    let begun = begun_by(&handle, &by.manager, target, OperationType::Scale);
    is_recent.then_some((handle, begun))
}

fn begun_by(
    handle: &Handle,
    by: &str,
    (kind, name): (TargetKind, &str),
    type_: OperationType,
) -> BegunByOthers {
    let is_scale = type_ == OperationType::Scale;
    BegunByOthers {
        handle: handle.to_string(),
        spec: OperationSpec {
            type_,
            target: OperationTarget {
                kind,
                name: name.to_owned(),
            },
            kubernetes_version: (!is_scale).then(|| handle.token.clone()),
            count: is_scale.then(|| handle.token.parse().ok()).flatten(),
            timeout: None,
        },
        by: by.to_owned(),
    }
}

/// The last writer of a field.
struct Writer {
    manager: String,
    time: Option<jiff::Timestamp>,
}

fn writer_of_version(found: &Found, deployment: &DynamicObject) -> Option<Writer> {
    match found.place(deployment) {
        Place::Topology(_) => last_writer(found.cluster(), &TOPOLOGY_VERSION),
        Place::Own => last_writer(deployment, &["f:spec", "f:template", "f:spec", "f:version"]),
    }
}

fn writer_of_replicas(found: &Found, deployment: &DynamicObject) -> Option<Writer> {
    let own = || last_writer(deployment, &["f:spec", "f:replicas"]);
    let Some(name) = kinds::label(deployment, TOPOLOGY_NAME) else {
        return own();
    };
    if found.spec_of(deployment)["replicas"].is_null() {
        // The topology leaves the number to others.
        return own();
    }
    let entry = format!("k:{}", serde_json::json!({ "name": name }));
    let all = ["f:spec", "f:topology", "f:workers", "f:machineDeployments"];
    let path = [&all[..], &[&entry, "f:replicas"]].concat();
    last_writer(found.cluster(), &path)
}

/// Returns who wrote a field last. None if Belay did, or if nobody owns the field.
fn last_writer(object: &DynamicObject, path: &[&str]) -> Option<Writer> {
    let entries = object.metadata.managed_fields.iter().flatten();
    let owners: Vec<_> = entries.filter(|entry| owns(entry, path)).collect();
    let is_ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(FIELD_MANAGER);
    if owners.iter().any(is_ours) {
        return None;
    }
    let time = |entry: &ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    let last = owners.into_iter().max_by_key(|entry| time(entry))?;
    Some(Writer {
        manager: last.manager.clone().unwrap_or_default(),
        time: time(last),
    })
}

fn owns(entry: &ManagedFieldsEntry, path: &[&str]) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let found = path
        .iter()
        .try_fold(fields, |fields, part| Some(fields?.get(part)))
        .flatten();
    found.is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(managers: &[(&str, &str)]) -> DynamicObject {
        let entry = |(manager, time): &(&str, &str)| {
            json!({"manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:topology": {"f:version": {}}}}})
        };
        let entries: Vec<_> = managers.iter().map(entry).collect();
        let object = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": {"name": "demo", "managedFields": entries}, "spec": {}});
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn the_last_writer_of_a_field_requested_it_unless_it_was_belay() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let version = ["f:spec", "f:topology", "f:version"];
        for (managers, by) in [
            (vec![("flux", late), ("kubectl", early)], Some("flux")),
            (vec![("flux", late), (FIELD_MANAGER, early)], None),
            (vec![], None),
        ] {
            let writer = last_writer(&object(&managers), &version);
            let writer = writer.map(|writer| writer.manager);
            assert_eq!(writer.as_deref(), by, "{managers:?}");
        }
        let others = last_writer(&object(&[("flux", late)]), &["f:spec", "f:paused"]);
        assert!(others.is_none(), "a field that nobody owns");
    }
}
