//! Operations in flight that are no more: somebody removed their finalizer by hand. The API server was asked,
//! for that a store doesn't show one is no proof.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The uids of Operations that are no more. There are few: nobody does that every day.
#[derive(Default)]
pub struct Gone(Mutex<BTreeSet<String>>);

impl Gone {
    /// Notes that there is no Operation of that uid any more.
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
}
