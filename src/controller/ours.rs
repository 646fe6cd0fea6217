//! Belay's own kinds, with what the writes need to know of them.

use std::fmt::Debug;

use kube::{Resource, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use crate::{
    api::{AgentPool, ManagedCluster, Operation},
    machinery::index::Index,
};

use super::stores::Stores;

/// One of Belay's own kinds.
pub trait Ours:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Returns the index that holds the objects of this kind.
    fn index(stores: &Stores) -> &Index<Self>;
}

impl Ours for ManagedCluster {
    fn index(stores: &Stores) -> &Index<Self> {
        &stores.clusters
    }
}

impl Ours for AgentPool {
    fn index(stores: &Stores) -> &Index<Self> {
        &stores.pools
    }
}

impl Ours for Operation {
    fn index(stores: &Stores) -> &Index<Self> {
        &stores.operations
    }
}
