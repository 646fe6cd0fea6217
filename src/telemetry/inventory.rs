//! The number of Operations and of quarantined nodes, counted from the stores at each scrape.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt as _;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use super::{
    operations::word,
    sources::{Source, Sources},
};
use crate::{
    api::{AgentPool, Operation, OperationPhase, OperationType},
    machinery::clock,
};

/// The objects that one operator manages.
pub struct Objects {
    /// The Operations.
    pub operations: Vec<Arc<Operation>>,
    /// The pools.
    pub pools: Vec<Arc<AgentPool>>,
}

/// Returns the objects that one operator manages.
type Read = Box<dyn Fn() -> Objects + Send + Sync>;

/// Counts the objects in the stores.
#[derive(Clone, Default)]
pub struct Inventory(Sources<Read>);

/// The number of Operations in a group, and how long the oldest one has been in the group, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Group {
    count: i64,
    oldest: f64,
}

impl Group {
    fn add(&mut self, since: Option<Timestamp>, now: Timestamp) {
        self.count += 1;
        let age = since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
        self.oldest = self.oldest.max(age);
    }
}

#[derive(Default)]
struct Groups {
    /// By the names of type and phase.
    by_phase: BTreeMap<(String, String), Group>,
    by_reason: BTreeMap<String, Group>,
}

impl Groups {
    fn of<'a>(operations: impl Iterator<Item = &'a Operation>, now: Timestamp) -> Self {
        let mut this = Self::default();
        for type_ in TYPES {
            for phase in PHASES {
                let key = (format!("{type_:?}"), format!("{phase:?}"));
                this.by_phase.insert(key, Group::default());
            }
        }
        for operation in operations {
            let status = operation.status.clone().unwrap_or_default();
            let accepted = status.cancellation.and_then(|given| given.accepted_at);
            let since = match status.phase {
                OperationPhase::Pending => operation.creation_timestamp(),
                OperationPhase::Canceling => accepted,
                _ => status.start_time,
            };
            let since = since.map(|since| since.0);
            let key = (
                format!("{:?}", operation.spec.type_),
                format!("{:?}", status.phase),
            );
            this.by_phase.entry(key).or_default().add(since, now);
            if let Some(blocked) = status.blocked.filter(|_| !status.phase.is_finished()) {
                let since = blocked.since.map(|since| since.0);
                let group = this.by_reason.entry(word(&blocked.reason)).or_default();
                group.add(since, now);
            }
        }
        this
    }
}

const TYPES: [OperationType; 9] = [
    OperationType::Create,
    OperationType::Update,
    OperationType::Upgrade,
    OperationType::Rollback,
    OperationType::Scale,
    OperationType::Start,
    OperationType::Stop,
    OperationType::Delete,
    OperationType::Reconcile,
];
const PHASES: [OperationPhase; 6] = [
    OperationPhase::Pending,
    OperationPhase::InProgress,
    OperationPhase::Canceling,
    OperationPhase::Succeeded,
    OperationPhase::Failed,
    OperationPhase::Canceled,
];

impl Inventory {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register_collector(Box::new(this.clone()));
        this
    }

    /// Counts these objects as well, until the returned value is dropped.
    pub fn follow(&self, objects: impl Fn() -> Objects + Send + Sync + 'static) -> Source<Read> {
        self.0.add(Box::new(objects))
    }
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inventory")
    }
}

