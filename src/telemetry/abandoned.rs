//! Nodes whose cluster no longer exists.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// The number of such nodes in all shards that this process manages.
#[derive(Clone)]
pub struct Abandoned(Gauge);

impl Abandoned {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let gauge = Gauge::default();
        registry.register(
            "belay_abandoned_nodes",
            "Nodes whose ManagedCluster no longer exists, because somebody removed its finalizer",
            gauge.clone(),
        );
        Self(gauge)
    }

    /// Returns the part of one operator, with no nodes yet. Its nodes are counted until it is dropped.
    pub fn part(&self) -> Part {
        Part {
            whole: self.0.clone(),
            count: AtomicI64::new(0),
        }
    }
}

/// The number of nodes that one operator sees.
pub struct Part {
    whole: Gauge,
    count: AtomicI64,
}

impl Part {
    /// Sets the current number of nodes.
    pub fn set(&self, count: i64) {
        let before = self.count.swap(count, Ordering::Relaxed);
        self.whole.inc_by(count - before);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_nodes_of_all_parts_are_added_up() {
        let all = Abandoned(Gauge::default());
        let (one, other) = (all.part(), all.part());
        one.set(3);
        other.set(2);
        one.set(1);
        assert_eq!(all.0.get(), 3);
        drop(one);
        assert_eq!(all.0.get(), 2);
    }
}
