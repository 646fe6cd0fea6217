//! How a change is stopped, without a rollback: no more Machines are created or deleted. What has begun comes to its
//! end. The next change removes what the stop has set, and only that.

use kube::{Client, ResourceExt as _, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    machinery::{clock, delete_params_as_read},
    provider::engine::{Answer, EngineError, Site, State},
};

use super::{
    answers::failed,
    deletion,
    found::{Found, Place},
    goal::{OURS, STOPPED_BY},
    handle::Handle,
    kinds::{self, Kind, PAUSED},
    progress,
    reader::Reader,
    write::write,
};

/// Stops the change of a handle.
pub async fn stop(reader: &Reader, site: &Site, handle: &Handle) -> Result<Answer, EngineError> {
    let client = &reader.client;
    let Some(found) = reader.now(site).await? else {
        return Ok(Answer::TooLate);
    };
    let Some(written) = handle.written(&found)? else {
        return Ok(Answer::TooLate);
    };
    if written.contains('/') {
        return Ok(Answer::Accepted);
    }
    if progress::state(&found, handle)? == State::Done {
        return Ok(Answer::TooLate);
    }
    if let Some(pool) = &handle.pool {
        return stop_pool(client, site, &found, handle, pool).await;
    }
    if found.is_untouched() {
        // A pause isn't possible: the webhooks accept no change while the ClusterClass is missing.
        let cluster = (Kind::Cluster, found.cluster());
        let params = delete_params_as_read(found.cluster());
        deletion::delete_with(client, site, cluster, &params).await?;
        return Ok(Answer::Accepted);
    }
    let Some(control_plane) = found.control_plane() else {
        return Ok(Answer::Refused(
            "Belay can stop changes only of control planes of the kind KubeadmControlPlane".into(),
        ));
    };
    let mut paused = control_plane.clone();
    let pauses = paused.annotations_mut().entry(PAUSED.into());
    pauses.or_insert_with(|| OURS.into());
    if !found.has_topology() {
        mark(&mut paused, handle);
    }
    write(
        client,
        site,
        Kind::KubeadmControlPlane,
        control_plane,
        &paused,
    )
    .await?;
    if found.has_topology() {
        note(client, site, &found, handle, None).await?;
    }
    Ok(Answer::Accepted)
}

/// Stops the change of a pool. A roll-out is paused. A scale has begun all of its Machines as soon as its `MachineSet`
/// has the new number.
async fn stop_pool(
    client: &Client,
    site: &Site,
    found: &Found,
    handle: &Handle,
    pool: &str,
) -> Result<Answer, EngineError> {
    let deployment = found.made_deployment(pool)?;
    let wanted = found.wanted(deployment);
    let machines = found.machines_of(deployment);
    let is_old = |machine: &&DynamicObject| !wanted.has_version_of(machine);
    if handle.replaces && machines.iter().any(is_old) {
        let mut paused = deployment.clone();
        paused.data["spec"]["paused"] = json!(true);
        let by = handle.token.clone();
        paused.annotations_mut().insert(STOPPED_BY.into(), by);
        // Between two Machines, a paused roll-out would create one more, because it has room for it.
        let is_between = machines.len() == wanted.replicas;
        if is_between {
            strategy(Place::Own, &mut paused);
        }
        write(client, site, Kind::MachineDeployment, deployment, &paused).await?;
        let place = is_between.then(|| found.place(deployment));
        note(client, site, found, handle, place).await?;
        return Ok(Answer::Accepted);
    }
    let ordered = found.ordered(deployment);
    if ordered == wanted.replicas {
        return Ok(Answer::Refused(
            "Cluster API has already begun to create or delete all Machines of the scale operation"
                .into(),
        ));
    }
    let (kind, object) = handle.object(found)?;
    let mut changed = object.clone();
    found.place(deployment).spec(&mut changed)["replicas"] = json!(ordered);
    mark(&mut changed, handle);
    write(client, site, kind, object, &changed).await?;
    Ok(Answer::Accepted)
}

/// Sets the strategy that replaces only Machines that somebody deletes.
fn strategy(place: Place, object: &mut DynamicObject) {
    place.spec(object)["rollout"]["strategy"] = json!({"type": "OnDelete"});
}