impl Collector for Inventory {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stores = self.0.all();
        if stores.is_empty() {
            return Ok(());
        }
        let owned: Vec<_> = stores.iter().map(|store| store()).collect();
        let operations = owned.iter().flat_map(|owned| &owned.operations);
        let groups = Groups::of(operations.map(AsRef::as_ref), clock::now());
        let phases = groups.by_phase.iter();
        let phases = phases.map(|((type_, phase), group)| {
            (
                [("type", type_.as_str()), ("phase", phase.as_str())],
                *group,
            )
        });
        let reasons = groups.by_reason.iter();
        let reasons = reasons.map(|(reason, group)| ([("reason", reason.as_str())], *group));
        counts(
            &mut encoder,
            "belay_operations",
            "Number of Operations, by type and phase",
            phases.clone(),
        )?;
        ages(
            &mut encoder,
            "belay_operations_oldest_seconds",
            "How long the oldest unfinished Operation has been in its phase, by type and phase",
            phases.filter(|([_, (_, phase)], _)| is_unfinished(phase)),
        )?;
        counts(
            &mut encoder,
            "belay_operations_blocked",
            "Number of blocked Operations, by reason",
            reasons.clone(),
        )?;
        ages(
            &mut encoder,
            "belay_operations_blocked_oldest_seconds",
            "How long the Operation that has been blocked longest has been blocked, by reason",
            reasons,
        )?;
        let pools = owned.iter().flat_map(|owned| &owned.pools);
        quarantined(&mut encoder, pools.map(AsRef::as_ref))
    }
}

fn quarantined<'a>(
    encoder: &mut DescriptorEncoder,
    pools: impl Iterator<Item = &'a AgentPool>,
) -> fmt::Result {
    let statuses = pools.filter_map(|pool| pool.status.as_ref());
    let nodes: usize = statuses.map(|status| status.quarantined_nodes.len()).sum();
    let gauge = ConstGauge::new(i64::try_from(nodes).unwrap_or(i64::MAX));
    let metric = encoder.encode_descriptor(
        "belay_quarantined_nodes",
        "Number of nodes that couldn't be drained and stay cordoned",
        None,
        gauge.metric_type(),
    )?;
    gauge.encode(metric)
}

fn is_unfinished(phase: &str) -> bool {
    PHASES
        .iter()
        .any(|known| !known.is_finished() && format!("{known:?}") == phase)
}

fn counts<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    groups: impl Iterator<Item = (L, Group)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, group) in groups {
        ConstGauge::new(group.count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn ages<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    groups: impl Iterator<Item = (L, Group)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, group) in groups {
        ConstGauge::new(group.oldest).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operation(type_: &str, status: &serde_json::Value) -> Operation {
        let object = json!({
            "apiVersion": "belay.dev/v1alpha1", "kind": "Operation",
            "metadata": {"name": "any", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"type": type_, "target": {"kind": "ManagedCluster", "name": "demo"}},
            "status": status,
        });
        serde_json::from_value(object).expect("an operation")
    }

    #[test]
    fn each_type_and_phase_has_its_count_and_unfinished_ones_their_age() {
        let now = "2026-01-01T00:10:00Z".parse().expect("a time");
        let operations = [
            operation("Create", &json!({"phase": "Pending"})),
            operation(
                "Upgrade",
                &json!({"phase": "InProgress", "startTime": "2026-01-01T00:01:00Z",
                    "blocked": {"reason": "PodDisruptionBudget", "message": "", "since": "2026-01-01T00:08:00Z"}}),
            ),
            operation(
                "Upgrade",
                &json!({"phase": "InProgress", "startTime": "2026-01-01T00:05:00Z",
                    "blocked": {"reason": "PodDisruptionBudget", "message": "", "since": "2026-01-01T00:09:00Z"}}),
            ),
            operation(
                "Scale",
                &json!({"phase": "Canceling", "startTime": "2026-01-01T00:01:00Z",
                    "cancellation": {"status": "InProgress", "acceptedAt": "2026-01-01T00:09:50Z"}}),
            ),
        ];
        let groups = Groups::of(operations.iter(), now);
        let of = |type_: &str, phase: &str| {
            let group = groups.by_phase[&(type_.into(), phase.into())];
            (group.count, group.oldest.round())
        };
        assert_eq!(groups.by_phase.len(), TYPES.len() * PHASES.len());
        assert_eq!(of("Create", "Pending"), (1, 600.0));
        assert_eq!(of("Upgrade", "InProgress"), (2, 540.0));
        assert_eq!(of("Scale", "Canceling"), (1, 10.0));
        assert_eq!(of("Delete", "Failed"), (0, 0.0));
        let blocked = groups.by_reason["PodDisruptionBudget"];
        assert_eq!((blocked.count, blocked.oldest.round()), (2, 120.0));
    }
}
