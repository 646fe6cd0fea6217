//! Objects with a write in flight. Until the write is answered, nothing else is written to them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The uids of these objects.
#[derive(Clone, Default)]
pub struct Writing(Arc<Mutex<HashSet<String>>>);

/// A write in flight. The write is answered or given up when this is dropped.
pub struct OnItsWay {
    all: Writing,
    uid: String,
}

impl Writing {
    /// Whether a write to the object with this uid is in flight.
    pub fn is_on_its_way(&self, uid: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.contains(uid)
    }

    /// Begins a write to the object with this uid. None if one is already in flight.
    pub fn begin(&self, uid: &str) -> Option<OnItsWay> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned()).then(|| OnItsWay {
            all: self.clone(),
            uid: uid.to_owned(),
        })
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_write_at_a_time_is_sent_to_an_object() {
        let all = Writing::default();
        let first = all.begin("a").expect("nothing on its way");
        assert!(all.begin("a").is_none() && all.is_on_its_way("a"));
        assert!(all.begin("b").is_some());
        drop(first);
        assert!(all.begin("a").is_some());
    }
}
