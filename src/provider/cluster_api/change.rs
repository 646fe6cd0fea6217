//! How a change is begun: one write to the Cluster, or to a `MachineDeployment` that stands alone, with the change
//! and its token. Whoever finds the token there knows that the change was begun.

use kube::{Client, ResourceExt as _};

use crate::{
    api::KubernetesVersion,
    lifecycle::Stage,
    provider::engine::{Change, EngineError, Site},
};

use super::{
    answers::not_supported, creation, found::Found, goal, handle::Handle, stop, write::write,
};

/// Begins a change.
pub async fn begin(client: &Client, site: &Site, change: &Change) -> Result<Handle, EngineError> {
    let handle = Handle::of(change);
    if let Stage::ControlPlane(Some(goal)) = &change.stage
        && Found::find(client, site).await?.is_none()
        && creation::make(client, site, change, *goal).await?
    {
        return Ok(handle);
    }
    let found = Found::read_whole(client, site).await?;
    if handle.written(&found)?.is_some() {
        return Ok(handle);
    }
    let (kind, object) = handle.object(&found)?;
    let mut changed = object.clone();
    let annotations = changed.annotations_mut();
    annotations.insert(handle.annotation(), change.token.clone());
    if let Some(version) = version_of(&change.stage) {
        annotations.insert(handle.version_annotation(), version.to_string());
    }
    match &change.stage {
        Stage::ControlPlane(Some(goal)) => goal::to_version(&found, &mut changed, *goal),
        Stage::Pool(goal) => goal::to_nodes(&found, &mut changed, goal)?,
        Stage::ControlPlane(None) | Stage::Follow(_) => {
            return Err(not_supported("this is no change of a Cluster".into()));
        }
    }
    // What an abort has set is lifted first: the change couldn't begin.
    stop::lift(client, site, &found, &handle).await?;
    write(client, site, kind, &changed).await?;
    Ok(handle)
}

/// The version that a stage asks for; none where it changes none.
fn version_of(stage: &Stage) -> Option<KubernetesVersion> {
    match stage {
        Stage::ControlPlane(goal) => goal.map(|goal| goal.version),
        Stage::Pool(goal) => goal.replace_outdated.then_some(goal.version),
        Stage::Follow(_) => None,
    }
}
