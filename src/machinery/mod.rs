//! Code that every layer uses: the clock, the field managers that Belay writes as, the connection, watches and the
//! caches that they fill.

pub mod clock;
pub mod connection;
pub mod counts;
pub mod index;
pub mod shard;
pub mod versions;
pub mod watches;

use kube::{
    Resource,
    api::{DeleteParams, PatchParams, PostParams, Preconditions},
};

/// The field manager of Belay's writes.
pub const FIELD_MANAGER: &str = "belay";

/// The field manager that writes a person's Operation into a spec.
pub const SPEC_MANAGER: &str = "belay-operation";

/// Returns the parameters of patches to objects that others write to as well: they are merged, with Belay's field
/// manager.
pub fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}

/// Returns the parameters to create or replace objects, with Belay's field manager.
pub fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}

/// Returns the parameters to delete exactly the object with this uid, and not a newer one with the same name.
pub fn delete_params(uid: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid,
        resource_version: None,
    })
}

/// Returns the parameters to delete an object only as it was read: not if it has changed since, and not a newer one
/// with the same name.
pub fn delete_params_as_read(object: &impl Resource) -> DeleteParams {
    let metadata = object.meta();
    DeleteParams::default().preconditions(Preconditions {
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    })
}
