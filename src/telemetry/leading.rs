//! Whether this process leads.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::leader::{Fence, Moment};

/// Tells it at each scrape.
pub(super) struct Leading {
    lease: String,
    fence: Fence,
}

impl Leading {
    pub(super) fn new(lease: &str, fence: Fence) -> Self {
        Self {
            lease: lease.to_owned(),
            fence,
        }
    }
}

impl fmt::Debug for Leading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leading").field(&self.lease).finish()
    }
}

impl Collector for Leading {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "leader_election_master_status",
            "Whether this process works: 1, or stands by: 0",
            None,
            MetricType::Gauge,
        )?;
        let labels = [("name", self.lease.as_str())];
        let leads = i64::from(self.fence.is_open(Moment::now()));
        ConstGauge::new(leads).encode(metric.encode_family(&labels)?)
    }
}
