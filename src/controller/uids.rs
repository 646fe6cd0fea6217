//! Uids of objects about which the API server reported a fact. The fact stays true, because a uid is never used again.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The uids of the objects for which the fact is true.
#[derive(Default)]
pub struct Uids(Mutex<BTreeSet<String>>);

impl Uids {
    /// Notes that the fact is true for the object with this uid.
    pub fn note(&self, uid: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned());
    }

    /// Returns all uids.
    pub fn all(&self) -> BTreeSet<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the fact is true for the object with this uid.
    pub fn contains(&self, uid: &str) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(uid)
    }
}
