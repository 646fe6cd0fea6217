//! Whose writes somebody refuses, in whose words: a policy or a webhook that isn't Belay's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

/// The words, by the object's uid.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<String, String>>);

impl Refusals {
    /// A write to the object was refused.
    pub fn note(&self, uid: &str, words: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned(), words);
    }

    /// A write to the object was taken.
    pub fn forget(&self, uid: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(uid);
    }

    /// The words about these objects.
    pub fn of(&self, uids: impl Iterator<Item = String>) -> BTreeMap<String, String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uids.filter_map(|uid| Some((uid.clone(), all.get(&uid)?.clone())))
            .collect()
    }
}
