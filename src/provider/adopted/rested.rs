//! How many nodes each pool had when no work was running on it. A cloud shows at once how many nodes a pool should
//! have. While work is running, the nodes beyond the earlier number are still coming up.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{lifecycle::Observation, provider::engine::Site};

/// How many nodes the pools had at rest, by the namespace and name of their cluster, and by their own name.
#[derive(Default)]
pub struct Rested {
    counts: Mutex<HashMap<(String, String, String), usize>>,
}

impl Rested {
    /// Corrects what is observed of a cluster's pools. `is_moving` returns whether work is running on a pool.
    pub fn correct(&self, site: &Site, seen: &mut Observation, is_moving: impl Fn(&str) -> bool) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (pool, nodes) in &mut seen.nodes {
            let key = (site.namespace.clone(), site.cluster.clone(), pool.clone());
            if !is_moving(pool) {
                counts.insert(key, nodes.len());
                continue;
            }
            // If the operator began to look in the middle of the work, nobody knows which nodes are coming up.
            let had = counts.get(&key).copied().unwrap_or(nodes.len());
            for node in nodes.iter_mut().skip(had) {
                (node.ready, node.joining) = (false, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        api::{KubernetesVersion, ProviderSpec},
        lifecycle::{NodeSettings, NodeView},
    };

    fn seen(count: usize) -> Observation {
        let node = NodeView {
            name: "np1".into(),
            version: KubernetesVersion {
                major: 1,
                minor: 34,
                patch: 0,
            },
            ready: true,
            ready_since: None,
            cordoned: false,
            joining: false,
            deleting: false,
            settings: NodeSettings::default(),
            drained_by: None,
            made_by: None,
            undrainable: None,
            quarantined: false,
            created: Timestamp::UNIX_EPOCH,
        };
        Observation {
            nodes: [("np1".to_owned(), vec![node; count])].into(),
            ..Observation::default()
        }
    }

    #[test]
    fn additional_nodes_count_as_ready_only_when_the_pool_has_settled() {
        let (rested, site) = (
            Rested::default(),
            Site {
                namespace: "team".into(),
                cluster: "demo".into(),
                provider: ProviderSpec::default(),
            },
        );
        for (count, is_moving, ready) in [
            // The operator has just started.
            (5, true, 5),
            (3, false, 3),
            (9, true, 3),
            (9, false, 9),
            (4, true, 4),
            (4, false, 4),
        ] {
            let mut seen = seen(count);
            rested.correct(&site, &mut seen, |_| is_moving);
            let nodes = seen.nodes["np1"].iter();
            assert_eq!(nodes.filter(|node| node.ready).count(), ready);
        }
    }
}
