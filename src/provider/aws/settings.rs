//! How AWS is asked, and how often. The region, or AWS's own variables `AWS_ENDPOINT_URL_EKS` and
//! `AWS_ENDPOINT_URL_STS`, say where EKS and STS are reached.

use std::{path::PathBuf, time::Duration};

/// Settings of the provider on EKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The CA certificates that AWS's certificates are checked with, as a PEM file. None for those of the system.
    pub certificates: Option<PathBuf>,
    /// The namespaces whose clusters may be operated with the operator's own identity; `*` for all. A person who may
    /// write a `ManagedCluster` there may operate every EKS cluster that the identity may operate.
    pub identity_namespaces: Vec<String>,
    /// How often Belay looks at a cluster on which no work is running.
    pub look_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            certificates: None,
            identity_namespaces: Vec::new(),
            look_every: Duration::from_secs(30),
        }
    }
}
