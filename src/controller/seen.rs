//! What was written and isn't seen yet. A watch lags behind; what is decided on an object from before the
//! last write to it would be refused by its resourceVersion, or worse, be about something that is over.

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

/// How long an Operation that was created is waited for: it may be deleted before a watch shows it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The resourceVersion that was last written, by the object's uid.
#[derive(Default)]
pub struct Seen(Mutex<HashMap<String, u64>>);

/// Operations that were created, and that no watch has shown yet, by cluster.
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

    /// Whether all of a cluster's are among these Operations.
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

    /// Whether an object, as a store has it, is at least as new as the last write to it.
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
