//! The version of Belay, as a metric.

use prometheus_client::{metrics::gauge::ConstGauge, registry::Registry};

/// Registers a metric that shows the version.
pub(super) fn register(registry: &mut Registry) {
    let labels = [("version".into(), env!("CARGO_PKG_VERSION").into())];
    registry
        .sub_registry_with_labels(labels.into_iter())
        .register(
            "belay_build_info",
            "The version of Belay, as a label. The value is always 1",
            ConstGauge::new(1i64),
        );
}
