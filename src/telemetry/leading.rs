//! Whether this process is the leader.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use crate::leader::{Fence, Moment};

/// Reports at each scrape, for each lease, whether this process is the leader.
#[derive(Clone, Default)]
pub struct Leading(Arc<Mutex<BTreeMap<String, Fence>>>);

impl Leading {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register_collector(Box::new(this.clone()));
        this
    }

    /// From now on, uses `fence` to report whether this process holds that lease.
    pub fn follow(&self, lease: &str, fence: Fence) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leases.insert(lease.to_owned(), fence);
    }
}

impl fmt::Debug for Leading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leading")
    }
}

impl Collector for Leading {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let leases = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut metric = encoder.encode_descriptor(
            "leader_election_master_status",
            "1 if this process leads by that lease, 0 if it stands by",
            None,
            MetricType::Gauge,
        )?;
        for (lease, fence) in &leases {
            let labels = [("name", lease.as_str())];
            let leads = i64::from(fence.is_open(Moment::now()));
            ConstGauge::new(leads).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
