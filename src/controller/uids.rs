//! What the API server has said of objects, by their uids: for good, since a uid is never used again.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The uids of which something was said.
#[derive(Default)]
pub struct Uids(Mutex<BTreeSet<String>>);

impl Uids {
    /// Notes that it was said of the object of that uid.
    pub fn note(&self, uid: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned());
    }

    /// All of them.
    pub fn all(&self) -> BTreeSet<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it was said of the object of that uid.
    pub fn contains(&self, uid: &str) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(uid)
    }
}
