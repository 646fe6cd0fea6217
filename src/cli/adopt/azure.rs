//! `kubectl belay adopt azure`.

use clap::Args;

use crate::{
    api::AzureProviderSpec,
    cli::session::Session,
    provider::{Adopted, azure},
};

/// Which AKS cluster is adopted, and who reads it.
#[derive(Args, Debug)]
pub struct AzureFlags {
    /// The cluster's name in Azure.
    name: String,

    /// The id of its subscription.
    #[arg(long)]
    subscription: String,

    /// Its resource group.
    #[arg(long)]
    resource_group: String,

    /// The name of the `ManagedCluster`; that of the cluster in Azure, in small letters, where it isn't set.
    #[arg(long = "as")]
    as_: Option<String>,

    /// A Secret in the namespace with `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`; Belay will use it as
    /// well.
    #[arg(long)]
    credentials_secret: Option<String>,

    /// Where the Resource Manager of Azure is reached; that of the public cloud where it isn't set.
    #[arg(long, env = "BELAY_AZURE_RESOURCE_MANAGER", default_value = azure::PUBLIC_CLOUD)]
    resource_manager: String,

    /// A file with the authorities that Azure's certificates are checked by, PEM; those of the system where it isn't set.
    #[arg(long, env = "BELAY_AZURE_CERTIFICATES")]
    certificates: Option<std::path::PathBuf>,
}

impl AzureFlags {
    /// What takes it under Belay's operations.
    pub async fn adopted(&self, session: &Session) -> anyhow::Result<Adopted> {
        let spec = AzureProviderSpec {
            subscription_id: self.subscription.clone(),
            resource_group: self.resource_group.clone(),
            name: self.name.clone(),
            credentials_secret: self.credentials_secret.clone(),
            ..AzureProviderSpec::default()
        };
        let settings = azure::Settings {
            resource_manager: self.resource_manager.clone(),
            certificates: self.certificates.clone(),
            ..azure::Settings::default()
        };
        let small = || self.name.to_lowercase().replace('_', "-");
        let name = self.as_.clone().unwrap_or_else(small);
        let place = (session.namespace.as_str(), name.as_str());
        azure::manifests(&session.client, &settings, place, &spec).await
    }
}
