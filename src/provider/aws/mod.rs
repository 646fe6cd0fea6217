//! EKS clusters that already exist. Belay changes and watches them through the API of EKS, and stops changes if EKS
//! can. Belay itself creates and deletes no node.

mod rules;
mod settings;

pub use rules::ByEks;
pub use settings::Settings;

#[cfg(feature = "aws")]
mod adopt;
#[cfg(feature = "aws")]
mod answers;
#[cfg(feature = "aws")]
mod clients;
#[cfg(feature = "aws")]
mod config;
#[cfg(feature = "aws")]
mod eks;
#[cfg(feature = "aws")]
mod engine;
#[cfg(feature = "aws")]
mod goal;
#[cfg(feature = "aws")]
mod look;
#[cfg(feature = "aws")]
mod progress;
#[cfg(feature = "aws")]
mod resource;
#[cfg(feature = "aws")]
mod updates;

#[cfg(feature = "aws")]
pub use adopt::manifests;

use std::sync::Arc;

use kube::Client;

use super::Provider;

/// Returns the provider, for clusters of any account and region. None if the program was built without it.
///
/// # Errors
/// If the settings are invalid.
pub fn provider(client: &Client, settings: &Settings) -> anyhow::Result<Option<Arc<dyn Provider>>> {
    #[cfg(feature = "aws")]
    let provider: Option<Arc<dyn Provider>> = Some(Arc::new(engine::provider(client, settings)?));
    #[cfg(not(feature = "aws"))]
    let provider = {
        let _ = (client, settings);
        None
    };
    Ok(provider)
}
