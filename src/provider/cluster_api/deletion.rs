//! Deletions of a pool's `MachineDeployment`, or of the Cluster. Cluster API itself deletes their Machines, all at
//! once, so a deletion that has begun can't be stopped.

use std::fmt;

use kube::{Client, ResourceExt as _, api::DeleteParams, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    lifecycle::Stage,
    machinery::delete_params,
    provider::engine::{Answer, Change, EngineError, Running, Site, State},
};

use super::{
    answers::failed,
    blocked,
    found::Found,
    kinds::{self, Kind},
    reader::Reader,
    stop,
    write::write,
};

/// The prefix of a deletion's handle.
const DELETED: &str = "deleted/";

/// The deletion of a pool, or of the Cluster if there is no pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pool: Option<String>,
}

impl Deletion {
    /// Returns the deletion of a change. None if the change deletes nothing.
    pub fn of(change: &Change) -> Option<Self> {
        let pool = match &change.stage {
            Stage::Pool(goal) if goal.deleted => Some(goal.pool.clone()),
            Stage::ControlPlane(None) => None,
            Stage::Pool(_) | Stage::ControlPlane(Some(_)) | Stage::Follow(_) => return None,
        };
        Some(Self { pool })
    }

    /// Returns the deletion that a handle names. None if the handle names another change.
    pub fn parse(handle: &str) -> Option<Self> {
        let what = handle.strip_prefix(DELETED)?;
        let pool = what.strip_prefix("pool/").map(ToOwned::to_owned);
        Some(Self { pool })
    }

    /// Begins the deletion. It is no error if the object is already gone.
    pub async fn begin(&self, reader: &Reader, site: &Site) -> Result<(), EngineError> {
        let client = &reader.client;
        let Some(found) = reader.now(site).await? else {
            return Ok(());
        };
        let Some(pool) = &self.pool else {
            // Cluster API would never delete what an abort has paused.
            stop::lift_control_plane(client, site, &found).await?;
            return delete(client, site, Kind::Cluster, found.cluster()).await;
        };
        if let Some(at) = found.entry_of(pool) {
            let mut cluster = found.cluster().clone();
            remove_entry(&mut cluster, at);
            return write(client, site, Kind::Cluster, found.cluster(), &cluster).await;
        }
        match found.deployment(pool) {
            Ok(alone) if !kinds::is_of_topology(alone) => {
                delete(client, site, Kind::MachineDeployment, alone).await
            }
            // The topology deletes it, or it is gone.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Returns whether the deletion was begun.
    pub async fn was_begun(&self, reader: &Reader, site: &Site) -> Result<bool, EngineError> {
        let found = reader.now(site).await?;
        Ok(found.is_none_or(|found| {
            let is_going = |object: &DynamicObject| object.metadata.deletion_timestamp.is_some();
            let Some(pool) = &self.pool else {
                return is_going(found.cluster());
            };
            let deployment = found.deployment(pool);
            found.entry_of(pool).is_none()
                && deployment.map_or(true, |it| is_going(it) || kinds::is_of_topology(it))
        }))
    }

    /// Returns how far the deletion is.
    pub fn state(&self, found: Option<&Found>) -> State {
        let Some(found) = found else {
            return State::Done;
        };
        let (object, machines) = match &self.pool {
            None => (found.cluster(), found.machines()),
            Some(pool) => match found.deployment(pool) {
                Ok(deployment) => (deployment, found.machines_of(deployment)),
                Err(_) if found.entry_of(pool).is_none() => return State::Done,
                Err(_) => (found.cluster(), Vec::new()),
            },
        };
        State::Running(Running {
            nodes_left: i32::try_from(machines.len()).ok(),
            message: format!("{} Machines are left", machines.len()),
            blocked: blocked::of(found, object, &machines),
            ..Running::default()
        })
    }

    /// Refuses to stop the deletion, or answers that it is too late if the deletion is done.
    pub async fn stop(&self, reader: &Reader, site: &Site) -> Result<Answer, EngineError> {
        let found = reader.now(site).await?;
        if self.state(found.as_ref()) == State::Done {
            return Ok(Answer::TooLate);
        }
        Ok(Answer::Refused(
            "Cluster API has already begun to delete all Machines".into(),
        ))
    }
}

impl fmt::Display for Deletion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pool {
            Some(pool) => write!(formatter, "{DELETED}pool/{pool}"),
            None => write!(formatter, "{DELETED}cluster"),
        }
    }
}

/// Removes a pool from its Cluster's topology. Cluster API allows no empty list there, and no empty object.
fn remove_entry(cluster: &mut DynamicObject, at: usize) {
    let topology = cluster.data.pointer_mut("/spec/topology");
    let Some(topology) = topology.and_then(Value::as_object_mut) else {
        return;
    };
    let Some(workers) = topology.get_mut("workers").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(Value::Array(entries)) = workers.get_mut("machineDeployments") {
        entries.remove(at);
    }
    workers.retain(|_, of_kind| of_kind != &json!([]));
    if workers.is_empty() {
        topology.remove("workers");
    }
}

/// Deletes exactly this object.
async fn delete(
    client: &Client,
    site: &Site,
    kind: Kind,
    object: &DynamicObject,
) -> Result<(), EngineError> {
    let params = delete_params(object.metadata.uid.clone());
    delete_with(client, site, (kind, object), &params).await
}

/// Deletes exactly this object, if these parameters allow it.
pub async fn delete_with(
    client: &Client,
    site: &Site,
    (kind, object): (Kind, &DynamicObject),
    params: &DeleteParams,
) -> Result<(), EngineError> {
    let api = kind.api(client, &site.namespace);
    match api.delete(&object.name_any(), params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => deleted.map(|_| ()).map_err(|error| failed(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pool_of_a_topology_leaves_no_empty_list() {
        let cluster = json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {},
            "spec": {"topology": {"workers": {"machineDeployments": [{"name": "md-0"}, {"name": "md-1"}]}}}});
        let mut cluster: DynamicObject = serde_json::from_value(cluster).expect("a Cluster");
        remove_entry(&mut cluster, 1);
        let left = json!({"topology": {"workers": {"machineDeployments": [{"name": "md-0"}]}}});
        assert_eq!(cluster.data["spec"], left);
        remove_entry(&mut cluster, 0);
        assert_eq!(cluster.data["spec"], json!({"topology": {}}));
    }

    #[test]
    fn a_handle_survives_writing_and_reading() {
        for text in ["deleted/cluster", "deleted/pool/md-0"] {
            let deletion = Deletion::parse(text).expect("a deletion");
            assert_eq!(deletion.to_string(), text);
        }
        assert_eq!(Deletion::parse("resized/md-0/uid-1"), None);
    }
}
