//! Resource versions of a kind can be compared as numbers (KEP-5504).

use kube::{Resource, ResourceExt as _};

/// Returns the resourceVersion of an object as a number. None if it isn't a number.
pub fn version(object: &impl Resource) -> Option<u64> {
    object.resource_version()?.parse().ok()
}
