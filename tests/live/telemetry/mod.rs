//! The operator's telemetry: logs, metrics, traces and alerts.

pub mod exposition;
pub mod logs;
pub mod metrics;
pub mod prometheus;
pub mod traces;
