//! Which of Belay's writes are refused, and with which message, by a policy or a webhook that isn't Belay's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::lifecycle::Action;

/// The part of an object that is written. One part may be refused while the other isn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its status.
    Status,
    /// Its metadata, or the object itself.
    Object,
}

impl Part {
    /// Returns the part that an action writes.
    pub fn of(action: &Action) -> Self {
        match action {
            Action::WriteOperationStatus { .. }
            | Action::WritePoolStatus { .. }
            | Action::WriteClusterStatus(_) => Self::Status,
            _ => Self::Object,
        }
    }
}

/// The messages, by the object's uid and the part.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<(String, Part), String>>);

impl Refusals {
    fn all(&self) -> MutexGuard<'_, HashMap<(String, Part), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a write to the object was refused.
    pub fn note(&self, uid: &str, part: Part, words: String) {
        self.all().insert((uid.to_owned(), part), words);
    }

    /// Forgets the refusal, because a write to the object was accepted.
    pub fn forget(&self, uid: &str, part: Part) {
        self.all().remove(&(uid.to_owned(), part));
    }

    /// Returns the messages about these objects, by uid.
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
    fn an_accepted_status_does_not_hide_a_refusal_of_the_object() {
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
