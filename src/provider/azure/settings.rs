//! Where Azure is reached, and how often.

use std::{path::PathBuf, time::Duration};

/// Settings of the provider on AKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the Resource Manager is reached, without a slash at its end.
    pub resource_manager: String,
    /// Authorities that the Resource Manager's certificates are checked by, PEM; none: those of the system.
    pub certificates: Option<PathBuf>,
    /// The namespaces whose clusters may be operated by the operator's own identity; `*` for all. Whoever may write a
    /// `ManagedCluster` there may operate each AKS cluster that the identity may.
    pub identity_namespaces: Vec<String>,
    /// How often a cluster is looked at on which nothing goes on.
    pub look_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resource_manager: PUBLIC_CLOUD.into(),
            certificates: None,
            identity_namespaces: Vec::new(),
            look_every: Duration::from_secs(30),
        }
    }
}

/// The Resource Manager of Azure's public cloud.
pub const PUBLIC_CLOUD: &str = "https://management.azure.com";
