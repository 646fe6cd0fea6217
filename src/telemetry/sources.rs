//! What is told is read from whatever works in this process: from nothing, from one operator, or from one for each shard.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Where something is read from now. Clones share it.
pub struct Sources<T>(Arc<Mutex<Numbered<T>>>);

struct Numbered<T> {
    next: u64,
    all: BTreeMap<u64, Arc<T>>,
}

impl<T> Sources<T> {
    /// Reads from this as well, until what is returned is dropped.
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

    /// All of them.
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

/// One of them, for as long as it is held.
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
