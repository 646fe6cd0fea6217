//! What was written and isn't seen yet. A watch lags behind; what is decided on an object from before the
//! last write to it would be refused by its resourceVersion, or worse, be about something that is over.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{Resource, ResourceExt as _};

use crate::machinery::versions::version;

/// The resourceVersion that was last written, by the object's uid.
#[derive(Default)]
pub struct Seen(Mutex<HashMap<String, u64>>);

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
