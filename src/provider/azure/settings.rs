//! Where Azure is reached, and how often.

use std::{path::PathBuf, time::Duration};

/// Settings of the provider on AKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The URL of the Resource Manager, without a slash at its end.
    pub resource_manager: String,
    /// The CA certificates that the Resource Manager's certificates are checked with, as a PEM file. None for those of
    /// the system.
    pub certificates: Option<PathBuf>,
    /// The namespaces whose clusters may be operated with the operator's own identity; `*` for all. A person who may
    /// write a `ManagedCluster` there may operate every AKS cluster that the identity may operate.
    pub identity_namespaces: Vec<String>,
    /// How often Belay looks at a cluster on which no work is running.
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
