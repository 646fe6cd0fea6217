//! Metrics and health are read from all operators that run in this process: none, one, or one for each shard.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The current sources of a value. Clones share them.
pub struct Sources<T>(Arc<Mutex<Numbered<T>>>);

struct Numbered<T> {
    next: u64,
    all: BTreeMap<u64, Arc<T>>,
}

impl<T> Sources<T> {
    /// Reads from this source as well, until the returned value is dropped.
    pub fn add(&self, source: T) -> Source<T> {
        let mut numbered = self.lock();
        let number = numbered.next;
        numbered.next += 1;
        numbered.all.insert(number, Arc::new(source));
        drop(numbered);
        Source {
            sources: self.clone(),
            number,
        }
    }

    /// Returns all sources.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.lock().all.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Numbered<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Sources<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Sources<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Numbered {
            next: 0,
            all: BTreeMap::new(),
        })))
    }
}

/// One source, for as long as this value exists.
#[must_use = "what is dropped isn't read from any more"]
pub struct Source<T> {
    sources: Sources<T>,
    number: u64,
}

impl<T> Drop for Source<T> {
    fn drop(&mut self) {
        self.sources.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_from_until_it_is_dropped() {
        let sources = Sources::default();
        let first = sources.add(1);
        let second = sources.add(2);
        let values = || sources.all().iter().map(|it| **it).collect::<Vec<_>>();
        assert_eq!(values(), [1, 2]);
        drop(first);
        assert_eq!(values(), [2]);
        let third = sources.add(3);
        drop(second);
        assert_eq!(values(), [3]);
        drop(third);
        assert!(values().is_empty());
    }
}
