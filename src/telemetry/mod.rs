//! What Belay reports about itself: metrics, health, log lines, traces.
//!
//! Names and units follow the conventions of Prometheus. If controller-runtime or client-go have the same metric, Belay
//! uses its name, so that their dashboards work. No label contains the name of an object: each label has few values.

mod abandoned;
mod build;
mod forced;
mod inventory;
mod leading;
pub mod log;
mod operations;
mod plain_http;
mod queue;
mod reconciles;
mod requests;
mod server;
mod sources;
mod traces;

use std::{fmt, sync::Arc};

use prometheus_client::{encoding::prometheus_text, metrics::gauge::Gauge, registry::Registry};

use crate::{
    api::{Operation, OperationStatus},
    leader::Fence,
};

pub use abandoned::Abandoned;
use forced::Forced;
use inventory::Inventory;
pub use inventory::Objects;
pub use leading::Leading;
use operations::Operations;
pub use queue::Queue;
pub use reconciles::{Outcome, Reconciles};
pub use requests::Requests;
pub use server::{Health, serve};
pub use traces::Traces;

/// All metrics.
#[derive(Clone)]
pub struct Telemetry {
    operations: Operations,
    forced: Forced,
    /// The number of Operations and of quarantined nodes.
    pub inventory: Inventory,
    /// How reconciles went.
    pub reconciles: Reconciles,
    /// Clusters that wait to be reconciled.
    pub queue: Queue,
    /// Requests to the API server.
    pub requests: Requests,
    /// The number of Operations whose work runs.
    pub work: Gauge,
    /// Nodes whose cluster no longer exists.
    pub abandoned: Abandoned,
    /// Whether this process is the leader, by lease.
    pub leading: Leading,
    traces: Traces,
    registry: Arc<Registry>,
}

impl Telemetry {
    /// Creates metrics with nothing counted yet. `fence` shows whether this process holds `lease`.
    pub fn new(lease: &str, fence: Fence, traces: Traces) -> Self {
        let mut registry = Registry::default();
        let work = Gauge::default();
        registry.register(
            "belay_active_work",
            "Number of Operations whose work runs in this process",
            work.clone(),
        );
        let abandoned = Abandoned::registered(&mut registry);
        let leading = Leading::registered(&mut registry);
        leading.follow(lease, fence);
        build::register(&mut registry);
        Self {
            operations: Operations::registered(&mut registry),
            forced: Forced::registered(&mut registry),
            inventory: Inventory::registered(&mut registry),
            reconciles: Reconciles::registered(&mut registry),
            queue: Queue::registered(&mut registry),
            requests: Requests::registered(&mut registry),
            work,
            abandoned,
            leading,
            traces,
            registry: Arc::new(registry),
        }
    }

    /// Reports what changed because an Operation's status was written.
    pub fn wrote(&self, operation: &Operation, after: &OperationStatus) {
        self.operations.wrote(operation, after);
        self.forced.wrote(operation, after);
        self.traces.wrote(operation, after);
    }

    /// Returns all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// Never returns an error, although the encoder's signature allows one.
    pub fn encoded(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The name of Belay's one controller, in labels.
const CONTROLLER: &str = "managedcluster";

/// Labels with fixed names and a fixed number.
type Labels<const N: usize> = [(&'static str, String); N];
