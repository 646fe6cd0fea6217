//! How a change is begun: one write of the change and its token, to the Cluster or to a `MachineDeployment` outside a
//! topology. If the token is there, the change was begun.

use crate::{
    lifecycle::Stage,
    provider::engine::{Change, EngineError, Site},
};

use super::{
    answers::not_supported, creation, goal, handle::Handle, reader::Reader, stop, write::write,
};

/// Begins a change. Returns its handle.
pub async fn begin(reader: &Reader, site: &Site, change: &Change) -> Result<Handle, EngineError> {
    let handle = Handle::of(change);
    let Some(found) = reader.now(site).await? else {
        creation::make(&reader.client, site, change, &handle).await?;
        return Ok(handle);
    };
    if handle.written(&found)?.is_some() {
        return Ok(handle);
    }
    let (kind, object) = handle.object(&found)?;
    let mut changed = object.clone();
    handle.mark(&mut changed, change);
    match &change.stage {
        Stage::ControlPlane(Some(goal)) => goal::to_version(&found, &mut changed, *goal),
        Stage::Pool(goal) => goal::to_nodes(&found, &mut changed, goal)?,
        Stage::ControlPlane(None) | Stage::Follow(_) => {
            return Err(not_supported("this is not a change of a Cluster".into()));
        }
    }
    // First, what an abort has set is removed: it would keep the change from beginning.
    stop::lift(&reader.client, site, &found, &handle).await?;
    write(&reader.client, site, kind, object, &changed).await?;
    Ok(handle)
}
