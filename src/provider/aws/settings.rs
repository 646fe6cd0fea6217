//! How AWS is asked, and how often. Where EKS and STS are reached is said by the region, or by AWS's own variables
//! `AWS_ENDPOINT_URL_EKS` and `AWS_ENDPOINT_URL_STS`.

use std::{path::PathBuf, time::Duration};

/// Settings of the provider on EKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Authorities that AWS's certificates are checked by, PEM; none: those of the system.
    pub certificates: Option<PathBuf>,
    /// The namespaces whose clusters may be operated by the operator's own identity; `*` for all. Whoever may write a
    /// `ManagedCluster` there may operate each EKS cluster that the identity may.
    pub identity_namespaces: Vec<String>,
    /// How often a cluster is looked at on which nothing goes on.
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
