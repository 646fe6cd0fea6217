//! Which of Belay's writes somebody refuses, in whose words: a policy or a webhook that isn't Belay's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::lifecycle::Action;

/// What of an object is written. One may be refused where the other isn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its status.
    Status,
    /// Its metadata, or itself.
    Object,
}

impl Part {
    /// What an action writes.
    pub fn of(action: &Action) -> Self {
        match action {
            Action::WriteOperationStatus { .. }
            | Action::WritePoolStatus { .. }
            | Action::WriteClusterStatus(_) => Self::Status,
            _ => Self::Object,
        }
    }
}

/// The words, by the object's uid.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<(String, Part), String>>);

impl Refusals {
    fn all(&self) -> MutexGuard<'_, HashMap<(String, Part), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write to the object was refused.
    pub fn note(&self, uid: &str, part: Part, words: String) {
        self.all().insert((uid.to_owned(), part), words);
    }

    /// A write to the object was taken.
    pub fn forget(&self, uid: &str, part: Part) {
        self.all().remove(&(uid.to_owned(), part));
    }

    /// The words about these objects.
    pub fn of(&self, uids: impl Iterator<Item = String>) -> BTreeMap<String, String> {
        let all = self.all();
        let words = |uid: &String| {
            let mut parts = [Part::Object, Part::Status].into_iter();
            parts.find_map(|part| all.get(&(uid.clone(), part)).cloned())
        };
        uids.filter_map(|uid| Some((uid.clone(), words(&uid)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_taken_does_not_hide_that_the_object_is_refused() {
        let refusals = Refusals::default();
        refusals.note("a", Part::Object, "not now".into());
        refusals.forget("a", Part::Status);
        let of = |uid: &str| refusals.of([uid.to_owned()].into_iter());
        assert_eq!(of("a"), BTreeMap::from([("a".into(), "not now".into())]));
        assert!(of("b").is_empty());
        refusals.forget("a", Part::Object);
        assert!(of("a").is_empty());
    }
}
