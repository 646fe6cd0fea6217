//! Pauses that grow while a cluster can't be reconciled: kube's error policy doesn't count attempts.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::runtime::reflector::ObjectRef;

use crate::api::ManagedCluster;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// The last pause of each cluster that couldn't be reconciled.
#[derive(Default)]
pub struct Backoff(Mutex<HashMap<ObjectRef<ManagedCluster>, Duration>>);

impl Backoff {
    /// Returns the next pause of a cluster: twice the last pause, from 200 ms to 30 s.
    pub fn next(&self, cluster: &ObjectRef<ManagedCluster>) -> Duration {
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = pauses
            .get(cluster)
            .map_or(FIRST, |last| (*last * 2).min(LONGEST));
        pauses.insert(cluster.clone(), pause);
        pause
    }

    /// Forgets the pauses of a cluster that could be reconciled.
    pub fn reset(&self, cluster: &ObjectRef<ManagedCluster>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_a_limit_and_restarts_after_success() {
        let (backoff, cluster) = (Backoff::default(), ObjectRef::new("demo"));
        let pauses: Vec<_> = (0..9).map(|_| backoff.next(&cluster).as_millis()).collect();
        assert_eq!(
            pauses,
            [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000]
        );
        backoff.reset(&cluster);
        assert_eq!(backoff.next(&cluster), FIRST);
    }
}
