//! How an object is written: whole, as it was read and changed.

use kube::{Client, ResourceExt as _, core::DynamicObject};

use crate::{
    machinery::post_params,
    provider::engine::{EngineError, Site},
};

use super::{answers::failed, kinds::Kind};

/// Writes an object as it was read and changed: with its resourceVersion, so that nothing of others is lost.
pub async fn write(
    client: &Client,
    site: &Site,
    kind: Kind,
    object: &DynamicObject,
) -> Result<(), EngineError> {
    let api = kind.api(client, &site.namespace);
    let written = api
        .replace(&object.name_any(), &post_params(), object)
        .await;
    written.map_err(|error| failed(&error))?;
    Ok(())
}
