//! Counts of what changes, by key, for who waits for the next change.

use std::collections::HashMap;

use tokio::sync::watch;

/// A namespace, empty where there is none, and a name.
pub type Key = (String, String);

/// How often something of each key has changed, as far as anybody waits for that.
#[derive(Default)]
pub struct Counts(HashMap<Key, watch::Sender<u64>>);

impl Counts {
    /// The count of a key from now on.
    pub fn of(&mut self, key: &Key) -> watch::Receiver<u64> {
        let count = self.0.entry(key.clone());
        count.or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// Notes a change. What nobody waits for is forgotten.
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
