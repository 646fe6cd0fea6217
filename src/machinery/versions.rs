//! Resource versions of a kind can be compared as numbers (KEP-5504).

use kube::{Resource, ResourceExt as _};

/// The resourceVersion of an object as a number; none where it is no number.
pub fn version(object: &impl Resource) -> Option<u64> {
    object.resource_version()?.parse().ok()
}