/// Settles a stopped roll-out once its Machines have come up. If it stayed paused, a scale could only create Machines
/// of the old version, which the control plane doesn't accept. So the roll-out continues, but replaces only Machines
/// that somebody deletes. A Machine that already has a replacement is deleted. Returns whether all of that is done.
pub async fn settle(
    client: &Client,
    site: &Site,
    found: &Found,
    handle: &Handle,
) -> Result<bool, EngineError> {
    let Some(pool) = handle.pool.as_ref().filter(|_| handle.replaces) else {
        return Ok(true);
    };
    let deployment = found.made_deployment(pool)?;
    let wanted = found.wanted(deployment);
    let machines = found.machines_of(deployment);
    let is_paused = deployment.data.pointer("/spec/paused") == Some(&true.into());
    if kinds::annotation(deployment, STOPPED_BY).is_none() || !is_paused {
        return Ok(machines.len() <= wanted.replicas);
    }
    let is_broken =
        |machine: &&DynamicObject| wanted.has_version_of(machine) && !kinds::is(machine, "Ready");
    if machines.iter().any(is_broken) {
        // An old Machine would be deleted for it. So the roll-out stays paused.
        return Ok(true);
    }
    let place = found.place(deployment);
    let replaces = |spec: &Value| spec["rollout"]["strategy"]["type"] != "OnDelete";
    if place != Place::Own {
        if replaces(found.spec_of(deployment)) {
            let mut cluster = found.cluster().clone();
            strategy(place, &mut cluster);
            write(client, site, Kind::Cluster, found.cluster(), &cluster).await?;
            return Ok(false);
        }
        // The topology has to change the MachineDeployment itself: it would overwrite a change by Belay.
        if replaces(&deployment.data["spec"]) {
            return Ok(false);
        }
    }
    let mut settled = deployment.clone();
    strategy(Place::Own, &mut settled);
    settled.data["spec"]["paused"] = json!(false);
    write(client, site, Kind::MachineDeployment, deployment, &settled).await?;
    Ok(false)
}

/// Notes that a change was asked to stop, and that the topology no longer replaces Machines by itself.
async fn note(
    client: &Client,
    site: &Site,
    found: &Found,
    handle: &Handle,
    no_more_at: Option<Place>,
) -> Result<(), EngineError> {
    let (kind, object) = handle.object(found)?;
    let mut read = object.clone();
    if kind == Kind::MachineDeployment {
        // It was written a moment ago.
        let api = kind.api(client, &site.namespace);
        let now = api.get(&object.name_any()).await;
        read = now.map_err(|error| failed(&error))?;
    }
    let mut noted = read.clone();
    if let Some(place) = no_more_at.filter(|place| *place != Place::Own) {
        strategy(place, &mut noted);
    }
    mark(&mut noted, handle);
    write(client, site, kind, &read, &noted).await
}

fn mark(object: &mut DynamicObject, handle: &Handle) {
    let written = format!("{}/{}", handle.token, clock::now());
    object
        .annotations_mut()
        .insert(handle.annotation(), written);
}

/// Removes what an abort has set, for a change that replaces Machines. A pool that is only resized stays as it is:
/// otherwise, the stopped roll-out would continue.
pub async fn lift(
    client: &Client,
    site: &Site,
    found: &Found,
    handle: &Handle,
) -> Result<(), EngineError> {
    if !handle.replaces {
        return Ok(());
    }
    if let Some(pool) = &handle.pool {
        if let Ok(deployment) = found.deployment(pool)
            && kinds::annotation(deployment, STOPPED_BY).is_some()
        {
            let mut lifted = deployment.clone();
            lifted.data["spec"]["paused"] = json!(false);
            lifted.annotations_mut().remove(STOPPED_BY);
            write(client, site, Kind::MachineDeployment, deployment, &lifted).await?;
        }
        return Ok(());
    }
    lift_control_plane(client, site, found).await
}

/// Removes what an abort has set on the control plane.
pub async fn lift_control_plane(
    client: &Client,
    site: &Site,
    found: &Found,
) -> Result<(), EngineError> {
    if let Some(control_plane) = found.control_plane()
        && kinds::annotation(control_plane, PAUSED) == Some(OURS)
    {
        let mut lifted = control_plane.clone();
        lifted.annotations_mut().remove(PAUSED);
        write(
            client,
            site,
            Kind::KubeadmControlPlane,
            control_plane,
            &lifted,
        )
        .await?;
    }
    Ok(())
}
