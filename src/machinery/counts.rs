//! Counts changes by key, for tasks that wait for the next change.

use std::collections::HashMap;

use tokio::sync::watch;

/// A namespace, empty if there is none, and a name.
pub type Key = (String, String);

/// The number of changes of each key. Only keys that somebody waits for are counted.
#[derive(Default)]
pub struct Counts(HashMap<Key, watch::Sender<u64>>);

impl Counts {
    /// Returns a receiver that counts the changes of a key from now on.
    pub fn of(&mut self, key: &Key) -> watch::Receiver<u64> {
        let count = self.0.entry(key.clone());
        count.or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Counts a change of a key. Removes the key if nobody waits for it.
    pub fn wake(&mut self, key: &Key) {
        let nobody_waits = self.0.get(key).is_some_and(|count| {
            count.send_modify(|count| *count += 1);
            count.receiver_count() == 0
        });
        if nobody_waits {
            self.0.remove(key);
        }
    }
}
