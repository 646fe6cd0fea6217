//! AKS clusters that already exist. Belay changes, watches and aborts them through the Resource Manager of Azure. Belay
//! itself creates and deletes no node.

mod rules;
mod settings;

pub use rules::ByAks;
pub use settings::{PUBLIC_CLOUD, Settings};

#[cfg(feature = "azure")]
mod adopt;
#[cfg(feature = "azure")]
mod answers;
#[cfg(feature = "azure")]
mod arm;
#[cfg(feature = "azure")]
mod engine;
#[cfg(feature = "azure")]
mod goal;
#[cfg(feature = "azure")]
mod identity;
#[cfg(feature = "azure")]
mod look;
#[cfg(feature = "azure")]
mod progress;
#[cfg(feature = "azure")]
mod resource;

#[cfg(feature = "azure")]
pub use adopt::manifests;

use std::sync::Arc;

use kube::Client;

use super::Provider;

/// Returns the provider, for clusters of any subscription. None if the program was built without it.
///
/// # Errors
/// If the settings are invalid.
pub fn provider(client: &Client, settings: &Settings) -> anyhow::Result<Option<Arc<dyn Provider>>> {
    // Requests there carry a token.
    anyhow::ensure!(
        settings.resource_manager.starts_with("https://"),
        "the address of Azure Resource Manager is {}: set one that starts with https://",
        settings.resource_manager
    );
    #[cfg(feature = "azure")]
    let provider: Option<Arc<dyn Provider>> = match engine::provider(client, settings) {
        Ok(provider) => Some(Arc::new(provider)),
        Err(error) if settings.certificates.is_none() => {
            // A system without such clusters needs no CA certificates.
            tracing::warn!(%error, "can't manage clusters of the provider azure");
            None
        }
        Err(error) => return Err(error),
    };
    #[cfg(not(feature = "azure"))]
    let provider = {
        let _ = (client, settings);
        None
    };
    Ok(provider)
}
