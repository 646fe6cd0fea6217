//! Belay: Kubernetes clusters whose changes are operations that can be seen and aborted.

pub mod admission;
pub mod api;
pub mod check;
pub mod cli;
pub mod controller;
pub mod leader;
pub mod lifecycle;
pub mod machinery;
pub mod operator;
pub mod provider;
pub mod telemetry;
