//! What every layer uses: the clock, the names that Belay writes under, the connection, watches and what
//! they fill.

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

/// The name that Belay writes under.
pub const FIELD_MANAGER: &str = "belay";

/// The name that a person's Operation is written into a spec under.
pub const SPEC_MANAGER: &str = "belay-operation";

/// How what others write to as well is changed: merged, under Belay's name.
pub fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}

/// How objects are made, or replaced, under Belay's name.
pub fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}

/// How that very object is deleted, and not another that has its name by now.
pub fn delete_params(uid: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid,
        resource_version: None,
    })
}

/// How an object is deleted as it was read: not where it was changed since, nor another that has its name by now.
pub fn delete_params_as_read(object: &impl Resource) -> DeleteParams {
    let metadata = object.meta();
    DeleteParams::default().preconditions(Preconditions {
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    })
}
