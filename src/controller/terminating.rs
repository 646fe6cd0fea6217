//! Namespaces that are being deleted, as far as the API server has said so: it lets nothing be created there.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use kube::ResourceExt as _;

use crate::api::ManagedCluster;

/// The clusters, by uid, for which nothing can be created any more. A namespace never comes back from its
/// deletion, so neither does a cluster in it.
#[derive(Default)]
pub struct Terminating(Mutex<HashSet<String>>);

impl Terminating {
    /// Notes that nothing can be created for a cluster any more.
    pub fn note(&self, cluster: &ManagedCluster) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(cluster.uid());
    }

    /// Whether nothing can be created for a cluster any more.
    pub fn is(&self, cluster: &ManagedCluster) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.uid().is_some_and(|uid| all.contains(&uid))
    }
}
