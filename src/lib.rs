//! Belay: Kubernetes clusters whose changes are operations that can be seen and aborted.

pub mod admission;
pub mod api;
pub mod cli;
pub mod controller;
pub mod lifecycle;
pub mod provider;
