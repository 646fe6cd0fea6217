//! Clusters whose provider has an engine that does the work: AKS, EKS, and a scripted engine.

pub mod adopted;
pub mod aks;
pub mod eks;
pub mod exchanges;
pub mod inside;
pub mod scripted;
