//! What Belay wrote and a watch hasn't shown yet. A watch lags behind. A decision on an object from before the last
//! write to it would be refused because of its resourceVersion or, worse, be about a state that has passed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{Resource, ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    api::{ManagedCluster, Operation},
    machinery::versions::version,
};

/// How long Belay waits until a watch shows an Operation that it created. Somebody may delete it before a watch shows
/// it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The resourceVersion of the last write, by the object's uid.
#[derive(Default)]
pub struct Seen(Mutex<HashMap<String, u64>>);

/// Operations that Belay created and no watch has shown yet, by cluster.
#[derive(Default)]
pub struct Created(Mutex<HashMap<ObjectRef<ManagedCluster>, Vec<Creation>>>);

/// An Operation's name, and when it was created.
type Creation = (String, Instant);

impl Created {
    /// Notes the creation of an Operation on a cluster or its pools.
    pub fn note(&self, cluster: ObjectRef<ManagedCluster>, operation: String) {
        let mut created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        created
            .entry(cluster)
            .or_default()
            .push((operation, Instant::now()));
    }

    /// Whether all Operations that were created for a cluster are among these.
    pub fn are_among(
        &self,
        cluster: &ObjectRef<ManagedCluster>,
        operations: &[Arc<Operation>],
    ) -> bool {
        let mut created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_cluster) = created.get_mut(cluster) else {
            return true;
        };
        of_cluster.retain(|(name, since)| {
            let is_shown = operations.iter().any(|it| it.name_any() == *name);
            !is_shown && since.elapsed() < PATIENCE
        });
        let is_empty = of_cluster.is_empty();
        if is_empty {
            created.remove(cluster);
        }
        is_empty
    }
}

impl Seen {
    /// Notes a write.
    pub fn wrote(&self, object: &impl Resource) {
        if let (Some(uid), Some(version)) = (object.uid(), version(object)) {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(uid, version);
        }
    }

    /// Whether an object in a store is at least as new as the last write to it.
    pub fn is_fresh(&self, object: &impl Resource) -> bool {
        let (Some(uid), Some(version)) = (object.uid(), version(object)) else {
            return true;
        };
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(&uid) {
            Some(last) if version < *last => false,
            Some(_) => {
                written.remove(&uid);
                true
            }
            None => true,
        }
    }
}
