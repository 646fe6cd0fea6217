//! The number of quarantined nodes, counted from the pools' statuses at each scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::gauge::ConstGauge,
    registry::Registry,
};

use super::sources::{Source, Sources};
use crate::api::AgentPool;

/// Returns the pools that one operator manages.
type Read = Box<dyn Fn() -> Vec<Arc<AgentPool>> + Send + Sync>;

/// Counts the quarantined nodes of the pools in the stores.
#[derive(Clone, Default)]
pub struct Quarantine(Sources<Read>);

impl Quarantine {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register_collector(Box::new(this.clone()));
        this
    }

    /// Counts the nodes of these pools as well, until the returned value is dropped.
    pub fn follow(
        &self,
        pools: impl Fn() -> Vec<Arc<AgentPool>> + Send + Sync + 'static,
    ) -> Source<Read> {
        self.0.add(Box::new(pools))
    }
}

impl fmt::Debug for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quarantine")
    }
}

impl Collector for Quarantine {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stores = self.0.all();
        if stores.is_empty() {
            return Ok(());
        }
        let pools = stores.iter().flat_map(|store| store());
        let nodes = pools.map(|pool| {
            let status = pool.status.as_ref();
            status.map_or(0, |status| status.quarantined_nodes.len())
        });
        let nodes = i64::try_from(nodes.sum::<usize>()).unwrap_or(i64::MAX);
        let gauge = ConstGauge::new(nodes);
        let metric = encoder.encode_descriptor(
            "belay_quarantined_nodes",
            "Number of nodes that couldn't be drained and stay cordoned",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(metric)
    }
}
